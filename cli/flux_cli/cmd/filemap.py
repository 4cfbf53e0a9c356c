"""`flux filemap`: files for all nodes, by tags, as older scripts ask for them: archives by another name."""

from __future__ import annotations

from flux_cli.common import Action, dispatch, open_flux

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

_SMALL, _CHUNK = "4096", "1048576"


def _map_arguments(parser: argparse.ArgumentParser) -> None:
    _common_arguments(parser)
    _folder_arguments(parser)
    parser.add_argument("--chunksize", default=_CHUNK, metavar="N", help=f"greatest blob in bytes ({_CHUNK})")
    parser.add_argument("--small-file-threshold", default=_SMALL, metavar="N", help=f"greatest file inline ({_SMALL})")
    parser.add_argument("--disable-mmap", action="store_true", help="keep the content, which is always done")
    parser.add_argument("paths", metavar="PATH", nargs="+")


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    _common_arguments(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("-l", "--long", action="store_true", help="with type, mode and size")
    form.add_argument("--raw", action="store_true", help="the objects of RFC 37, in JSON")
    form.add_argument("--blobref", action="store_true", help="the blobrefs of their content")
    _pattern_argument(parser)


def _get_arguments(parser: argparse.ArgumentParser) -> None:
    _common_arguments(parser)
    _folder_arguments(parser)
    parser.add_argument("--direct", action="store_true", help="accepted; makes no difference")
    _pattern_argument(parser)


def _common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-T", "--tags", default="main", metavar="LIST", help="names, separated by commas (main)")


def _folder_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-C", "--directory", default=".", metavar="DIR", help="change to DIR first")
    parser.add_argument("-v", "--verbose", nargs="?", const="1", metavar="LEVEL", help="list files on stderr")


def _pattern_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", metavar="PATTERN", nargs="?", default="*")


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


def _for_tags(run: Callable[[str, argparse.Namespace], None]) -> Callable[[argparse.Namespace], int]:
    def for_each(args: argparse.Namespace) -> int:
        for tag in args.tags.split(","):
            run(tag, args)
        return 0

    return for_each


_ACTIONS = {
    "map": Action(_for_tags(_map), "keep files and directories", _map_arguments),
    "list": Action(_for_tags(_list), "list files", _list_arguments),
    "get": Action(_for_tags(_get), "extract files, in place of those that are there", _get_arguments),
    "unmap": Action(_for_tags(_unmap), "forget files", _common_arguments),
}


def command(argv: list[str]) -> int:
    return dispatch("filemap", "Keep files for all nodes to extract, by tags.", _ACTIONS, argv)
