"""Scripts of a system around jobs: which are there, and whether the instance runs them (flux-admin(1))."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from flux.errors import FluxError

__all__ = ["KINDS", "Report", "System", "look"]

KINDS = ("prolog", "epilog", "housekeeping")
_POLICY = "perilog"
_NOT_LOADED = (errno.EINVAL, errno.ENOENT)
_GREEN, _RED, _YELLOW, _DIM, _OFF = "\033[32m", "\033[31m", "\033[33m", "\033[2m", "\033[0m"


class System(NamedTuple):
    """libexecdir, confdir: folders of this installation. tables: of [job-manager], by kind. runs: whether the
    instance would run prologs and epilogs that are configured."""

    libexecdir: str
    confdir: str
    tables: Mapping[str, Mapping[str, Any]]
    runs: bool


def look(handle: Any | None) -> System:
    """What the instance is configured to do; without one, where the scripts of this installation are."""
    if handle is None:
        from flux.installation import builtin_values

        return _system(builtin_values(), {}, False)
    folders = handle.rpc("broker.conf-builtin", {"keys": ["libexecdir", "confdir"]}).get()["values"]
    tables = (handle.rpc("config.get").get() or {}).get("job-manager") or {}
    return _system(folders, {kind: tables[kind] for kind in KINDS if kind in tables}, _is_loaded(handle))


def _system(folders: Mapping[str, str], tables: Mapping[str, Any], runs: bool) -> System:
    libexecdir = os.environ.get("FLUX_SYSTEM_SCRIPTS_LIBEXECDIR", folders["libexecdir"])
    confdir = os.environ.get("FLUX_SYSTEM_SCRIPTS_CONFDIR", folders["confdir"])
    return System(libexecdir, confdir, tables, runs)


def _is_loaded(handle: Any) -> bool:
    """Whether the policy that runs prologs is there; a guest, who may not ask, is told what is configured."""
    try:
        loaded = handle.rpc("job-manager.jobtap", {"query_only": True}).get()["plugins"]
    except FluxError as exc:
        if exc.errno == errno.EPERM:
            return True
        raise
    return any(os.path.splitext(os.path.basename(str(name)))[0] == _POLICY for name in loaded)


class Report:
    """Says in lines what becomes of each kind of script.

    Args:
        verbose: tell of scripts that nothing runs, too.
    """

    def __init__(self, system: System, verbose: bool, color: bool, write: Callable[[str], object] = print) -> None:
        self._system = system
        self._verbose = verbose
        self._color = color
        self._write = write

    def _paint(self, text: str, color: str) -> str:
        return f"{color}{text}{_OFF}" if self._color else text

    def show(self, kind: str) -> None:
        table = self._system.tables.get(kind)
        if table is None:
            self._unconfigured(kind)
        elif kind != "housekeeping" and not self._system.runs:
            self._write(f"▸ {kind}: {self._paint('configured but inactive', _YELLOW)}")
            self._write(self._paint("  (perilog plugin not loaded)", _YELLOW))
        else:
            self._configured(kind, table)
        self._write("")

    def _configured(self, kind: str, table: Mapping[str, Any]) -> None:
        self._write(f"▸ {kind}: {self._paint('enabled', _GREEN)} ({_manner(kind, table)})")
        command = table.get("command")
        if _runs_folders(kind, command):
            self._folders(kind, everything=True)
        else:
            self._write(f"  command: {' '.join(command or [])}")

    def _unconfigured(self, kind: str) -> None:
        self._write(f"▸ {kind}: {self._paint('not configured', _YELLOW if self._verbose else _DIM)}")
        if self._verbose:
            self._folders(kind, everything=False)

    def _folders(self, kind: str, everything: bool) -> None:
        """The system's folder, and the site's or the one script that stands in its place."""
        folder = os.path.join(self._system.libexecdir, f"{kind}.d")
        self._folder("system", folder, everything)
        one = os.path.join(self._system.confdir, "system", kind)
        if os.path.isfile(one):
            self._write(f"  {self._paint('site:', _DIM)}")
            self._write(f"    {self._mark(one)} {one} {self._paint('(legacy, skips site scripts)', _DIM)}")
        else:
            self._folder("site", f"{one}.d", everything)

    def _folder(self, label: str, folder: str, even_if_empty: bool) -> None:
        scripts = _scripts(folder)
        if not scripts and not even_if_empty:
            return
        self._write(f"  {self._paint(f'{label}:', _DIM)} {self._paint(folder, _DIM)}")
        if not scripts:
            self._write(self._paint("    (no scripts)", _DIM))
        for script in scripts:
            self._write(f"    {self._mark(script)} {os.path.basename(script)}")

    def _mark(self, script: str) -> str:
        return self._paint("✓", _GREEN) if os.access(script, os.X_OK) else self._paint("✗ not executable", _RED)


def _manner(kind: str, table: Mapping[str, Any]) -> str:
    if kind == "housekeeping":
        after = table.get("release-after")
        return f"release after {after}" if after else "batch release"
    return f"per-rank={str(bool(table.get('per-rank', False))).lower()}"


def _runs_folders(kind: str, command: list[str] | None) -> bool:
    """Whether the command is the default one, `flux-imp run KIND`, which runs what is in the folders."""
    if not command:
        return True
    return command[0].endswith("flux-imp") and command[1:2] == ["run"] and command[2:3] in ([kind], [""])


def _scripts(folder: str) -> list[str]:
    """Paths of the files in it, in the order of the locale."""
    import locale

    with suppress(locale.Error):  # one that this host does not have: as in the locale C
        locale.setlocale(locale.LC_COLLATE, "")
    try:
        names = sorted(os.listdir(folder), key=locale.strxfrm)
    except OSError:
        return []  # most systems have no such folder
    return [path for name in names if os.path.isfile(path := os.path.join(folder, name))]
