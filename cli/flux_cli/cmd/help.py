"""`flux help`: the list of commands, or a manual page (flux-help(1))."""

from __future__ import annotations

import os
import shutil
import sys

from flux_cli import lookup, manpage
from flux_cli.common import Parser, die
from flux_cli.main import OPTIONS, USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_MAX_WIDTH = 100


def command(argv: list[str]) -> int:
    parser = Parser("help", "List the commands, or show the manual page of one.")
    parser.add_argument("name", nargs="?", metavar="CMD", help="a command, or the name of another manual page")
    args = parser.parse_args(argv)
    if args.name is None:
        print(f"{USAGE}\n\nOptions:\n{OPTIONS}\n\nCommands:\n{command_list()}\n\n`flux help CMD` shows a manual page.")
    else:
        show_page(args.name)
    return 0


def command_list() -> str:
    """A line for each command: name and what it is for."""
    lines = {name: _about(command) for name, command in lookup.installed().items()}
    for name, path in lookup.external_names().items():
        lines.setdefault(name, manpage.summary(name) or path)
    width = max(map(len, lines))
    return "\n".join(f"  {name:<{width}}  {line}".rstrip() for name, line in sorted(lines.items()))


def _about(command: lookup.InstalledCommand) -> str:
    return manpage.summary(command.name) or ("" if command.dist == lookup.BUILTIN_DIST else f"from {command.dist}")


def show_page(name: str) -> None:
    """Show a manual page, on a terminal in a pager. CommandError when there is none."""
    path = manpage.find(name)
    if path is None:
        _refuse(name)
    with open(path, encoding="utf-8") as stream:
        markdown = stream.read()
    terminal = sys.stdout.isatty()
    width = min(shutil.get_terminal_size().columns, _MAX_WIDTH) if terminal else 80
    text = manpage.render(markdown, width, terminal and "NO_COLOR" not in os.environ)
    if not terminal or not _page(text):
        sys.stdout.write(text)


def _refuse(name: str) -> NoReturn:
    if name not in lookup.installed() and name not in lookup.external_names():
        lookup.find(name)  # which says that there is no such command, and what is nearest
    die(f"there is no manual page for {name}; try `flux {name} --help`")


def _page(text: str) -> bool:
    """Pipe text through the user's pager; False when it cannot be started."""
    import shlex
    import subprocess

    pager = os.environ.get("MANPAGER") or os.environ.get("PAGER") or "less"
    environ = {"LESS": "-FRX", **os.environ}
    try:
        pipe = subprocess.Popen(shlex.split(pager), stdin=subprocess.PIPE, env=environ, text=True)
    except (OSError, ValueError):
        return False
    try:
        pipe.communicate(text)
    except KeyboardInterrupt:
        pipe.wait()  # the pager got the signal too, and restores the terminal
    return True
