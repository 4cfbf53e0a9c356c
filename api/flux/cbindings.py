"""What programs written for the C bindings of Flux import from `flux.util`, where there is no C to be bound."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, TypeVar

from flux import jsontext
from flux.errors import FluxError

__all__ = ["check_future_error", "encode_payload", "encode_topic", "interruptible"]

F = TypeVar("F", bound=Callable[..., Any])


def encode_payload(payload: Any) -> bytes | None:
    """A message payload as bytes: of text, or of the JSON of any other object; None and bytes as they are."""
    if payload is None or isinstance(payload, bytes):
        return payload
    return payload.encode(errors="surrogateescape") if isinstance(payload, str) else jsontext.encode(payload)


def encode_topic(topic: str | bytes | None) -> bytes:
    """A topic as bytes. FluxError EINVAL when there is none, TypeError when it is no text."""
    if topic is None:
        raise FluxError(errno.EINVAL, "a message needs a topic")
    if not isinstance(topic, str | bytes):
        raise TypeError(f"topic: expected a string, got {topic!r}")
    return topic.encode() if isinstance(topic, str) else topic


def check_future_error(func: F) -> F:
    """Decorate what gets the result of a future: futures raise errors with the text of the service by themselves."""
    return func


def interruptible(func: F) -> F:
    """Decorate what blocks in a future: Ctrl-C interrupts that by itself."""
    return func
