"""Which plugins are installed, under which name, and how to import one.

Plugins are entry points of installed distributions (groups `flux.KIND`, see flux-plugins(1)), dotted
paths, and `.py` files. Scanning the metadata of what is installed takes a tenth of a second, so the
result is cached and checked with a few stat calls; the scan itself runs in a process of its own
(`flux_kernel.discovery`), so that a long-lived broker never holds the machinery for it.
"""

from __future__ import annotations

import errno
import os
import sys
import zlib
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, NamedTuple

import msgspec

from flux import cachefile
from flux.cachefile import FileStamp
from flux.errors import FluxError

KINDS = (
    "modules",
    "transports",
    "bootstrap",
    "connectors",
    "jobtap",
    "rc",
    "shell",
    "validators",
    "frobnicators",
    "commands",
    "cli",
    "resolvers",
)
PLANNED_KINDS = ("bootstrap", "transports", "modules")  # classes that the broker starts; the rest is available
BUILTIN_DIST = "flux-kernel"

_MEMBER_OF_KIND = {"validators": "validate", "frobnicators": "frob", "resolvers": "resolve"}
_FUNCTION_OF_KIND = {"commands": "command", "connectors": "connect"}

Predicate = Callable[[Any], bool]


class PluginError(FluxError):
    """A plugin that is not there (ENOENT) or cannot be imported (EINVAL).

    Attributes:
        suggestion: the nearest name that would have been found, or "".
        place: "FILE:LINE" in the plugin's own source, or "".
    """

    def __new__(cls, errnum: int, text: str, suggestion: str = "", place: str = "") -> PluginError:
        hint = f'; did you mean "{suggestion}"?' if suggestion else ""
        return OSError.__new__(cls, errnum, f"{place}: {text}{hint}" if place else f"{text}{hint}")

    def __init__(self, errnum: int, text: str, suggestion: str = "", place: str = "") -> None:
        super().__init__(errnum, str(self.strerror))
        self.plain = text
        self.suggestion = suggestion
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return PluginError, (self.errno, self.plain, self.suggestion, self.place)


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One plugin that can be loaded.

    Attributes:
        target: "package.module:attribute", or the absolute path of a `.py` file.
        dist: the distribution that installed it, "" for a file or a dotted path.
    """

    name: str
    kind: str
    target: str
    dist: str = ""
    version: str = ""

    @property
    def is_file(self) -> bool:
        return self.target.startswith("/")

    @property
    def origin(self) -> str:
        """Where it comes from, for a person: distribution, else file or dotted path."""
        return self.dist or self.target

    @property
    def is_builtin(self) -> bool:
        return self.dist == BUILTIN_DIST


class Origin(NamedTuple):
    """Where a loaded object came from: what was asked for, and the source file ("" if it has none)."""

    entry: Entry
    file: str


class Index(msgspec.Struct, frozen=True):
    """Everything installed: kind → name → the entry that wins; `shadows` are those that lost.

    `fingerprint` changes whenever a name, its target, its distribution or version does.
    """

    entries: dict[str, dict[str, Entry]]
    shadows: list[Entry]
    fingerprint: str

    def find(self, kind: str, name: str) -> Entry | None:
        return self.entries.get(kind, {}).get(name)

    def names(self, kind: str) -> list[str]:
        return sorted(self.entries.get(kind, ()))

    def duplicates(self) -> list[tuple[Entry, Entry]]:
        """Pairs (winner, loser) of one name where neither is builtin: nobody said which one is meant."""
        pairs = ((self.entries[lost.kind][lost.name], lost) for lost in self.shadows)
        return [(won, lost) for won, lost in pairs if not (won.is_builtin or lost.is_builtin)]


class IndexRecord(msgspec.Struct, frozen=True):
    """An index as cached, with the state of the file system it was read from."""

    interpreter: str
    directories: list[FileStamp]
    files: list[FileStamp]
    index: Index


def build_index(entries: Iterable[Entry]) -> Index:
    """An index in which builtin names give way to others, and of others the later wins."""
    ordered = sorted(entries, key=lambda entry: not entry.is_builtin)
    winners: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
    shadows = []
    for entry in ordered:
        lost = winners[entry.kind].get(entry.name)
        if lost is not None:
            shadows.append(lost)
        winners[entry.kind][entry.name] = entry
    return Index(winners, shadows, f"{zlib.crc32(msgspec.json.encode(ordered)):08x}-{len(ordered)}")


def index() -> Index:
    """The index of what this interpreter can import, from the cache when that is still true."""
    paths = search_path()
    path = index_cache_path(paths)
    record = cachefile.read(path, IndexRecord) if path else None
    if record is None or record.interpreter != sys.version or [s[0] for s in record.directories] != paths:
        return _scan(paths, path)
    directories = [cachefile.stamp(p) for p in paths]
    if [cachefile.stamp(s[0]) for s in record.files] != record.files:
        return _scan(paths, path)
    if directories == record.directories:
        return record.index
    if entry_point_files(paths) != record.files:
        return _scan(paths, path)
    cachefile.write(path, msgspec.structs.replace(record, directories=directories))
    return record.index


def search_path() -> list[str]:
    """The directories whose distributions count: sys.path without the current directory."""
    return list(dict.fromkeys(p for p in sys.path if os.path.isabs(p)))


def index_cache_path(paths: list[str]) -> str:
    return cachefile.cache_path("index", "\0".join([sys.version, *paths]))


def entry_point_files(paths: list[str]) -> list[FileStamp]:
    """Every entry_points.txt of the distributions in `paths`."""
    found = (os.path.join(p, name, "entry_points.txt") for p in paths for name in _metadata_dirs(p))
    return [stamp for stamp in map(cachefile.stamp, found) if stamp[1] >= 0]


def _metadata_dirs(path: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(path) if name.endswith((".dist-info", ".egg-info")))
    except OSError:
        return []


def _scan(paths: list[str], cache: str) -> Index:
    import subprocess

    command = [sys.executable, "-P", "-m", "flux_kernel.discovery", cache, *paths]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=environ, check=False)
    if done.returncode != 0:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise PluginError(errno.EIO, f"cannot list the installed plugins: {reason}")
    return msgspec.json.decode(done.stdout, type=Index)


def nearest(word: str, words: Iterable[str], cutoff: float = 0.6) -> str:
    """The likeliest right spelling of `word` among `words`, "" when none is close."""
    import difflib

    return next(iter(difflib.get_close_matches(word, list(words), n=1, cutoff=cutoff)), "")


def is_file_reference(reference: str) -> bool:
    return "/" in reference or reference.endswith(".py")


def resolve(kind: str, reference: str, installed: Index | None = None) -> Entry:
    """The entry that `reference` names: an installed name, "package.module[:attribute]" or a `.py` file.

    Raises:
        PluginError: ENOENT when nothing of that kind is installed under the name, or the file is missing.
    """
    if is_file_reference(reference):
        path = os.path.abspath(reference)
        if not os.path.isfile(path):
            raise PluginError(errno.ENOENT, f'no such plugin file "{reference}"')
        return Entry(os.path.splitext(os.path.basename(path))[0], kind, path)
    if ":" in reference:
        return Entry(reference.rpartition(":")[2], kind, reference)
    installed = installed or index()
    entry = installed.find(kind, reference)
    if entry is not None:
        return entry
    if "." in reference:
        return Entry(reference.rpartition(".")[2], kind, reference)
    suggestion = nearest(reference, installed.names(kind))
    raise PluginError(errno.ENOENT, f'no plugin "{reference}" is installed', suggestion)


def load(
    kind: str, reference: str, *, installed: Index | None = None, accepts: Predicate | None = None
) -> tuple[Any, Origin]:
    """Import the plugin `reference` names and return it with its origin.

    Args:
        kind: one of KINDS.
        accepts: says whether an object is a plugin of this kind; by default a class derived from
            `flux.module.Module` for modules and transports, from `flux.hooks.kernel.Bootstrap` for bootstrap
            methods, and what flux-plugins(1) states for the others.

    Raises:
        PluginError: ENOENT when it is not there; EINVAL when importing it fails, it holds no plugin, or its class
            leaves out a method that its base requires.
    """
    return load_entry(resolve(kind, reference, installed), accepts=accepts)


def load_entry(entry: Entry, *, accepts: Predicate | None = None) -> tuple[Any, Origin]:
    """As `load`, for an entry already resolved. A file is executed afresh each time."""
    module_name, _, attribute = entry.target.partition(":")
    module = execute_file(entry.target) if entry.is_file else _import(module_name, entry)
    file = getattr(module, "__file__", None) or ""
    by_name = attribute and not entry.is_file
    found = _attribute(module, attribute, entry) if by_name else _only_plugin(module, entry, accepts)
    if entry.kind == "modules":
        from flux.module.foreign import as_module

        found = as_module(found)
    if missing := getattr(found, "__abstractmethods__", None):
        text = f'plugin "{entry.name}": class {found.__name__} has to define {", ".join(sorted(missing))}'
        raise PluginError(errno.EINVAL, text)
    return found, Origin(entry, file)


def _import(name: str, entry: Entry) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(name)
    except Exception as exc:
        raise _import_error(exc, "", f'plugin "{entry.name}"') from exc


def execute_file(path: str) -> ModuleType:
    """Import the module in a `.py` file, afresh each time. PluginError EINVAL names the place that is wrong."""
    import importlib.machinery
    import importlib.util

    class FreshLoader(importlib.machinery.SourceFileLoader):
        """Ignores bytecode: its check by the second would miss an edit made just before a reload."""

        def get_code(self, fullname: str) -> Any:
            return self.source_to_code(self.get_data(path), path)

    stem = os.path.splitext(os.path.basename(path))[0]
    name = f"flux_file_plugin_{stem}_{zlib.crc32(path.encode()):08x}"
    spec = importlib.util.spec_from_loader(name, FreshLoader(name, path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    previous = sys.modules.get(name)
    sys.modules[name] = module  # struct types look their annotations up there
    try:
        spec.loader.exec_module(module)
    except BaseException as exc:
        _restore(name, previous)
        if not isinstance(exc, Exception):
            raise
        raise _import_error(exc, path, "the plugin file") from exc
    return module


def _restore(name: str, previous: ModuleType | None) -> None:
    if previous is None:
        sys.modules.pop(name, None)
    else:
        sys.modules[name] = previous


def _import_error(exc: Exception, path: str, what: str) -> PluginError:
    place = ""
    if isinstance(exc, SyntaxError) and exc.filename:
        place = f"{exc.filename}:{exc.lineno}"
    else:
        place = _deepest_place(exc, path)
    text = exc.msg if isinstance(exc, SyntaxError) else str(exc)
    return PluginError(errno.EINVAL, f"{what} cannot be imported: {type(exc).__name__}: {text}", place=place)


def _deepest_place(exc: Exception, path: str) -> str:
    """The last line of `path` in the traceback; of any file outside the import system if path has none."""
    place = fallback = ""
    trace = exc.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file == path:
            place = f"{file}:{trace.tb_lineno}"
        elif os.path.isabs(file) and file != __file__ and "importlib" not in file:
            fallback = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place or fallback


def _attribute(module: ModuleType, attribute: str, entry: Entry) -> Any:
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            text = f'plugin "{entry.name}": module {module.__name__} has no "{attribute}"'
            raise PluginError(errno.EINVAL, text, nearest(part, vars(found)))
        found = getattr(found, part)
    return found


def _only_plugin(module: ModuleType, entry: Entry, accepts: Predicate | None) -> Any:
    """The one plugin a module defines; a variable `module` says which when there are several classes."""
    if entry.kind in ("jobtap", "rc", "shell"):
        return _hook_plugin(module, f"flux.{entry.kind}_impl")
    if entry.kind in _FUNCTION_OF_KIND:
        return _attribute(module, _FUNCTION_OF_KIND[entry.kind], entry)
    if entry.kind in PLANNED_KINDS and hasattr(module, "module"):
        return module.module
    if entry.kind == "modules" and hasattr(module, "mod_main"):
        return module.mod_main
    accepts = accepts or predicate(entry.kind)
    own = (x for x in vars(module).values() if getattr(x, "__module__", "") == module.__name__)
    found = [x for x in own if accepts(x)]
    if len(found) == 1:
        return found[0]
    where = module.__file__ or module.__name__
    names = ", ".join(cls.__name__ for cls in found) or "none"
    text = f"{where}: one plugin class is expected for {entry.kind}, found: {names}"
    hint = "; set module = CLASS in that file" if found and entry.kind in PLANNED_KINDS else ""
    raise PluginError(errno.EINVAL, text + hint)


def _hook_plugin(module: ModuleType, marker: str) -> Any:
    """The module when hook implementations are its own functions, else the one class of it that has some."""
    own = [found for found in vars(module).values() if getattr(found, "__module__", "") == module.__name__]
    if any(hasattr(found, marker) for found in own):
        return module
    classes = [x for x in own if isinstance(x, type) and any(hasattr(m, marker) for m in vars(x).values())]
    return classes[0] if len(classes) == 1 else module


def predicate(kind: str) -> Predicate:
    """What makes an object a plugin of `kind`, for the kinds that are written as a class."""
    if kind in ("modules", "transports"):
        from flux.module.foreign import is_module

        return lambda found: is_module(found, blocking=kind == "modules")
    if kind == "bootstrap":
        from flux.hooks.kernel import Bootstrap

        return lambda found: isinstance(found, type) and issubclass(found, Bootstrap) and found is not Bootstrap
    if kind == "cli":
        from flux.cli.plugin import CLIPlugin

        return lambda found: isinstance(found, type) and issubclass(found, CLIPlugin) and found is not CLIPlugin
    member = _MEMBER_OF_KIND.get(kind, "")

    def public_class(found: Any) -> bool:
        public = isinstance(found, type) and not found.__name__.startswith("_")
        return public and (not member or hasattr(found, member))

    return public_class
