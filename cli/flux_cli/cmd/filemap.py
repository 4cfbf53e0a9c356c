"""`flux filemap`: files for all nodes, by tags, as older scripts ask for them: archives by another name."""

from __future__ import annotations

from flux_cli.common import Parser, open_flux

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

_SMALL, _CHUNK = "4096", "1048576"


def command(argv: list[str]) -> int:
    parser = Parser("filemap", "Keep files for all nodes to extract, by tags.")
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND", parser_class=_verb_parser)
    files = _add(verbs, "map", _map, "keep files and directories")
    files.add_argument("--chunksize", default=_CHUNK, metavar="N", help=f"greatest blob in bytes ({_CHUNK})")
    files.add_argument("--small-file-threshold", default=_SMALL, metavar="N", help=f"greatest file inline ({_SMALL})")
    files.add_argument("--disable-mmap", action="store_true", help="keep the content, which is always done")
    files.add_argument("paths", metavar="PATH", nargs="+")
    shown = _add(verbs, "list", _list, "list files")
    form = shown.add_mutually_exclusive_group()
    form.add_argument("-l", "--long", action="store_true", help="with type, mode and size")
    form.add_argument("--raw", action="store_true", help="the objects of RFC 37, in JSON")
    form.add_argument("--blobref", action="store_true", help="the blobrefs of their content")
    wanted = _add(verbs, "get", _get, "extract files, in place of those that are there")
    wanted.add_argument("--direct", action="store_true", help="accepted; makes no difference")
    _add(verbs, "unmap", _unmap, "forget files")
    for parts in (shown, wanted):
        parts.add_argument("pattern", metavar="PATTERN", nargs="?", default="*")
    for parts in (files, wanted):
        parts.add_argument("-C", "--directory", default=".", metavar="DIR", help="change to DIR first")
        parts.add_argument("-v", "--verbose", nargs="?", const="1", metavar="LEVEL", help="list files on stderr")
    args = parser.parse_args(argv)
    if args.verb is None:
        parser.error("missing subcommand")
    for tag in args.tags.split(","):
        args.run(tag, args)
    return 0


def _verb_parser(prog: str, **options: Any) -> Parser:
    return Parser(prog.removeprefix("flux "), **options)


def _add(verbs: Any, name: str, run: Any, text: str) -> Any:
    parser = verbs.add_parser(name, description=f"{text[0].upper()}{text[1:]}.", help=text)
    parser.set_defaults(run=run)
    parser.add_argument("-T", "--tags", default="main", metavar="LIST", help="names, separated by commas (main)")
    return parser


def _archive(verb: str, tag: str, *words: str) -> None:
    from flux_cli.cmd import archive

    archive.command([verb, f"--name={tag}", *words])


def _verbose(args: argparse.Namespace) -> list[str]:
    return ["--verbose"] if args.verbose and args.verbose != "0" else []


def _map(tag: str, args: argparse.Namespace) -> None:
    sizes = (f"--chunksize={args.chunksize}", f"--small-file-threshold={args.small_file_threshold}")
    _archive("create", tag, "--append", *sizes, f"--directory={args.directory}", *_verbose(args), "--", *args.paths)


def _list(tag: str, args: argparse.Namespace) -> None:
    if args.blobref:
        _list_blobrefs(tag, args.pattern)
    else:
        form = [f"--{name}" for name in ("long", "raw") if getattr(args, name)]
        _archive("list", tag, *form, "--", args.pattern)


def _list_blobrefs(tag: str, pattern: str) -> None:
    from fnmatch import fnmatchcase

    from flux.kvs.requests import lookup_async

    with open_flux() as handle:
        archive = lookup_async(handle, f"archive.{tag}", namespace="primary").json()
    for entry in archive:
        if entry.get("encoding") == "blobvec" and fnmatchcase(entry["path"], pattern):
            for _offset, _size, ref in entry["data"]:
                print(ref)


def _get(tag: str, args: argparse.Namespace) -> None:
    _archive("extract", tag, "--overwrite", f"--directory={args.directory}", *_verbose(args), "--", args.pattern)


def _unmap(tag: str, _args: argparse.Namespace) -> None:
    _archive("remove", tag, "--force")
