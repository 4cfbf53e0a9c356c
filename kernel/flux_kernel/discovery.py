"""Scan the installed distributions for plugins: `python -m flux_kernel.discovery CACHE [PATH...]`.

Run by `flux.discovery` in a process of its own. Prints the index as JSON and leaves it in the file
CACHE ("" for nowhere) for the next one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any, cast

import msgspec
from stevedore.extension import Extension, ExtensionManager

from flux import cachefile
from flux.discovery import KINDS, Entry, Index, IndexRecord, build_index, entry_point_files


class PluginLister(ExtensionManager[Any]):
    """stevedore's manager, which here lists and never imports, and keeps each entry point's distribution."""

    def __init__(self, kind: str, installed: list[Distribution]) -> None:
        self.kind = kind
        self._installed = installed
        super().__init__(namespace=f"flux.{kind}")

    def list_entry_points(self) -> list[EntryPoint]:
        """The group's entry points in the order of the path; stevedore's own list drops the distribution."""
        return [point for dist in self._installed for point in dist.entry_points if point.group == self.namespace]

    def _load_one_plugin(self, ep: EntryPoint, *args: Any, **kwargs: Any) -> Extension[Any]:
        return Extension(ep.name, ep, cast(Any, None), None)

    def entries(self) -> Iterator[Entry]:
        for extension in self.extensions:
            dist = extension.entry_point.dist
            name, version = (_normal(dist.name), dist.version) if dist else ("", "")
            yield Entry(extension.name, self.kind, extension.entry_point_target, name, version)


def scan(paths: list[str]) -> Index:
    """The index of the distributions in `paths`; of one installed twice, the first found counts."""
    installed = {_normal(dist.name): dist for dist in reversed(list(distributions(path=paths))) if dist.name}
    ordered = [installed[name] for name in sorted(installed)]
    return build_index(entry for kind in KINDS for entry in PluginLister(kind, ordered).entries())


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(argv: list[str]) -> int:
    cache, paths = argv[0], argv[1:]
    # stamps are taken before the scan: a change during it is then noticed by the next reader
    directories, files = [cachefile.stamp(p) for p in paths], entry_point_files(paths)
    index = scan(paths)
    cachefile.write(cache, IndexRecord(sys.version, directories, files, index))
    sys.stdout.buffer.write(msgspec.json.encode(index))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
