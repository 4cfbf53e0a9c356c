"""`flux kvs`: read and write the key-value store (flux-kvs(1)).

The commands are in kvs_get, kvs_put, kvs_list, kvs_root and kvs_eventlog.
"""

from __future__ import annotations

from flux_cli.cmd import kvs_eventlog, kvs_get, kvs_list, kvs_put, kvs_root
from flux_cli.common import Action, dispatch

__all__ = ["command"]

_GROUPS = {
    "namespace": ("Create, remove and list namespaces.", kvs_root.NAMESPACE_ACTIONS),
    "eventlog": ("Read, write and wait for events of an RFC 18 eventlog.", kvs_eventlog.ACTIONS),
}


def command(argv: list[str]) -> int:
    if argv and argv[0] in _GROUPS:
        description, actions = _GROUPS[argv[0]]
        return dispatch(f"kvs {argv[0]}", description, actions, argv[1:])
    groups = {word: Action(lambda _args: 0, description) for word, (description, _) in _GROUPS.items()}
    actions = {**kvs_get.ACTIONS, **kvs_put.ACTIONS, **kvs_list.ACTIONS, **kvs_root.ACTIONS, **groups}
    return dispatch("kvs", "Read and write the key-value store.", actions, argv)
