"""Shell options hwloc.xmlfile and hwloc.restrict: the node's topology in a file, so that tasks need not look for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flux.hooks.shell import hookimpl
from flux_shell.cpusets import mask_of
from flux_shell.option_names import object_of

if TYPE_CHECKING:
    from xml.etree import ElementTree

    from flux_shell.shell import Shell

__all__ = ["HwlocFile", "restrict"]

_KEYS = ("xmlfile", "restrict")
_SETS = ("cpuset", "complete_cpuset", "allowed_cpuset")
_HEADER = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE topology SYSTEM "hwloc2.dtd">\n'


class HwlocFile:
    """Writes the file into FLUX_JOB_TMPDIR once the shell is bound to the job's CPUs."""

    @hookimpl
    def shell_post_init(self, shell: Shell) -> None:
        asked = object_of("hwloc", shell.options.get("hwloc"), "hwloc.xmlfile", _KEYS)
        if asked.get("xmlfile"):
            xml = shell.get_hwloc_xml()
            self._write(shell, restrict(xml, os.sched_getaffinity(0)) if asked.get("restrict") else xml)

    @staticmethod
    def _write(shell: Shell, xml: str) -> None:
        path = os.path.join(shell.env["FLUX_JOB_TMPDIR"], "hwloc.xml")
        with open(path, "x", encoding="utf-8") as file:
            file.write(xml)
        shell.setenv("HWLOC_XMLFILE", path, overwrite=False)
        shell.unsetenv("HWLOC_COMPONENTS")  # which would have hwloc ignore the file


def restrict(xml: str, cpus: set[int]) -> str:
    """A topology without the parts that have none of these CPUs, as hwloc_topology_restrict(3) leaves it.

    Args:
        xml: as hwloc 2 writes it.
    """
    from xml.etree import ElementTree

    topology = ElementTree.fromstring(xml)
    allowed = sum(1 << cpu for cpu in cpus)
    for part in list(topology.findall("object")):
        _restrict(part, allowed)
    return _HEADER + ElementTree.tostring(topology, encoding="unicode") + "\n"


def _restrict(part: ElementTree.Element, allowed: int) -> None:
    for name in _SETS:
        if name in part.attrib:
            part.set(name, _text(mask_of(part.attrib[name]) & allowed))
    for child in list(part.findall("object")):
        _restrict(child, allowed)
        if child.get("type") != "NUMANode" and mask_of(child.get("cpuset", "0x1")) == 0:
            part.remove(child)


def _text(mask: int) -> str:
    words = []
    while mask or not words:
        words.append(f"0x{mask & 0xFFFFFFFF:08x}")
        mask >>= 32
    return ",".join(reversed(words))
