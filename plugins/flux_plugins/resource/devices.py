"""Graphics devices of a host as the I/O objects of hwloc's XML: host bridges, PCI devices, their DRM cards."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import quoteattr

__all__ = ["device_lines"]

_DISPLAY = "0x03"  # PCI base class of display controllers, compute-only ones among them
_FIRST_INDEX = 1_000_000  # gp_index is unique in a topology: beyond those of the parts with CPUs
_BUS_ID = re.compile(r"([0-9a-f]{4,8}):[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_GPU = "1"


def device_lines(root: Path, indent: str) -> Iterator[str]:
    """XML of the graphics devices that Linux shows under root/sys; a host bridge for each PCI domain that has any."""
    found = sorted(path for path in (root / "sys/bus/pci/devices").glob("*") if _is_display(path))
    numbers = itertools.count(_FIRST_INDEX)
    for domain, devices in itertools.groupby(found, lambda path: path.name.partition(":")[0]):
        bridge = {"gp_index": next(numbers), "bridge_type": "0-1", "depth": 0, "bridge_pci": f"{domain}:[00-ff]"}
        yield f'{indent}<object type="Bridge"{_attributes(bridge)}>'
        for path in devices:
            yield from _device(path, numbers, indent + "  ")
        yield f"{indent}</object>"


def _is_display(path: Path) -> bool:
    return bool(_BUS_ID.fullmatch(path.name)) and _text(path / "class").startswith(_DISPLAY)


def _device(path: Path, numbers: Iterator[int], indent: str) -> Iterator[str]:
    vendor, device, sub_vendor, sub_device, revision = (
        int(_text(path / name) or "0", 16)
        for name in ("vendor", "device", "subsystem_vendor", "subsystem_device", "revision")
    )
    kind = f"{int(_text(path / 'class'), 16) >> 8:04x}"
    attributes = {
        "gp_index": next(numbers),
        "pci_busid": path.name,
        "pci_type": f"{kind} [{vendor:04x}:{device:04x}] [{sub_vendor:04x}:{sub_device:04x}] {revision:02x}",
        "pci_link_speed": "0.000000",
    }
    yield f'{indent}<object type="PCIDev"{_attributes(attributes)}>'
    for card in sorted(path.glob("drm/card[0-9]*")):
        named = {"gp_index": next(numbers), "name": card.name, "osdev_type": _GPU}
        yield f'{indent}  <object type="OSDev"{_attributes(named)}/>'
    yield f"{indent}</object>"


def _attributes(values: dict[str, object]) -> str:
    return "".join(f" {name}={quoteattr(str(value))}" for name, value in values.items())


def _text(path: Path) -> str:
    """Contents of a file; "" where the kernel or a container does not show it."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
