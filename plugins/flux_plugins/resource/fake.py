"""Resources that are not there, for trying out schedulers and tools (flux-config-fake-resources(5))."""

from __future__ import annotations

import errno
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from flux.errors import FluxError
from flux.idset import IDset
from flux.resource import ResourceSet, sources
from flux.resource.Rlist import Rlist

__all__ = ["fake_inventory"]

Amender = Callable[..., Any]


class Fake(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    """The table [fake-resources].

    Attributes:
        hwloc_xml_path: a file that says what a node has, in place of the two numbers.
        amend_r: "module:function", or a Python file with a function `amend`: gets the R and gives the one to be used.
    """

    nnodes: Annotated[int, msgspec.Meta(gt=0)]
    cores_per_node: Annotated[int, msgspec.Meta(gt=0)] = 64
    gpus_per_node: Annotated[int, msgspec.Meta(ge=0)] = 0
    host_prefix: str = "fake"
    hwloc_xml_path: str = ""
    amend_r: str = ""


def fake_inventory(conf: Mapping[str, Any]) -> ResourceSet | None:
    """What the table [fake-resources] describes, None without one. FluxError EINVAL names what is wrong in it."""
    table = conf.get("fake-resources")
    if table is None:
        return None
    try:
        fake = msgspec.convert(table, Fake)
    except msgspec.ValidationError as exc:
        raise FluxError(errno.EINVAL, f"[fake-resources]: {exc}") from None
    cores, gpus = fake.cores_per_node, fake.gpus_per_node
    if fake.hwloc_xml_path:
        cores, gpus = _described(fake.hwloc_xml_path)
    rlist = Rlist()
    for rank in range(fake.nnodes):
        rlist.add_rank(rank, f"{fake.host_prefix}{rank}", IDset(range(cores)))
        if gpus:
            rlist.add_child(rank, "gpu", IDset(range(gpus)))
    return _amended(ResourceSet(rlist), fake) if fake.amend_r else ResourceSet(rlist)


def _described(path: str) -> tuple[int, int]:
    """Cores and GPUs of the host in an hwloc XML file."""
    try:
        host = sources.read_xml(path, named=False)
    except (OSError, ValueError) as exc:
        raise FluxError(errno.EINVAL, f"[fake-resources] hwloc-xml-path {path}: {exc}") from None
    return host.cores, host.gpus


def _amended(inventory: ResourceSet, fake: Fake) -> ResourceSet:
    xml = None
    if fake.hwloc_xml_path:
        with open(fake.hwloc_xml_path) as file:
            xml = file.read()
    try:
        return ResourceSet(_amender(fake.amend_r)(inventory.to_dict(), hwloc_xml=xml))
    except Exception as exc:
        raise FluxError(errno.EINVAL, f"[fake-resources] amend-r {fake.amend_r}: {type(exc).__name__}: {exc}") from exc


def _amender(reference: str) -> Amender:
    module, colon, name = reference.partition(":")
    if colon:
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]
    spec = importlib.util.spec_from_file_location("amend_r", reference)
    if spec is None or spec.loader is None:
        raise ImportError(f"{reference} is no Python file")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded.amend  # type: ignore[no-any-return]
