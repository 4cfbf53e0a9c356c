"""What makes commands start sooner."""

from __future__ import annotations

import sys

__all__ = ["import_msgspec"]


def import_msgspec() -> None:
    """Import msgspec without typing_extensions, which it would import where it is installed.

    From Python 3.11 on it needs nothing of that, and a short command would spend an eighth of its time on it. Not for
    processes with threads: while this runs, typing_extensions cannot be imported.
    """
    if "msgspec" in sys.modules or "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules["typing_extensions"]
