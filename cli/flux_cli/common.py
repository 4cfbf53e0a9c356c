"""What sub-commands share: a parser, a connection, errors, and lists as tables or JSON.

A command is `command(argv) -> int`. It may raise: `die()` and FluxError become "flux-NAME: text" and exit code 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

from flux_cli.errors import CommandError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from flux.core.handle import Flux

__all__ = [
    "Action",
    "Column",
    "CommandError",
    "Parser",
    "add_list_options",
    "die",
    "dispatch",
    "open_flux",
    "parse_duration",
    "parse_json_object",
    "parse_nodeid",
    "parse_rank",
    "print_json",
    "print_list",
    "warn",
]


def die(text: str, code: int = 1) -> NoReturn:
    """Stop the command: "flux-NAME: text" on stderr."""
    raise CommandError(text, code)


def warn(name: str, text: str) -> None:
    """A line on stderr for what the command goes on after."""
    print(f"flux-{name}: {text}", file=sys.stderr)


def open_flux(uri: str | None = None) -> Flux:
    """A connection to the enclosing instance, or the one at uri. FluxError when there is none."""
    from flux.core.handle import Flux

    return Flux(uri)


# -- command lines


class Formatter(argparse.HelpFormatter):
    """Lays out help. Finds the width by itself, for which argparse would import shutil in every command."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_terminal_width() - 2)


class RawFormatter(Formatter, argparse.RawDescriptionHelpFormatter):
    """The same, and keeps the lines of description and epilog."""


def _terminal_width() -> int:
    try:
        columns = int(os.environ.get("COLUMNS", "0"))
        return columns if columns > 0 else os.get_terminal_size(1).columns or 80
    except (OSError, ValueError):
        return 80


_USAGE_IS_2 = frozenset(
    "admin alloc batch bulksubmit cancel fortune hostlist housekeeping job-exec-override job-frobnicator job-validator"
    " jobs jobtap modprobe multi-prog pgrep pkill plugins post-job-event pstree queue resource run sproc submit update"
    " uri watch".split()
)
"""Commands that end with 2 when their command line makes no sense, for scripts that tell that from a failure (1)."""


def usage_error(name: str, text: str, usage: str) -> UsageError:
    """What `flux NAME` raises, and with which exit code it ends, when its command line makes no sense."""
    return UsageError(text, usage, 2 if name in _USAGE_IS_2 else 1)


class Parser(argparse.ArgumentParser):
    """An argument parser that fails the way flux commands do, and points to the manual page.

    Args:
        name: of the command, without "flux"; "module load" for a sub-command's sub-command.
        description: one sentence.
    """

    def __init__(self, name: str, description: str, **options: Any) -> None:
        self._page = page = name.partition(" ")[0]
        options.setdefault("epilog", f"`flux help {page}` shows the manual page flux-{page}(1).")
        options.setdefault("formatter_class", Formatter)
        super().__init__(prog=f"flux {name}", description=description, **options)
        self._alone: dict[str, str] = {}

    def add_optional_value(self, *flags: str, const: str, **options: Any) -> None:
        """Add an option whose value, when there is one, follows "=": the next word is never taken for it.

        Args:
            const: the value of an option that stands alone.
        """
        self._alone |= {flag: f"{flag}={const}" if flag.startswith("--") else flag + const for flag in flags}
        self.add_argument(*flags, nargs="?", **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = sys.argv[1:] if args is None else list(args)
        end = words.index("--") if "--" in words else len(words)
        return super().parse_known_args([*(self._alone.get(w, w) for w in words[:end]), *words[end:]], namespace)

    def error(self, message: str) -> NoReturn:
        raise usage_error(self._page, message, self.format_usage().rstrip())


class Action:
    """One COMMAND of a command that has several.

    Args:
        run: takes the parsed arguments, gives the exit code.
        help: a line for the list of COMMANDs.
        add_arguments: adds its arguments to a parser.
    """

    def __init__(
        self, run: Callable[[Any], int], help: str, add_arguments: Callable[[Parser], Any] | None = None
    ) -> None:
        self.run = run
        self.help = help
        self.add_arguments = add_arguments


def dispatch(name: str, description: str, actions: Mapping[str, Action], argv: list[str]) -> int:
    """Run `flux NAME COMMAND ...`. Options may stand before, between and after the arguments."""
    if not argv or argv[0].startswith("-"):
        return _without_action(name, description, actions, argv)
    word = argv[0]
    action = actions.get(word)
    if action is None:
        text = f"there is no command '{word}'{_nearest(word, actions)}"
        raise usage_error(name, text, f"usage: flux {name} COMMAND ...")
    parser = Parser(f"{name} {word}", action.help)
    if action.add_arguments:
        action.add_arguments(parser)
    return action.run(_parse(parser, argv[1:]))


def _parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Options may stand anywhere, but not behind "--" or in a command line that the command takes as last argument."""
    takes_command_line = any(argument.nargs == argparse.REMAINDER for argument in parser._actions)
    return parser.parse_args(argv) if takes_command_line or "--" in argv else parser.parse_intermixed_args(argv)


def _without_action(name: str, description: str, actions: Mapping[str, Action], argv: list[str]) -> int:
    width = max(map(len, actions))
    lines = [f"  {word:<{width}}  {action.help}" for word, action in actions.items()]
    page = f"`flux {name} COMMAND --help` shows the options, `flux help {name}` the manual page."
    parser = Parser(
        name,
        description,
        usage=f"flux {name} COMMAND ...",
        epilog="\n".join(["COMMAND is one of:", *lines, "", page]),
        formatter_class=RawFormatter,
    )
    parser.parse_args(argv)
    parser.error(f"which command? One of {', '.join(actions)}")


def _nearest(word: str, words: Iterable[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, list(words), 1)
    return f", did you mean '{near[0]}'?" if near else f": it takes {', '.join(words)}"


def parse_nodeid(text: str) -> int:
    """A --rank argument: a rank, "any" or "upstream" (an argparse type)."""
    from flux.message import NODEID_ANY, NODEID_UPSTREAM

    special = {"any": NODEID_ANY, "upstream": NODEID_UPSTREAM}
    if text in special:
        return special[text]
    if not text.isdecimal() or int(text) >= NODEID_UPSTREAM:
        raise argparse.ArgumentTypeError(f"'{text}' is no rank: a number, any or upstream is")
    return int(text)


def parse_rank(text: str) -> int:
    """A broker rank (an argparse type)."""
    from flux.message import NODEID_UPSTREAM

    if not text.isdecimal() or int(text) >= NODEID_UPSTREAM:
        raise argparse.ArgumentTypeError(f"'{text}' is no rank, which is a number from 0")
    return int(text)


def parse_duration(text: str) -> float:
    """Seconds of a Flux standard duration such as 1.5h (RFC 23; an argparse type)."""
    from flux.util import parse_fsd

    try:
        return parse_fsd(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def parse_json_object(text: str) -> Any:
    """A JSON object given on the command line. CommandError with the place when it is none."""
    import json

    try:
        found = json.loads(text)
    except ValueError as exc:
        die(f"payload is not JSON: {exc}")
    if not isinstance(found, dict):
        die(f"payload is not a JSON object: {text}")
    return found


# -- output


class Column:
    """One column of a list.

    Args:
        key: the record's key, and the key in JSON.
        title: heading, the key in upper case by default.
        align: "<" or ">".
        show: makes the cell's text of a value.
    """

    def __init__(self, key: str, title: str = "", align: str = "<", show: Callable[[Any], str] | None = None) -> None:
        self.key = key
        self.title = title or key.upper()
        self.align = align
        self.show = show or _text


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def add_list_options(parser: argparse.ArgumentParser) -> None:
    """The options that every list has: --json and --no-header."""
    parser.add_argument("--json", action="store_true", help="print a JSON array of objects")
    parser.add_argument("-n", "--no-header", action="store_true", help="leave out the line of headings")


def print_list(
    columns: Sequence[Column], records: Sequence[Mapping[str, Any]], *, json: bool = False, header: bool = True
) -> None:
    """Print records as a table of columns, or, with all of their keys, as a JSON array."""
    if json:
        print_json(list(records))
        return
    rows = [[column.show(record.get(column.key)) for column in columns] for record in records]
    if header:
        rows.insert(0, [column.title for column in columns])
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{c.align}{width}}" for cell, c, width in zip(row, columns, widths, strict=True))
        print("  ".join(cells).rstrip())


def print_json(value: Any, indent: int | None = 2) -> None:
    """Print a value as JSON, indented unless indent is None."""
    print(json_text(value, indent))


def json_text(value: Any, indent: int | None = None) -> str:
    """A value as JSON that standard output can show, indented unless indent is None."""
    import json

    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    return json.dumps(value, indent=indent, ensure_ascii=not unicode)
