"""The errors every part of Flux raises: an errno for programs, a text for people.

`FluxError` is an `OSError`; one built for an errno that Python has a class for
(ENOENT, EPERM, ...) is also an instance of that class, so that
`except FileNotFoundError` works on the answer of a remote service.
"""

from __future__ import annotations

import errno as _errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_specialised: dict[int, type[FluxError]] = {}


def _class_for(errnum: int) -> type[FluxError]:
    cls = _specialised.get(errnum)
    if cls is None:
        builtin = type(OSError(errnum, ""))
        cls = FluxError if builtin is OSError else type("FluxError", (FluxError, builtin), {})
        _specialised[errnum] = cls
    return cls


class FluxError(OSError):
    """An error as it travels in a response (RFC 6): errno, a text for a person, the topic.

    Args:
        errnum: POSIX errno, non-zero.
        text: what was wrong; the system's text for errnum when empty.
        topic: the request that failed, when there was one.
    """

    errno: int
    topic: str

    def __new__(cls, errnum: int = _errno.EINVAL, text: str = "", topic: str = "") -> FluxError:
        actual = _class_for(errnum) if cls is FluxError else cls
        return OSError.__new__(actual, errnum, text or os.strerror(errnum))

    def __init__(self, errnum: int = _errno.EINVAL, text: str = "", topic: str = "") -> None:
        OSError.__init__(self, errnum, text or os.strerror(errnum))
        self.topic = topic
        self.has_text = bool(text)

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[Any, ...]:
        return FluxError, (self.errno, self.strerror, self.topic)


class ProtocolError(FluxError):
    """Bytes from outside that are not a message, or a payload that is not what it should be (EPROTO)."""

    def __new__(cls, text: str = "") -> ProtocolError:
        return OSError.__new__(cls, _errno.EPROTO, text or os.strerror(_errno.EPROTO))

    def __init__(self, text: str = "") -> None:
        FluxError.__init__(self, _errno.EPROTO, text)

    def __reduce__(self) -> tuple[Any, ...]:
        return ProtocolError, (self.strerror,)


class EndOfStream(FluxError):
    """The regular end of a streaming response (ENODATA, RFC 6)."""

    def __new__(cls, text: str = "") -> EndOfStream:
        return OSError.__new__(cls, _errno.ENODATA, text or "end of stream")

    def __init__(self, text: str = "") -> None:
        FluxError.__init__(self, _errno.ENODATA, text or "end of stream")

    def __reduce__(self) -> tuple[Any, ...]:
        return EndOfStream, ()


def as_flux_error(exc: BaseException, topic: str = "") -> FluxError:
    """Map any exception to the error that goes on the wire; an unexpected one becomes EINVAL with one line."""
    if isinstance(exc, FluxError):
        return exc
    if isinstance(exc, TimeoutError):
        return FluxError(_errno.ETIMEDOUT, str(exc), topic)
    if isinstance(exc, OSError) and exc.errno:
        return FluxError(exc.errno, exc.strerror or "", topic)
    first_line = (str(exc).strip().splitlines() or [""])[0]
    text = f"{type(exc).__name__}: {first_line}" if first_line else type(exc).__name__
    return FluxError(_errno.EINVAL, text[:200], topic)
