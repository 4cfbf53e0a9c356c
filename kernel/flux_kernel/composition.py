"""Which plugins make up this instance: plugins.toml in, load plan out (plugins.toml(5)).

The plan of a composition that checks out is cached with everything it rests on, so that a broker's
start reads two small files, compares time stamps, and imports neither a TOML parser nor any plugin.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from flux import cachefile, discovery
from flux.cachefile import FileStamp
from flux.discovery import Entry, Index
from flux_kernel.composition_plan import PlannedPlugin

if TYPE_CHECKING:
    from flux.pluginsfile import Problem, Table

FORMAT = 1  # of the cached record


class CompositionError(ValueError):
    """A composition that cannot be started; its text is one page that lists every problem."""

    def __init__(self, path: str, problems: list[Problem]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{path}: {count} in the composition, nothing was started", *map(str, problems)]))
        self.problems = problems


class Composition:
    """The plugins of an instance.

    Attributes:
        path: the file it was read from.
    """

    def __init__(
        self,
        path: str,
        plugins: list[PlannedPlugin],
        available: Mapping[str, Mapping[str, Entry]],
        problems: list[Problem] | None = None,
    ) -> None:
        self.path = path
        self._plugins = plugins
        self._available = available
        self._problems = problems or []

    def check(self) -> list[Problem]:
        """Every mistake found, in the order of the file; empty when the composition can be started."""
        return list(self._problems)

    def plugins(self) -> list[PlannedPlugin]:
        """Every plugin a broker of some rank starts, in start order, the bootstrap methods first.

        Raises:
            CompositionError: when `check` finds anything.
        """
        if self._problems:
            raise CompositionError(self.path, self._problems)
        return list(self._plugins)

    def bootstrap(self) -> list[PlannedPlugin]:
        """The bootstrap methods, in the order in which they are to be tried."""
        return [plugin for plugin in self.plugins() if plugin.kind == "bootstrap"]

    def plan(self, rank: int, size: int) -> list[PlannedPlugin]:
        """The transports and modules that the broker of `rank` starts, in that order."""
        if not 0 <= rank < size:
            raise ValueError(f"rank {rank} is not within an instance of size {size}")
        return [p for p in self.plugins() if p.kind != "bootstrap" and p.runs_on(rank)]

    def available(self, kind: str) -> dict[str, Entry]:
        """Name → entry of the plugins of `kind` (commands, shell, jobtap, ...) that may be loaded."""
        return dict(self._available.get(kind, {}))


class PlanRecord(msgspec.Struct, frozen=True):
    """A plan as cached, with all it was made from: texts, the index of plugins, their sources."""

    format: int
    path: str
    texts: dict[str, str]
    fingerprint: str
    files: list[FileStamp]
    plugins: list[PlannedPlugin]
    available: dict[str, dict[str, Entry]]


def default_path() -> str:
    """The composition that comes with the program; in a checkout a link to plugins.toml at its root."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "plugins.toml")


def find_composition(path: str | None = None, config_dir: str | None = None) -> str:
    """The file to use: `path`, $FLUX_PLUGINS, plugins.toml in the configuration directory, the default."""
    named = path or os.environ.get("FLUX_PLUGINS")
    if named:
        return os.path.abspath(named)
    directory = config_dir or os.environ.get("FLUX_CONF_DIR")
    configured = os.path.join(os.path.abspath(directory), "plugins.toml") if directory else ""
    return configured if configured and os.path.exists(configured) else default_path()


def load_composition(
    path: str | None = None,
    config_dir: str | None = None,
    *,
    installed: Index | None = None,
) -> Composition:
    """Find, read and check a composition; mistakes do not raise, `check` lists them.

    Args:
        path: a file, or None to search (see `find_composition`).
        config_dir: the instance's configuration directory; $FLUX_CONF_DIR when None.
        installed: what is installed, by default `flux.discovery.index()`.
    """
    path = find_composition(path, config_dir)
    installed = installed or discovery.index()
    return _read_cached(path, installed) or _compose_file(path, installed)


def compose(path: str, text: str, installed: Index) -> Composition:
    """Check `text` as the content of the file `path`, without reading or caching it."""
    default = default_path()
    return _compose({default: _read_text(default), path: text}, path, installed)[0]


def tables(path: str) -> list[Table]:
    """The tables that `path` and what it extends consist of, whether they make sense or not. Raises OSError."""
    from flux.pluginsfile import read_tables

    return read_tables({file: _read_text(file) for file in (path, default_path())}, path, default_path())[0]


def _compose_file(path: str, installed: Index) -> Composition:
    from flux.pluginsfile import Problem

    texts: dict[str, str] = {}
    for file in (path, default_path()):
        try:
            texts[file] = _read_text(file)
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else f"not UTF-8 ({exc})"
            return Composition(path, [], {}, [Problem(file, 0, 0, "", f"cannot be read: {reason}")])
    composition, files = _compose(texts, path, installed)
    if not composition.check():
        plugins = composition.plugins()
        available = {kind: composition.available(kind) for kind in discovery.KINDS}
        record = PlanRecord(FORMAT, path, texts, installed.fingerprint, files, plugins, available)
        if _survives_json(record):
            cachefile.write(_cache_path(path), record)
    return composition


def _compose(texts: dict[str, str], path: str, installed: Index) -> tuple[Composition, list[FileStamp]]:
    """Parse and check `texts`: that of `path`, and that of the default in case it is extended."""
    from flux.pluginsfile import read_tables
    from flux_kernel.composition_check import check

    tables, problems = read_tables(texts, path, default_path())
    if problems and not tables:
        return Composition(path, [], {}, problems), []
    checked = check(tables, installed)
    found = sorted([*problems, *checked.problems], key=lambda p: (p.file != path, p.line, p.column))
    return Composition(path, checked.plugins, checked.available, found), checked.files


def _read_cached(path: str, installed: Index) -> Composition | None:
    record = cachefile.read(_cache_path(path), PlanRecord)
    if record is None or (record.format, record.path) != (FORMAT, path):
        return None
    if record.fingerprint != installed.fingerprint or not _unchanged(record):
        return None
    return Composition(path, record.plugins, record.available)


def _survives_json(record: PlanRecord) -> bool:
    """False when an option has a value, such as inf, that would come back as another."""
    try:
        return msgspec.json.decode(msgspec.json.encode(record), type=PlanRecord) == record
    except (OverflowError, msgspec.MsgspecError):
        return False


def _unchanged(record: PlanRecord) -> bool:
    try:
        texts = {file: _read_text(file) for file in record.texts}
    except (OSError, UnicodeDecodeError):
        return False
    return texts == record.texts and all(cachefile.stamp(stamp[0]) == stamp for stamp in record.files)


def _cache_path(path: str) -> str:
    return cachefile.cache_path("plan", "\0".join([path, default_path(), *discovery.search_path()]))


def _read_text(path: str) -> str:
    with open(path, encoding="utf-8") as stream:
        return stream.read()
