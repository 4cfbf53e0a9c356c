"""The content attributes that an owner may change at run time (flux-broker-attributes(7)), and the accounting ones."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from flux.content import BLOB_MAX
from flux.errors import FluxError
from flux.hooks.kernel import AttributeTable

__all__ = ["Settings"]

_KINDS: dict[str, tuple[str, Callable[[str], Any], float]] = {
    "blob-size-limit": ("bytes", int, BLOB_MAX),
    "flush-batch-limit": ("a number of blobs", int, 1 << 20),
    "purge-old-entry": ("seconds", float, float("inf")),
    "purge-target-size": ("bytes", int, float("inf")),
}


class Settings:
    """Limits of the cache, as the module's arguments or, later, attributes have them.

    Attributes:
        blob_size_limit, purge_target_size: bytes. purge_old_entry: seconds. flush_batch_limit: blobs at a time.
    """

    blob_size_limit: int
    flush_batch_limit: int
    purge_old_entry: float
    purge_target_size: int

    def __init__(self, options: Any) -> None:
        for name in _KINDS:
            field = name.replace("-", "_")
            setattr(self, field, getattr(options, field))
        self._shown: list[str] = []

    def follow(self, attrs: AttributeTable) -> None:
        """Take values from the attributes where they are set, show the others there, follow changes."""
        for name in _KINDS:
            full = f"content.{name}"
            if (text := attrs.get(full)) is not None:
                self._take(name, text)
            else:
                attrs.set(full, self._text(name))
            attrs.on_change(full, lambda text, name=name: self._changed(attrs, name, text))

    def _changed(self, attrs: AttributeTable, name: str, text: str) -> None:
        try:
            self._take(name, text)
        except FluxError:
            attrs.set(f"content.{name}", self._text(name))
            raise

    def _text(self, name: str) -> str:
        value = self._value(name)
        return f"{value:g}" if isinstance(value, float) else str(value)

    def _value(self, name: str) -> Any:
        return getattr(self, name.replace("-", "_"))

    def _take(self, name: str, text: str) -> None:
        unit, kind, most = _KINDS[name]
        try:
            value = kind(text)
        except ValueError:
            value = -1
        if not 0 <= value <= most or (name == "flush-batch-limit" and not value):
            limit = "" if most == float("inf") else f", at most {most}"
            raise FluxError(errno.EINVAL, f"content.{name} is {unit}{limit}, not {text!r}")
        setattr(self, name.replace("-", "_"), value)

    def show(self, attrs: AttributeTable, counts: dict[str, Callable[[], int]]) -> None:
        """Show live counts as attributes content.NAME until `hide`."""
        for name, count in counts.items():
            attrs.compute(f"content.{name}", lambda count=count: str(count()))
            self._shown.append(f"content.{name}")

    def hide(self, attrs: AttributeTable) -> None:
        """Take the live counts away."""
        for name in self._shown:
            attrs.remove(name)
        self._shown.clear()
