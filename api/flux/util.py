"""Durations, sizes and dates as people write them, and the frame of a command's main function.

Flux Standard Duration is RFC 23; manual page ``flux.util``. Programs that print or read as flux commands do also find
here, imported when first used: OutputFormat and what it shows, Tree, dictionaries by dotted paths, actions of
argparse, and configuration files.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from datetime import datetime
    from typing import Any, NoReturn

    from flux.arguments import ColorAction as ColorAction
    from flux.arguments import FilterAction as FilterAction
    from flux.arguments import FilterActionSetUpdate as FilterActionSetUpdate
    from flux.arguments import FilterActionUser as FilterActionUser
    from flux.arguments import FilterTrueAction as FilterTrueAction
    from flux.arguments import TreedictAction as TreedictAction
    from flux.arguments import YesNoAction as YesNoAction
    from flux.arguments import help_formatter as help_formatter
    from flux.cbindings import check_future_error as check_future_error
    from flux.cbindings import encode_payload as encode_payload
    from flux.cbindings import encode_topic as encode_topic
    from flux.cbindings import interruptible as interruptible
    from flux.fileref import Fileref as Fileref
    from flux.output_format import OutputFormat as OutputFormat
    from flux.output_format import UtilFormatter as UtilFormatter
    from flux.output_items import AltField as AltField
    from flux.output_items import Deduplicator as Deduplicator
    from flux.output_items import UtilDatetime as UtilDatetime
    from flux.toolconfig import UtilConfig as UtilConfig
    from flux.toolconfig import xdg_searchpath as xdg_searchpath
    from flux.tree import Tree as Tree
    from flux.treedict import del_treedict as del_treedict
    from flux.treedict import dict_merge as dict_merge
    from flux.treedict import get_treedict as get_treedict
    from flux.treedict import set_treedict as set_treedict

__all__ = ["CLIMain", "format_size", "fsd", "parse_datetime", "parse_fsd", "parse_size"]

_ELSEWHERE = {
    "AltField": "output_items",
    "ColorAction": "arguments",
    "Deduplicator": "output_items",
    "FilterAction": "arguments",
    "FilterActionSetUpdate": "arguments",
    "FilterActionUser": "arguments",
    "FilterTrueAction": "arguments",
    "Fileref": "fileref",
    "OutputFormat": "output_format",
    "Tree": "tree",
    "TreedictAction": "arguments",
    "UtilConfig": "toolconfig",
    "UtilDatetime": "output_items",
    "UtilFormatter": "output_format",
    "YesNoAction": "arguments",
    "check_future_error": "cbindings",
    "del_treedict": "treedict",
    "dict_merge": "treedict",
    "encode_payload": "cbindings",
    "encode_topic": "cbindings",
    "get_treedict": "treedict",
    "help_formatter": "arguments",
    "interruptible": "cbindings",
    "set_treedict": "treedict",
    "xdg_searchpath": "toolconfig",
}

_FSD = re.compile(r"\+?((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?) *(ms|s|m|h|d)?")
_INFINITY = re.compile(r"\+?inf(?:inity)?", re.IGNORECASE)
_SECONDS = {"ms": 1e-3, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_SIZE = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([kKMGTPE]?)")
_UNITS = "KMGTPE"


def parse_fsd(fsd_string: str) -> float:
    """Return the seconds that a Flux Standard Duration stands for: "30", "2ms", "1.5h", "inf".

    Raises ValueError when it is none.
    """
    if _INFINITY.fullmatch(fsd_string):
        return math.inf
    match = _FSD.fullmatch(fsd_string)
    if match is None:
        raise ValueError(
            f"invalid Flux standard duration '{fsd_string}': "
            "expected a number >= 0 with an optional unit ms, s, m, h or d, or inf"
        )
    return float(match[1]) * _SECONDS[match[2]]


def fsd(secs: float) -> str:
    """Return ``secs`` (seconds) as a Flux Standard Duration, to about four digits, in the greatest fitting unit."""
    if math.isinf(secs):
        return "inf"
    if not secs >= 0.001:
        return "0s"
    if secs < 10:
        return f"{secs:.3f}s"
    unit = next((u for u in "dhm" if secs >= _SECONDS[u]), "s")
    return f"{secs / _SECONDS[unit]:.4g}{unit}"


def parse_size(text: str) -> int:
    """Return the bytes that a size stands for: "4096", "4K", "1.5M", "2G" (powers of 1024).

    Raises ValueError when it is none.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid size '{text}': expected a number with an optional unit K, M, G, T, P or E")
    scale = 1 << 10 * (_UNITS.index(match[2].upper()) + 1) if match[2] else 1
    return int(match[1]) * scale if match[1].isdigit() else int(float(match[1]) * scale)


def format_size(size: int) -> str:
    """Return ``size`` (bytes) with the greatest unit that divides it: 4096 is "4K".  parse_size() inverts."""
    power = 0
    while size and size % 1024 == 0 and power < len(_UNITS):
        size //= 1024
        power += 1
    return f"{size}{_UNITS[power - 1]}" if power else str(size)


def parse_datetime(string: str, now: datetime | None = None) -> datetime:
    """Return a point of time, with time zone: "now", "+FSD" (from now on), or ISO 8601 (local time by default).

    Raises ValueError when it is none of them.
    """
    from datetime import datetime, timedelta

    now = (now or datetime.now()).astimezone()
    if string == "now":
        return now
    ahead = parse_fsd(string[1:]) if string.startswith("+") else None
    try:
        return datetime.fromisoformat(string).astimezone() if ahead is None else now + timedelta(seconds=ahead)
    except OverflowError:
        raise ValueError(f"invalid date '{string}': the calendar ends before") from None
    except ValueError:
        raise ValueError(
            f"invalid date '{string}': expected now, +DURATION or a date such as 2026-05-01 12:30"
        ) from None


class CLIMain:
    """Decorate a command's main function: an exception becomes one line on stderr and exit code 1.

    The traceback is shown as well when the logger is enabled for debugging.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self.logger = logger

    def __call__(self, main_func: Callable[[], object]) -> NoReturn:
        import logging

        logger = self.logger or logging.getLogger()
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(levelname)s: %(message)s")
        code: str | int | None = 0
        try:
            main_func()
        except SystemExit as e:
            code = e.code
        except Exception as e:
            logger.error("%s", e or repr(e), exc_info=logger.isEnabledFor(logging.DEBUG))
            code = 1
        finally:
            logging.shutdown()
        sys.exit(code)


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"flux.{_ELSEWHERE[name]}"), name)
