"""Plugins and compositions written on the spot, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flux.discovery import Entry, Index, build_index
from flux_kernel.composition import Composition, load_composition

PLUGIN = """
import msgspec
from flux.hooks.kernel import Bootstrap
from flux.module import Module

class Options(msgspec.Struct, forbid_unknown_fields=True):
    count: int = 1
    rate: float = 0.5

class Plugin({base}):
    {body}
"""

METHODS = [
    f"def {head}: ..."
    for head in (
        "available(cls, environ, conf)",
        "open(self)",
        "publish(self, card)",
        "barrier(self)",
        "lookup(self, rank)",
        "finalize(self)",
        "abort(self, text)",
    )
]


def write_plugin(folder: Path, name: str, base: str = "Module", **declared: Any) -> str:
    """A plugin file whose class declares `declared`; returns the target of an entry for it."""
    lines = [f"{key} = {value!r}" for key, value in declared.items() if key != "options_type"]
    lines += ["options_type = Options"] if "options_type" in declared else []
    lines += METHODS if base == "Bootstrap" else []
    path = folder / f"{name.replace('-', '_')}.py"
    path.write_text(PLUGIN.format(base=base, body="\n    ".join(lines or ["pass"])))
    return str(path)


class Site:
    """A folder with installed plugins and a composition."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "plugins.toml"
        self.entries: list[Entry] = []

    def install(self, name: str, kind: str = "modules", dist: str = "site-plugins", **declared: Any) -> Entry:
        base = "Bootstrap" if kind == "bootstrap" else "Module"
        entry = Entry(name, kind, write_plugin(self.folder, f"{dist}-{kind}-{name}", base, **declared), dist, "1.0")
        self.entries.append(entry)
        return entry

    @property
    def installed(self) -> Index:
        return build_index(self.entries)

    def load(self, text: str | None = None) -> Composition:
        if text is not None:
            self.path.write_text(text)
        return load_composition(str(self.path), installed=self.installed)

    def names(self, text: str, rank: int = 0, size: int = 4) -> list[str]:
        return [plugin.name for plugin in self.load(text).plan(rank, size)]

    def problems(self, text: str) -> list[str]:
        """The problems, without the folder in front."""
        return [str(problem).replace(f"{self.folder}/", "") for problem in self.load(text).check()]
