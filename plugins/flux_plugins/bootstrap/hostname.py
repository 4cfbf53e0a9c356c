"""The host name that a broker goes by, when it is not that of its host (flux-start(1) --test-hosts)."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["FAKE_HOSTNAME", "fake_hostname"]

FAKE_HOSTNAME = "FLUX_FAKE_HOSTNAME"


def fake_hostname(environ: Mapping[str, str]) -> dict[str, str]:
    """The attribute `hostname`, where the environment gives one in place of the real name."""
    name = environ.get(FAKE_HOSTNAME)
    return {"hostname": name} if name else {}
