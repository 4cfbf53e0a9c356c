"""Find a sub-command: a path, `flux-NAME` in a search path, or an entry point of group flux.commands (flux(1))."""

from __future__ import annotations

import os
import sys

from flux.installed import entry_points

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    Runner = Callable[[], int]
    Trace = Callable[[str], None]

BUILTIN_DIST = "flux-kernel"


class ExternalCommand:
    """A program of its own; running it replaces this process."""

    def __init__(self, path: str) -> None:
        self.path = path

    def run(self, argv: list[str]) -> NoReturn:
        from flux_cli.errors import CommandError

        words = [self.path, *argv]
        if self.path.endswith(".py") and not os.access(self.path, os.X_OK):
            words.insert(0, sys.executable)
        sys.stdout.flush()
        try:
            os.execvp(words[0], words)
        except OSError as exc:
            raise CommandError(f"{self.path}: {exc.strerror}", 127 if exc.errno == 2 else 126) from None


class InstalledCommand:
    """An entry point: `command(argv) -> int`, run in this process."""

    def __init__(self, name: str, target: str, dist: str, version: str) -> None:
        self.name = name
        self.target = target
        self.dist = dist
        self.version = version

    def run(self, argv: list[str]) -> int:
        function = self._builtin() if self.dist == BUILTIN_DIST else self._foreign()
        return int(function(argv) or 0)

    def _builtin(self) -> Callable[[list[str]], int]:
        module, _, attribute = self.target.partition(":")
        __import__(module)
        function: Callable[[list[str]], int] = getattr(sys.modules[module], attribute)
        return function

    def _foreign(self) -> Callable[[list[str]], int]:
        from flux.discovery import Entry, load_entry

        function: Callable[[list[str]], int]
        function, _ = load_entry(Entry(self.name, "commands", self.target, self.dist, self.version))
        return function


def find(name: str, trace: Trace | None = None) -> ExternalCommand | InstalledCommand:
    """The sub-command of that name.

    Args:
        trace: called with a line for each place that is looked at.

    Raises:
        CommandError: there is none; the text suggests the nearest name.
    """
    if "/" in name:
        return ExternalCommand(name)
    external = _on_path("FLUX_EXEC_PATH_PREPEND", name, trace)
    if external:
        return external
    found = installed().get(name)
    if trace:
        trace(f"looking for {name} among installed commands: {found.target if found else 'no'}")
    if found:
        return found
    external = _on_path("FLUX_EXEC_PATH", name, trace)
    if external:
        return external
    raise _unknown(name)


def _on_path(variable: str, name: str, trace: Trace | None) -> ExternalCommand | None:
    for folder in os.environ.get(variable, "").split(":"):
        for file in (f"flux-{name}", f"flux-{name}.py") if folder else ():
            path = os.path.join(folder, file)
            runs = os.path.isfile(path) and (file.endswith(".py") or os.access(path, os.X_OK))
            if trace:
                trace(f"looking for {path}: {'yes' if runs else 'no'}")
            if runs:
                return ExternalCommand(path)
    return None


def external_names() -> dict[str, str]:
    """Name → path of every `flux-NAME` program on the search paths."""
    names: dict[str, str] = {}
    for variable in ("FLUX_EXEC_PATH_PREPEND", "FLUX_EXEC_PATH"):
        for folder in os.environ.get(variable, "").split(":"):
            for file in _programs(folder) if folder else ():
                name = file.removeprefix("flux-").removesuffix(".py")
                names.setdefault(name, os.path.join(folder, file))
    return names


def _programs(folder: str) -> list[str]:
    try:
        files = sorted(os.listdir(folder))
    except OSError:
        return []  # a search path may name what does not exist
    programs = [file for file in files if file.startswith("flux-")]
    return [file for file in programs if file.endswith(".py") or os.access(os.path.join(folder, file), os.X_OK)]


def _unknown(name: str) -> Exception:
    import difflib

    from flux_cli.errors import CommandError

    names = [*installed(), *external_names()]
    near = difflib.get_close_matches(name, names, 1)
    hint = f" Did you mean '{near[0]}'?" if near else " `flux help` lists them."
    return CommandError(f"'{name}' is not a flux command.{hint}")


# -- what is installed


def installed() -> dict[str, InstalledCommand]:
    """Name → entry point of every installed command."""
    rows = entry_points("commands").values()
    return {name: InstalledCommand(name, target, dist, version) for name, _kind, target, dist, version in rows}
