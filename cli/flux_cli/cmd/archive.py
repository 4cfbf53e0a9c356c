"""`flux archive`: files in the KVS, for all nodes to extract (flux-archive(1))."""

from __future__ import annotations

import os
import stat
import sys
from fnmatch import fnmatchcase

from flux.errors import FluxError
from flux_cli.common import Action, die, dispatch, open_flux

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any

    from flux.core.handle import Flux

_WINDOW = 4
_TYPES = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}


def _create_arguments(parser: argparse.ArgumentParser) -> None:
    _common_arguments(parser)
    _folder_arguments(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace an archive of that name")
    parser.add_argument("--append", action="store_true", help="add to an archive of that name")
    content = parser.add_mutually_exclusive_group()
    content.add_argument("--preserve", action="store_true", help="keep the content, as is done anyway")
    content.add_argument("--mmap", action="store_true", help="have the broker read the files when they are asked for")
    parser.add_argument("--chunksize", default="1M", metavar="N", help="greatest blob in bytes (1M); 0: no limit")
    parser.add_argument("--small-file-threshold", default="1K", metavar="N", help="greatest file kept inline (1K)")
    parser.add_argument("paths", metavar="PATH", nargs="+")


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    _common_arguments(parser)
    parser.add_argument("-l", "--long", action="store_true", help="with type, mode and size")
    parser.add_argument("--raw", action="store_true", help="the objects of RFC 37, in JSON")
    _pattern_argument(parser)


def _extract_arguments(parser: argparse.ArgumentParser) -> None:
    _common_arguments(parser)
    _folder_arguments(parser)
    parser.add_argument("-t", "--list-only", action="store_true", help="only list them")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    _pattern_argument(parser)


def _remove_arguments(parser: argparse.ArgumentParser) -> None:
    _common_arguments(parser)
    parser.add_argument("-f", "--force", action="store_true", help="no error when there is none")


def _common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--name", default="main", metavar="NAME", help="of the archive (main)")
    parser.add_argument("--no-force-primary", action="store_true", help="use the default namespace")


def _folder_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-C", "--directory", default=".", metavar="DIR", help="change to DIR first")
    parser.add_argument("-v", "--verbose", action="store_true", help="list files on stderr")


def _pattern_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", metavar="PATTERN", nargs="?", default="*")


def _namespace(args: argparse.Namespace) -> str | None:
    return None if args.no_force_primary else "primary"


def _lookup(handle: Flux, args: argparse.Namespace) -> list[dict[str, Any]] | None:
    """The archive, None when there is none."""
    from flux.kvs.requests import lookup_async

    try:
        found: list[dict[str, Any]] = lookup_async(handle, f"archive.{args.name}", namespace=_namespace(args)).json()
    except FileNotFoundError:
        return None
    return found


def _wanted(handle: Flux, args: argparse.Namespace) -> list[dict[str, Any]]:
    archive = _lookup(handle, args)
    if archive is None:
        die(f"KVS lookup archive.{args.name}: No such file or directory")
    return [entry for entry in archive if fnmatchcase(entry["path"], args.pattern)]


def _create(handle: Flux, args: argparse.Namespace) -> None:
    from flux import kvs
    from flux.kvs import treeobj

    archive = _lookup(handle, args)
    if archive is not None and not (args.overwrite or args.append):
        die(f"archive.{args.name}: key exists")
    if args.mmap and handle.get_rank():
        die("--mmap works on rank 0 alone, whose broker reads the files")
    if archive is None or not args.append:
        _release_files(handle, args.name)
        archive, refs = [], []
    else:
        refs = _kept_refs(handle, args)
    added = _packed(handle, args)
    archive += added
    if not args.mmap:
        refs += [region[2] for entry in added if entry.get("encoding") == "blobvec" for region in entry["data"]]
    txn = kvs.KVSTxn().put(f"archive.{args.name}", archive)
    if refs:  # what the tree of keys refers to outlives garbage collection
        txn.put_treeobj(f"archive.{args.name}_blobs", treeobj.valref(refs))
    else:
        txn.unlink(f"archive.{args.name}_blobs")
    kvs.commit(handle, namespace=_namespace(args), txn=txn)


def _kept_refs(handle: Flux, args: argparse.Namespace) -> list[str]:
    """The blobs that an archive keeps; not those of mapped files."""
    from flux.constants import FLUX_KVS_TREEOBJ
    from flux.kvs.requests import lookup_async

    lookup = lookup_async(handle, f"archive.{args.name}_blobs", FLUX_KVS_TREEOBJ, _namespace(args))
    try:
        refs: list[str] = lookup.get()["data"]
    except FileNotFoundError:
        return []
    return refs


def _packed(handle: Flux, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The files of the command line as objects, their content kept or mapped."""
    from functools import partial

    from flux.blobs import Storer
    from flux.fileref import pack, walk
    from flux.kvs.treeobj import blobref
    from flux.util import parse_size

    hash_name = handle.attr_get("content.hash")
    storer = Storer(handle, hash_name, _WINDOW)
    store = partial(blobref, hash_name=hash_name) if args.mmap else storer.store
    packed = []
    try:
        small, chunk = parse_size(args.small_file_threshold), parse_size(args.chunksize)
        os.chdir(args.directory)
        for path in [found for root in args.paths for found in walk(root.rstrip("/") or "/")]:
            if args.verbose:
                print(path, file=sys.stderr)
            packed.append(pack(path, store, small, chunk, holes=not args.mmap))
            if args.mmap and packed[-1].get("encoding") == "blobvec":
                _map(handle, path, chunk, args.name)
    except OSError as exc:
        die(f"{exc.filename or args.directory}: {exc.strerror}")
    except ValueError as exc:
        die(str(exc))
    storer.finish()
    return packed


def _map(handle: Flux, path: str, chunksize: int, name: str) -> None:
    """Have the broker serve the content of a file."""
    region = {"path": os.path.abspath(path), "chunksize": chunksize, "tag": name}
    try:
        handle.rpc("content.mmap-add", region, nodeid=0).get()
    except FluxError as exc:
        die(f"{path}: the broker cannot read it: {exc.strerror}")


def _release_files(handle: Flux, name: str) -> None:
    """Have the broker close the mapped files of an archive, if there are any."""
    handle.rpc("content.mmap-remove", {"tag": name}, nodeid=0).get()


def _list(handle: Flux, args: argparse.Namespace) -> None:
    import json

    for entry in _wanted(handle, args):
        if args.raw:
            print(json.dumps(entry, separators=(",", ":")))
        elif args.long:
            mode = entry["mode"]
            kind = _TYPES.get(stat.S_IFMT(mode), "?")
            print(f"{kind} 0{stat.S_IMODE(mode):o} {entry.get('size', 0):8d} {entry['path']}")
        else:
            print(entry["path"])


def _extract(handle: Flux, args: argparse.Namespace) -> None:
    from flux.content import digest_of, load_async
    from flux.fileref import unpack

    for entry in _wanted(handle, args):
        path = entry["path"]
        if args.list_only:
            print(path)
            continue
        if args.verbose:
            print(path, file=sys.stderr)
        try:
            unpack(args.directory, path, entry, lambda ref: load_async(handle, digest_of(ref)).get(), args.overwrite)
        except FileExistsError:
            die(f"{path}: write: Attempt to overwrite existing file")
        except OSError as exc:
            die(f"{path}: {exc.strerror}")
        except (KeyError, TypeError, ValueError) as exc:
            die(f"{path}: {exc}")


def _remove(handle: Flux, args: argparse.Namespace) -> None:
    from flux import kvs

    if _lookup(handle, args) is None:
        if not args.force:
            die(f"archive.{args.name} does not exist")
        return
    txn = kvs.KVSTxn().unlink(f"archive.{args.name}").unlink(f"archive.{args.name}_blobs")
    kvs.commit(handle, namespace=_namespace(args), txn=txn)
    _release_files(handle, args.name)


def _connected(run: Callable[[Flux, argparse.Namespace], None]) -> Callable[[argparse.Namespace], int]:
    def with_handle(args: argparse.Namespace) -> int:
        with open_flux() as handle:
            run(handle, args)
        return 0

    return with_handle


_ACTIONS = {
    "create": Action(_connected(_create), "archive files and directories", _create_arguments),
    "list": Action(_connected(_list), "list the files of an archive", _list_arguments),
    "extract": Action(_connected(_extract), "extract files", _extract_arguments),
    "remove": Action(_connected(_remove), "remove an archive", _remove_arguments),
}


def command(argv: list[str]) -> int:
    return dispatch("archive", "Keep files in the KVS, and extract them.", _ACTIONS, argv)
