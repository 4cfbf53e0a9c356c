"""What stands for a module that is no `Module`: somebody else's loader program runs it, or it blocks (RFC 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from flux.module.base import Module

__all__ = ["Blocking", "Foreign", "as_module", "is_module"]

_BLOCKS = "__flux_blocking__"  # what `flux.brokermod.BrokerModule` has, which brokers need not import

_DECLARED = ("__doc__", "provides", "requires", "after", "before", "ranks")


class Foreign(Module):
    """Any module; when it is reloaded it is stopped before its successor starts."""

    def stop(self) -> None:
        """Unknown."""


class Blocking(Foreign):
    """A module for `flux.brokermod`: `main(handle, *args)` serves until it is stopped, in a process of its own."""

    run_by = "flux.module.blocking"
    main: ClassVar[Callable[..., Any]]


def is_module(found: object, blocking: bool = True) -> bool:
    """True for a class of modules. blocking: also for one of modules that block."""
    if not isinstance(found, type):
        return False
    return (issubclass(found, Module) and found is not Module) or (blocking and hasattr(found, _BLOCKS))


def as_module(found: Any) -> Any:
    """A `Blocking` for a function `mod_main` and for a class that blocks; anything else as it is."""
    name = getattr(found, "__name__", "")
    if isinstance(found, type) and hasattr(found, _BLOCKS):
        main = _main_of(found)
    elif name == "mod_main":
        main = found
    else:
        return found
    said = {key: getattr(found, key) for key in _DECLARED if hasattr(found, key)}
    return type(name, (Blocking,), {**said, "__module__": found.__module__, "main": staticmethod(main)})


def _main_of(cls: type) -> Callable[..., Any]:
    return lambda handle, *args: cls(handle, *args).run()
