"""Pieces of command lines as flux commands have them, for argparse (``flux.util``)."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from flux.treedict import set_treedict

__all__ = [
    "ColorAction",
    "FilterAction",
    "FilterActionSetUpdate",
    "FilterActionUser",
    "FilterTrueAction",
    "TreedictAction",
    "YesNoAction",
    "help_formatter",
]


class FilterAction(argparse.Action):
    """Store a value, and note in `filtered` that the user has chosen what to list."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        setattr(namespace, self.dest, values)
        namespace.filtered = True


class FilterActionUser(FilterAction):
    """The same, and note it in `filtereduser`."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        super().__call__(parser, namespace, values, option_string)
        namespace.filtereduser = True


class FilterTrueAction(argparse.Action):
    """An option without a value that is a filter."""

    def __init__(self, option_strings: Sequence[str], dest: str, default: Any = False, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=default, **options)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        setattr(namespace, self.dest, True)
        namespace.filtered = True


class FilterActionSetUpdate(argparse.Action):
    """A filter of words with commas between them; several such options add up to one set."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        setattr(namespace, self.dest, {*(getattr(namespace, self.dest) or ()), *values.split(",")})
        namespace.filtered = True


class YesNoAction(argparse.Action):
    """An option whose value is yes or no; a bool."""

    def __init__(
        self, option_strings: Sequence[str], dest: str, help: str | None = None, metavar: str = "[yes|no]"
    ) -> None:
        super().__init__(option_strings, dest, help=help, metavar=metavar)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        if values not in ("yes", "no"):
            parser.error(f"{option_string} requires either 'yes' or 'no'")
        setattr(namespace, self.dest, values == "yes")


class TreedictAction(argparse.Action):
    """Values KEY=VALUE, gathered in a dictionary; a dotted KEY makes dictionaries in it."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        gathered = getattr(namespace, self.dest, None) or {}
        for word in [values] if isinstance(values, str) else values:
            key, separator, value = word.partition("=")
            if not separator:
                parser.error(f"{option_string}: Missing required value for key {key}")
            set_treedict(gathered, key, value)
        setattr(namespace, self.dest, gathered)


class ColorWhen(str):
    """never, always or auto."""

    __slots__ = ()

    @property
    def enabled(self) -> bool:
        """Whether to use colours: with auto on a terminal, unless NO_COLOR is set."""
        if self == "auto":
            return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        return self == "always"


class ColorAction(argparse.Action):
    """--color[=never|always|auto]: alone it is always, without it auto. The value has `enabled`."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        options.setdefault("nargs", "?")
        options.setdefault("metavar", "WHEN")
        options.setdefault("help", "use color; WHEN is never, always or auto, the default")
        options["default"] = ColorWhen(options.get("default") or "auto")
        super().__init__(option_strings, dest, **options)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        when = values or "always"
        if when not in ("never", "always", "auto"):
            parser.error(f"Invalid argument to {option_string}: '{when}'")
        setattr(namespace, self.dest, ColorWhen(when))


class _Formatter(argparse.HelpFormatter):
    """Shows an option's value once, after its last spelling: `-n, --name=NAME`."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        spellings = ", ".join(action.option_strings)
        indent = "" if not action.option_strings[0].startswith("--") else "    "
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{indent}{spellings}={value}"


class _RawFormatter(_Formatter, argparse.RawDescriptionHelpFormatter):
    """The same, and keeps the lines of descriptions."""


def help_formatter(argwidth: int = 40, raw_description: bool = False) -> Callable[..., argparse.HelpFormatter]:
    """A `formatter_class` for argparse.

    Args:
        argwidth: columns for options, before their help.
        raw_description: keep the lines of description and epilog.
    """
    kind = _RawFormatter if raw_description else _Formatter
    return lambda prog: kind(prog, max_help_position=argwidth)
