"""Loading and removing one module of a composition, as the `flux modprobe` commands do it."""

from __future__ import annotations

from flux.module.options import encode_args

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from flux_kernel.composition_check import Declared

__all__ = ["load_module", "loaded_modules", "module_words", "remove_module"]


def loaded_modules(handle: Any) -> dict[str, list[str]]:
    """Services by name of each module that the broker has."""
    return {module["name"]: module["services"] for module in handle.rpc("module.list").get()["mods"]}


def module_words(module: Declared) -> list[str]:
    """Its arguments as the composition says."""
    args: Mapping[str, Any] = module.table.values.get("args", {})
    return encode_args(args)


def load_module(handle: Any, module: Declared, words: Sequence[str]) -> None:
    payload = {"path": module.entry.target, "name": module.name, "args": list(words), "exec": module.isolated}
    if "command" in module.table.values:
        payload |= {"path": module.name, "command": module.table.values["command"]}
    handle.rpc("module.load", payload).get()


def remove_module(handle: Any, name: str) -> None:
    handle.rpc("module.remove", {"name": name}).get()
