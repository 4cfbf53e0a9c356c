"""`flux kvs ls` and `dir`: what is in a directory (flux-kvs(1))."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

from flux.constants import FLUX_KVS_READDIR, FLUX_KVS_TREEOBJ
from flux.errors import FluxError
from flux_cli.cmd.kvs_get import add_at, add_namespace, key_error, parse_at
from flux_cli.common import Action, Parser, open_flux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.kvs.treeobj import TreeObj

__all__ = ["ACTIONS"]

_DIRS = ("dir", "dirref")
_LS_WIDTH = 80
_GAP = 4


def _width(asked: int | None, default: int) -> int:
    """Columns of the terminal, or as asked; 0 is unlimited."""
    if asked is not None:
        return asked
    try:
        return int(os.environ.get("COLUMNS", "")) or default
    except ValueError:
        pass
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or default
    except OSError:
        return default


def _not_negative(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no number of columns")
    return int(text)


def _child(key: str, name: str) -> str:
    base = key.strip(".")
    return f"{base}.{name}" if base else name


# -- ls


def _ls_arguments(parser: Parser) -> None:
    add_namespace(parser)
    parser.add_argument("-R", "--recursive", action="store_true", help="list directories below, too")
    parser.add_argument("-d", "--directory", action="store_true", help="list directories, not what is in them")
    parser.add_argument("-F", "--classify", action="store_true", help="mark directories with . and symlinks with @")
    parser.add_argument("-w", "--width", type=_not_negative, metavar="COLS", help="width of the output; 0: unlimited")
    parser.add_argument("-1", "--1", dest="one", action="store_true", help="one name on a line")
    parser.add_argument("keys", nargs="*", metavar="KEY", help="default: . (the root)")


def _ls(args: argparse.Namespace) -> int:
    width = 1 if args.one else _width(args.width, _LS_WIDTH)
    with open_flux() as handle:
        return _Listing(handle, args, width).run(args.keys or ["."])


class _Listing:
    """Prints names in the manner of ls(1): keys that are no directories first, then each directory."""

    def __init__(self, handle: Flux, args: argparse.Namespace, width: int) -> None:
        self.handle = handle
        self.args = args
        self.width = width
        self.blocks = 0
        self.failed = False

    def run(self, keys: list[str]) -> int:
        singles: list[str] = []
        directories: list[str] = []
        for key in keys:
            try:
                self._sort(key, singles, directories)
            except FluxError as exc:
                print(f"flux-kvs: {key_error(key, exc)}", file=sys.stderr)
                self.failed = True
        if singles:
            self._block("", sorted(singles), singles)
        for key in directories:
            self._directory(key, titled=self.args.recursive or len(keys) > 1)
        return int(self.failed)

    def _sort(self, key: str, singles: list[str], directories: list[str]) -> None:
        from flux.kvs import isdir, lookup_async

        namespace = self.args.namespace
        obj = lookup_async(self.handle, key, FLUX_KVS_TREEOBJ, namespace).get()
        linked = obj["type"] == "symlink" and not self.args.classify and isdir(self.handle, key, namespace)
        if (obj["type"] in _DIRS or linked) and not self.args.directory:
            directories.append(key)
        else:
            singles.append(self._marked(key, obj))

    def _directory(self, key: str, titled: bool) -> None:
        from flux.kvs import lookup_async

        entries = lookup_async(self.handle, key, FLUX_KVS_READDIR, self.args.namespace).entries()
        names = sorted(entries)
        self._block(key if titled else "", [self._marked(name, entries[name]) for name in names], names)
        if self.args.recursive:
            for name in sorted(entries):
                if entries[name]["type"] in _DIRS:
                    self._directory(_child(key, name), titled=True)

    def _marked(self, name: str, obj: TreeObj) -> str:
        if not self.args.classify or name == ".":
            return name
        return name + ("." if obj["type"] in _DIRS else "@" if obj["type"] == "symlink" else "")

    def _block(self, title: str, shown: list[str], names: list[str]) -> None:
        if self.blocks:
            print()
        self.blocks += 1
        if title:
            print(f"{title}:")
        if shown:
            for line in _in_columns(shown, max(map(len, names)) + _GAP, self.width):
                print(line)


def _in_columns(names: list[str], cell: int, width: int) -> list[str]:
    """Names in as many columns of cell characters as fit, row by row; width 0 puts all on one line."""
    columns = len(names) if width == 0 else max(1, width // cell)
    rows = range(0, len(names), columns)
    return ["".join(name.ljust(cell) for name in names[row : row + columns]).rstrip() for row in rows]


# -- dir


def _dir_arguments(parser: Parser) -> None:
    add_namespace(parser)
    add_at(parser)
    parser.add_argument("-R", "--recursive", action="store_true", help="list directories below, too")
    parser.add_argument("-d", "--directory", action="store_true", help="list keys without their values")
    parser.add_argument("-w", "--width", type=_not_negative, metavar="COLS", help="cut lines there; 0: nowhere")
    parser.add_argument("key", nargs="?", default=".", metavar="KEY", help="default: . (the root)")


def _dir(args: argparse.Namespace) -> int:
    width = _width(args.width, 0)
    with open_flux() as handle:
        try:
            for line in _dir_lines(handle, args, args.key):
                print(_cut(line, width))
        except FluxError as exc:
            raise key_error(args.key, exc) from None
    return 0


def _cut(line: str, width: int) -> str:
    shown = "".join(c if c.isprintable() else "." for c in line)
    return shown if width == 0 or len(shown) <= width else shown[: max(width - 3, 0)] + "..."


def _dir_lines(handle: Flux, args: argparse.Namespace, key: str) -> Iterator[str]:
    from flux.kvs import lookup_async

    entries = lookup_async(handle, key, FLUX_KVS_READDIR, args.namespace, parse_at(args.at)).entries()
    for name in sorted(entries):
        path, entry = _child(key, name), entries[name]
        if entry["type"] in _DIRS:
            if args.recursive:
                yield from _dir_lines(handle, args, path)
            else:
                yield f"{path}."
        elif entry["type"] == "symlink":
            yield f"{path} -> {_target(entry)}"
        else:
            yield path if args.directory else f"{path} = {_value(handle, args, path, entry)}"


def _target(link: TreeObj) -> str:
    data = link["data"]
    return f"{data['namespace']}::{data['target']}" if "namespace" in data else str(data["target"])


def _value(handle: Flux, args: argparse.Namespace, key: str, entry: TreeObj) -> str:
    """Text of a value; only one that the directory does not hold itself has to be looked up."""
    from flux.kvs import lookup_async, treeobj

    if entry["type"] != "val":
        entry = lookup_async(handle, key, 0, args.namespace, parse_at(args.at)).get()
    return treeobj.decode_val(entry).decode("utf-8", "backslashreplace")


ACTIONS = {
    "ls": Action(_ls, "list names in directories", _ls_arguments),
    "dir": Action(_dir, "list keys of a directory with their values", _dir_arguments),
}
