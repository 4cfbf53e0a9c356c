"""`flux kvs put`, `mkdir`, `link`, `unlink`, `copy` and `move`: what changes the store (flux-kvs(1))."""

from __future__ import annotations

import argparse
import errno
import sys

from flux.constants import FLUX_KVS_NO_MERGE, FLUX_KVS_READDIR, FLUX_KVS_SYNC, FLUX_KVS_TREEOBJ
from flux.errors import FluxError, ProtocolError
from flux_cli.cmd.kvs_get import add_namespace, key_error
from flux_cli.common import Action, Parser, die, open_flux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.kvs import KVSTxn
    from flux.kvs.treeobj import TreeObj

__all__ = ["ACTIONS"]


def _add_commit_options(parser: Parser) -> None:
    add_namespace(parser)
    parser.add_argument("-O", "--treeobj-root", action="store_true", help="show the new root, an RFC 11 dirref")
    parser.add_argument("-b", "--blobref", action="store_true", help="show the new root's blobref")
    parser.add_argument("-s", "--sequence", action="store_true", help="show the new root's sequence number")


def _commit(handle: Flux, args: argparse.Namespace, txn: KVSTxn, flags: int = 0) -> int:
    """Commit and show what the options ask for."""
    from flux.kvs import commit_async, treeobj

    root = commit_async(handle, txn, flags, args.namespace).get()
    if args.treeobj_root:
        print(treeobj.encode(treeobj.dirref(root["rootref"])).decode())
    elif args.blobref:
        print(root["rootref"])
    elif args.sequence:
        print(root["rootseq"])
    return 0


# -- put


def _put_arguments(parser: Parser) -> None:
    _add_commit_options(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("-r", "--raw", action="store_true", help="the value - is read from standard input")
    form.add_argument("-t", "--treeobj", action="store_true", help="the value is an RFC 11 object; - as with --raw")
    parser.add_argument("-n", "--no-merge", action="store_true", help="be a commit of its own")
    parser.add_argument("-A", "--append", action="store_true", help="add to the end of the present value")
    parser.add_argument("-S", "--sync", action="store_true", help="return when the commit is on disk")
    parser.add_argument("pairs", nargs="+", metavar="KEY=VALUE")


def _put(args: argparse.Namespace) -> int:
    from flux.kvs import KVSTxn

    if args.append and args.treeobj:
        die("an RFC 11 object cannot be appended: --append goes with no --treeobj")
    txn = KVSTxn()
    for pair in args.pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            die(f"{pair}: what should its value be? put takes KEY=VALUE")
        _add_put(txn, args, key, value)
    flags = (FLUX_KVS_NO_MERGE if args.no_merge else 0) | (FLUX_KVS_SYNC if args.sync else 0)
    with open_flux() as handle:
        return _commit(handle, args, txn, flags)


def _add_put(txn: KVSTxn, args: argparse.Namespace, key: str, value: str) -> None:
    data = value.encode("utf-8", "surrogateescape")
    if value == "-" and (args.raw or args.treeobj):
        data = sys.stdin.buffer.read()
    try:
        if args.treeobj:
            txn.put_treeobj(key, data)
        elif args.append:
            txn.append(key, data)
        else:
            txn.put_raw(key, data)
    except ProtocolError as exc:
        raise key_error(key, exc) from None


def _mkdir_arguments(parser: Parser) -> None:
    _add_commit_options(parser)
    parser.add_argument("keys", nargs="+", metavar="KEY")


def _mkdir(args: argparse.Namespace) -> int:
    from flux.kvs import KVSTxn

    txn = KVSTxn()
    for key in args.keys:
        txn.mkdir(key)
    with open_flux() as handle:
        return _commit(handle, args, txn)


# -- link, unlink


def _link_arguments(parser: Parser) -> None:
    _add_commit_options(parser)
    parser.add_argument("-T", "--target-namespace", metavar="NS", help="namespace of TARGET")
    parser.add_argument("target", metavar="TARGET", help="the key it leads to; need not exist")
    parser.add_argument("linkname", metavar="LINKNAME")


def _link(args: argparse.Namespace) -> int:
    from flux.kvs import KVSTxn

    with open_flux() as handle:
        return _commit(handle, args, KVSTxn().symlink(args.linkname, args.target, args.target_namespace))


def _unlink_arguments(parser: Parser) -> None:
    _add_commit_options(parser)
    parser.add_argument("-R", "--recursive", action="store_true", help="remove directories with all that is in them")
    parser.add_argument("-f", "--force", action="store_true", help="pass over keys that do not exist")
    parser.add_argument("keys", nargs="+", metavar="KEY")


def _unlink(args: argparse.Namespace) -> int:
    from flux.kvs import KVSTxn

    txn = KVSTxn()
    with open_flux() as handle:
        for key in args.keys:
            if _may_unlink(handle, args, key):
                txn.unlink(key)
        return _commit(handle, args, txn)


def _may_unlink(handle: Flux, args: argparse.Namespace, key: str) -> bool:
    from flux.kvs import lookup_async

    try:
        obj = lookup_async(handle, key, FLUX_KVS_TREEOBJ, args.namespace).get()
        if obj["type"] in ("dir", "dirref") and not args.recursive:
            _need_empty(lookup_async(handle, key, FLUX_KVS_READDIR, args.namespace).entries())
    except FluxError as exc:
        if exc.errno == errno.ENOENT and args.force:
            return False
        raise key_error(key, exc) from None
    return True


def _need_empty(entries: dict[str, TreeObj]) -> None:
    if entries:
        raise FluxError(errno.ENOTEMPTY)


# -- copy, move


def _copy_arguments(parser: Parser) -> None:
    parser.add_argument("-S", "--src-namespace", metavar="NS", help="namespace of SOURCE")
    parser.add_argument("-D", "--dst-namespace", metavar="NS", help="namespace of DESTINATION")
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("destination", metavar="DESTINATION")


def _copy(args: argparse.Namespace) -> int:
    from flux.kvs import copy

    with open_flux() as handle:
        copy(handle, args.source, args.destination, args.src_namespace, args.dst_namespace)
    return 0


def _move(args: argparse.Namespace) -> int:
    from flux.kvs import move

    with open_flux() as handle:
        move(handle, args.source, args.destination, args.src_namespace, args.dst_namespace)
    return 0


ACTIONS = {
    "put": Action(_put, "store values under keys", _put_arguments),
    "mkdir": Action(_mkdir, "make empty directories", _mkdir_arguments),
    "link": Action(_link, "make a symlink", _link_arguments),
    "unlink": Action(_unlink, "remove keys", _unlink_arguments),
    "copy": Action(_copy, "copy a key or directory", _copy_arguments),
    "move": Action(_move, "copy, then remove the source", _copy_arguments),
}
