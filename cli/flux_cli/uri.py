"""Instances as command lines name them (flux-uri(1))."""

from __future__ import annotations

from flux_cli.common import die

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.uri import JobURI

__all__ = ["resolve"]


def resolve(target: str, wait: bool = False) -> JobURI:
    """As `flux.uri.resolve`. CommandError when there is no such thing, or it has no URI."""
    from flux import uri

    try:
        return uri.resolve(target, wait)
    except ValueError as exc:
        die(str(exc))
