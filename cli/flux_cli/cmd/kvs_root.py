"""`flux kvs version`, `wait`, `getroot`, `dropcache` and `namespace`: roots, caches, namespaces (flux-kvs(1))."""

from __future__ import annotations

import argparse

from flux.constants import FLUX_KVS_SYNC
from flux.errors import FluxError
from flux_cli.cmd.kvs_get import add_namespace, key_error, not_negative
from flux_cli.common import Action, Parser, add_list_options, open_flux, print_json

__all__ = ["ACTIONS", "NAMESPACE_ACTIONS"]


def _version(args: argparse.Namespace) -> int:
    from flux.kvs import getroot

    with open_flux() as handle:
        print(getroot(handle, args.namespace)["rootseq"])
    return 0


def _wait_arguments(parser: Parser) -> None:
    add_namespace(parser)
    parser.add_argument("version", type=not_negative, metavar="VERSION")


def _wait(args: argparse.Namespace) -> int:
    from flux.kvs import wait_version

    with open_flux() as handle:
        wait_version(handle, args.version, args.namespace)
    return 0


def _getroot_arguments(parser: Parser) -> None:
    add_namespace(parser)
    parser.add_argument("-s", "--sequence", action="store_true", help="show the sequence number")
    parser.add_argument("-o", "--owner", action="store_true", help="show the userid of the namespace's owner")
    parser.add_argument("-b", "--blobref", action="store_true", help="show the blobref alone")


def _getroot(args: argparse.Namespace) -> int:
    from flux.kvs import getroot, treeobj

    with open_flux() as handle:
        root = getroot(handle, args.namespace)
    if args.sequence:
        print(root["rootseq"])
    elif args.owner:
        print(root["owner"])
    elif args.blobref:
        print(root["rootref"])
    else:
        print(treeobj.encode(treeobj.dirref(root["rootref"])).decode())
    return 0


def _sync(args: argparse.Namespace) -> int:
    from flux.kvs import KVSTxn, commit

    with open_flux() as handle:
        commit(handle, FLUX_KVS_SYNC, args.namespace, KVSTxn())
    return 0


def _dropcache_arguments(parser: Parser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="on every rank of the instance")


def _dropcache(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        if args.all:
            handle.event_publish("kvs.dropcache")
        else:
            handle.rpc("kvs.dropcache").get()
    return 0


# -- namespace


def _create_arguments(parser: Parser) -> None:
    parser.add_argument("-o", "--owner", type=int, default=-1, metavar="USERID", help="who may use it, too")
    parser.add_argument("-r", "--rootref", metavar="BLOBREF", help="directory to begin with, instead of an empty one")
    parser.add_argument("names", nargs="+", metavar="NAME")


def _create(args: argparse.Namespace) -> int:
    from flux.kvs import namespace_create

    with open_flux() as handle:
        for name in args.names:
            try:
                namespace_create(handle, name, args.owner, args.rootref)
            except FluxError as exc:
                raise key_error(name, exc) from None
    return 0


def _remove_arguments(parser: Parser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME")


def _remove(args: argparse.Namespace) -> int:
    from flux.kvs import namespace_remove

    with open_flux() as handle:
        for name in args.names:
            try:
                namespace_remove(handle, name)
            except FluxError as exc:
                raise key_error(name, exc) from None
    return 0


def _list(args: argparse.Namespace) -> int:
    from flux.kvs import namespace_list

    with open_flux() as handle:
        namespaces = sorted(namespace_list(handle), key=lambda namespace: str(namespace["namespace"]))
    if args.json:
        print_json(namespaces)
        return 0
    if not args.no_header:
        print(f"{'NAMESPACE':<36} {'OWNER':>10} {'FLAGS':>10}")
    for namespace in namespaces:
        print(f"{namespace['namespace']:<36} {namespace['owner']:>10} 0x{namespace['flags']:08X}")
    return 0


ACTIONS = {
    "version": Action(_version, "show the sequence number of a namespace's root", add_namespace),
    "wait": Action(_wait, "wait until a namespace has reached a version", _wait_arguments),
    "getroot": Action(_getroot, "show a namespace's root", _getroot_arguments),
    "sync": Action(_sync, "wait until what is committed is on disk", add_namespace),
    "dropcache": Action(_dropcache, "forget what can be loaded again", _dropcache_arguments),
}

NAMESPACE_ACTIONS = {
    "create": Action(_create, "create namespaces", _create_arguments),
    "remove": Action(_remove, "remove namespaces with all that is in them", _remove_arguments),
    "list": Action(_list, "list namespaces", add_list_options),
}
