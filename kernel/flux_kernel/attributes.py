"""The store of broker attributes. Which names exist and who may set them is the attr plugin's business."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from flux.errors import FluxError

__all__ = ["Attributes"]


class Attributes:
    """Named strings with an immutable mark (`flux.hooks.kernel.AttributeTable`)."""

    def __init__(self) -> None:
        self._values: dict[str, str | None] = {}
        self._computed: dict[str, Callable[[], str]] = {}
        self._immutable: set[str] = set()
        self._watchers: dict[str, list[Callable[[str], None]]] = {}

    def get(self, name: str, default: str | None = None) -> str | None:
        value = self._computed[name]() if name in self._computed else self._values.get(name)
        return default if value is None else value

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise FluxError(errno.ENOENT, f"attribute {name} is not set")
        return value

    def set(self, name: str, value: str | None, *, immutable: bool = False) -> None:
        self._values[name] = value
        if immutable:
            self._immutable.add(name)
        for watcher in self._watchers.get(name, ()):
            watcher(value or "")

    def compute(self, name: str, value: Callable[[], str]) -> None:
        self._computed[name] = value

    def remove(self, name: str) -> None:
        self._values.pop(name, None)
        self._computed.pop(name, None)

    def is_immutable(self, name: str) -> bool:
        return name in self._immutable

    def cacheable(self) -> dict[str, str]:
        return {name: value for name in self._immutable if (value := self._values.get(name)) is not None}

    def on_change(self, name: str, callback: Callable[[str], None]) -> None:
        self._watchers.setdefault(name, []).append(callback)

    def __contains__(self, name: str) -> bool:
        return name in self._values or name in self._computed

    def __iter__(self) -> Iterator[str]:
        return iter([*self._values, *self._computed])
