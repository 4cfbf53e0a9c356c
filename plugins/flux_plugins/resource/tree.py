"""The tree of hwloc objects that makes up a topology, and its XML."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import quoteattr

__all__ = ["TopologyObject"]


class TopologyObject:
    """A part of a host that has CPUs.

    Args:
        type: hwloc's name, such as "Core". os_index: the system's number. cpus: ids of its PUs.

    Attributes:
        attributes: further XML attributes. infos: name and value pairs about it.
    """

    def __init__(self, type: str, os_index: int, cpus: frozenset[int]) -> None:
        self.type = type
        self.os_index = os_index
        self.cpus = cpus
        self.attributes: dict[str, str] = {}
        self.infos: dict[str, str] = {}
        self.children: list[TopologyObject] = []
        self.memory: list[TopologyObject] = []

    def insert(self, part: TopologyObject) -> None:
        """Add a part where it belongs; larger parts come first. What overlaps another in part is left out."""
        for child in self.children:
            if part.cpus <= child.cpus:
                child.insert(part)
                return
            if part.cpus & child.cpus:
                return
        self.children.append(part)

    def insert_memory(self, node: TopologyObject) -> None:
        """Add a NUMA node at the package or other part that has the same CPUs, if need be in a group of its own."""
        holder: TopologyObject = self
        while inner := [child for child in holder.children if node.cpus and node.cpus <= child.cpus]:
            if holder.cpus == node.cpus and inner[0].type != "Package":
                break
            holder = inner[0]
        if node.cpus and holder.cpus != node.cpus:
            holder = holder.gather(node.cpus)
        holder.memory.append(node)

    def gather(self, cpus: frozenset[int]) -> TopologyObject:
        """A new group of those children that lie within cpus; self if some lie across."""
        inside = [child for child in self.children if child.cpus <= cpus]
        if frozenset().union(*(child.cpus for child in inside)) != cpus:
            return self
        group = TopologyObject("Group", 0, cpus)
        group.attributes = {"kind": "1001", "subkind": "0"}
        group.children = inside
        place = self.children.index(inside[0])
        self.children = [child for child in self.children if child not in inside]
        self.children.insert(place, group)
        return group

    def lines(self, nodes: Mapping[int, frozenset[int]]) -> Iterator[str]:
        """The object as lines of XML.

        Args:
            nodes: number of each NUMA node, and its CPUs.
        """
        return self._lines(nodes, itertools.count(1), "  ")

    def _lines(self, nodes: Mapping[int, frozenset[int]], numbers: Iterator[int], indent: str) -> Iterator[str]:
        cpuset = _bitmap(self.cpus)
        near = [number for number, cpus in nodes.items() if cpus & self.cpus or (not cpus and self.type == "Machine")]
        nodeset = _bitmap(frozenset({self.os_index} if self.type == "NUMANode" else near))
        attributes = {
            "type": self.type,
            **({} if self.type == "Group" else {"os_index": str(self.os_index)}),
            "cpuset": cpuset,
            "complete_cpuset": cpuset,
            **({"allowed_cpuset": cpuset} if self.type == "Machine" else {}),
            "nodeset": nodeset,
            "complete_nodeset": nodeset,
            **({"allowed_nodeset": nodeset} if self.type == "Machine" else {}),
            "gp_index": str(next(numbers)),
            **self.attributes,
        }
        yield f"{indent}<object {' '.join(f'{name}={quoteattr(value)}' for name, value in attributes.items())}>"
        for name, value in self.infos.items():
            yield f"{indent}  <info name={quoteattr(name)} value={quoteattr(value)}/>"
        for part in (*self.memory, *self.children):
            yield from part._lines(nodes, numbers, indent + "  ")
        yield f"{indent}</object>"


def _bitmap(ids: frozenset[int]) -> str:
    """hwloc's bitmap text: 32 bits a word, highest first."""
    mask = sum(1 << number for number in ids)
    words = [mask >> shift & 0xFFFFFFFF for shift in range(0, max(mask.bit_length(), 1), 32)]
    return ",".join(f"0x{word:08x}" for word in reversed(words))
