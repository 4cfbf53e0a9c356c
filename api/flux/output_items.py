"""What goes through an OutputFormat: dates, texts in two spellings, like items put together (``flux.util``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from flux.output_format import OutputFormat
from flux.output_values import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["AltField", "Deduplicator", "UtilDatetime"]


class UtilDatetime(datetime):
    """A date whose format may be followed by "::" and a width: `{:%b%d %R::>16}`. The epoch shows as ""."""

    def __format__(self, spec: str) -> str:
        return show(self, spec)


class AltField:
    """A text that has an ASCII spelling too: `{field}` and `{field.ascii}`."""

    def __init__(self, default: str, ascii: str) -> None:
        self.default = default
        self.ascii = ascii

    def __str__(self) -> str:
        return self.default

    def __format__(self, spec: str) -> str:
        return format(self.default, spec)


class Deduplicator:
    """A list of items in which one that would show like an earlier one is combined with it.

    Args:
        formatter: how items are shown.
        except_fields: fields in which like items may differ.
        combine: called with an item of the list and one that is like it, to change the first.
    """

    def __init__(
        self,
        formatter: OutputFormat,
        except_fields: Iterable[str] | None = None,
        combine: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        ignored = set(except_fields or ())
        self._fields = [field for field in formatter.fields if field not in ignored]
        self._key = OutputFormat("\0".join(f"{{{field}}}" for field in self._fields) or "all", formatter.headings)
        self._combine = combine
        self._items: dict[str, Any] = {}

    def append(self, item: Any) -> None:
        """Add an item, or combine it with the one that is like it."""
        key = self._key.format(item)
        if key not in self._items:
            self._items[key] = item
        elif self._combine is not None:
            self._combine(self._items[key], item)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items.values())

    def __len__(self) -> int:
        return len(self._items)
