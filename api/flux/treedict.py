"""Dictionaries of dictionaries by dotted paths, as options such as KEY.SUBKEY=VALUE need them (``flux.util``)."""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["del_treedict", "dict_merge", "get_treedict", "set_treedict"]


def get_treedict(in_dict: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """The value at "a.b.c"; default when there is none."""
    found: Any = in_dict
    for name in key.split("."):
        if not isinstance(found, Mapping) or name not in found:
            return default
        found = found[name]
    return found


def set_treedict(in_dict: dict[str, Any], key: str, val: Any) -> None:
    """Set the value at "a.b.c", making what is not there. TypeError when something on the way is no dictionary."""
    *parents, last = key.split(".")
    for name in parents:
        in_dict = in_dict.setdefault(name, {})
        if not isinstance(in_dict, dict):
            raise TypeError(f"{key}: the value of {name} is no dictionary")
    in_dict[last] = val


def del_treedict(in_dict: dict[str, Any], key: str, remove_empty: bool = False) -> None:
    """Remove the value at "a.b.c". KeyError when there is none.

    Args:
        remove_empty: also remove the dictionaries on the way that hold nothing any more.
    """
    first, dot, rest = key.partition(".")
    if not dot:
        del in_dict[first]
        return
    del_treedict(in_dict[first], rest, remove_empty)
    if remove_empty and not in_dict[first]:
        del in_dict[first]


def dict_merge(src: dict[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Merge new into src, dictionaries one into the other, all else replaced; returns src."""
    for key, value in new.items():
        if isinstance(value, Mapping) and isinstance(src.get(key), dict):
            dict_merge(src[key], value)
        else:
            src[key] = value
    return src
