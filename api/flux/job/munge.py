"""Signatures of mechanism "munge" (RFC 39): libmunge, loaded when it is first needed."""

from __future__ import annotations

import ctypes
import errno
from functools import cache
from hashlib import sha256
from typing import NamedTuple

from flux.errors import FluxError

__all__ = ["Credential", "sign", "verify"]

_LIBRARY = "libmunge.so.2"
_SHA256 = b"\x01"
_OPT_ENCODE_TIME, _OPT_SOCKET = 6, 8
_SUCCESS, _EXPIRED, _REPLAYED = 0, 15, 17


class Credential(NamedTuple):
    """What MUNGE vouches for. time: when it was made, seconds since the epoch."""

    userid: int
    time: int


def sign(text: bytes, socket: str = "") -> str:
    """Sign HEADER.PAYLOAD as this process's user.

    Args:
        socket: path of munged's socket, "" for the usual one.

    Raises:
        FluxError: ENOTSUP without the library; EINVAL with what MUNGE says, such as that munged does not run.
    """
    with _Context(socket) as context:
        made = ctypes.c_void_p()
        data = _SHA256 + sha256(text).digest()
        context.check(_library().munge_encode(ctypes.byref(made), context.handle, data, len(data)))
        try:
            return ctypes.string_at(made.value or 0).decode()
        finally:
            _free(made)


def verify(text: bytes, signature: str, socket: str = "") -> Credential:
    """Who signed HEADER.PAYLOAD, and when. How long that holds, and how often, is for the caller to say.

    Raises:
        FluxError: as `sign`; EINVAL too when the signature is that of something else.
    """
    with _Context(socket) as context:
        data, size, uid, gid = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_uint32(), ctypes.c_uint32()
        out = [ctypes.byref(value) for value in (data, size, uid, gid)]
        error = _library().munge_decode(signature.encode(), context.handle, *out)
        context.check(0 if error in (_EXPIRED, _REPLAYED) else error)
        try:
            signed = ctypes.string_at(data.value or 0, size.value)
        finally:
            _free(data)
        if signed != _SHA256 + sha256(text).digest():
            raise FluxError(errno.EINVAL, "the signature is that of something else")
        return Credential(uid.value, context.encode_time())


class _Context:
    """A munge_ctx_t."""

    def __init__(self, socket: str) -> None:
        self.handle = ctypes.c_void_p(_library().munge_ctx_create())
        if socket:
            self.check(_library().munge_ctx_set(self.handle, _OPT_SOCKET, ctypes.c_char_p(socket.encode())))

    def __enter__(self) -> _Context:
        return self

    def __exit__(self, *_exc: object) -> None:
        _library().munge_ctx_destroy(self.handle)

    def check(self, error: int) -> None:
        """FluxError EINVAL for an error code of MUNGE."""
        if error != _SUCCESS:
            text = _library().munge_ctx_strerror(self.handle) or _library().munge_strerror(error)
            raise FluxError(errno.EINVAL, f"munge: {text.decode(errors='replace')}")

    def encode_time(self) -> int:
        found = ctypes.c_long()
        self.check(_library().munge_ctx_get(self.handle, _OPT_ENCODE_TIME, ctypes.byref(found)))
        return found.value


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise FluxError(errno.ENOTSUP, f"munge: {_LIBRARY} is not installed on this host") from None
    library.munge_ctx_create.restype = ctypes.c_void_p
    for name in ("munge_ctx_strerror", "munge_strerror"):
        getattr(library, name).restype = ctypes.c_char_p
    return library


def _free(memory: ctypes.c_void_p) -> None:
    ctypes.CDLL(None).free(memory)
