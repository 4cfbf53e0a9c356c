"""Packages whose names are imported when first used.

``flux.job`` and ``flux.resource`` offer many names of which a program uses few.  Such a package lists
``NAME -> submodule`` in a table and calls install(); nothing is imported until a name, or a submodule, is asked for.

Some documented classes share the name of their module (``flux.job.JobID.JobID``).  Importing the submodule
makes Python bind the module over the class in the package, so the package's own type puts the class back:
``from flux.job import JobID`` is the class, whatever was imported before.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["install"]


class _LazyPackage(ModuleType):
    _lazy_names: Mapping[str, str]

    def __getattr__(self, name: str) -> Any:
        from importlib import import_module

        table = self.__dict__["_lazy_names"]
        if name in table:
            value = getattr(import_module(f"{self.__name__}.{table[name]}"), name)
        elif name in table.values():
            value = import_module(f"{self.__name__}.{name}")
        else:
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'", name=name, obj=self)
        super().__setattr__(name, value)
        return value

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and self._lazy_names.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._lazy_names})


def install(package: str, names: Mapping[str, str]) -> None:
    """Make ``package`` (a name in sys.modules) resolve each of ``names`` from the submodule it maps to."""
    module = sys.modules[package]
    module.__dict__["_lazy_names"] = names
    module.__dict__["__all__"] = list(names)
    module.__class__ = _LazyPackage
