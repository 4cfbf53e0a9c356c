"""Seconds for one store or load of a blob; arguments: which, bytes of a blob, how many blobs.

Every blob is another one, half of it random. Up to 16 requests are under way at a time, as a dump or an archive has it.
"""

import os
import sys
import time
from collections import deque
from typing import Any

import flux

AHEAD = 16


class StockRequest:
    """A request with a raw payload by libflux, whose Python binding has none."""

    def __init__(self, handle: Any, topic: bytes, data: bytes) -> None:
        from _flux._core import ffi, lib

        self.ffi, self.lib = ffi, lib
        self.future = lib.flux_rpc_raw(handle.handle, topic, ffi.from_buffer(data), len(data), 0xFFFFFFFF, 0)

    def get(self) -> bytes:
        data, size = self.ffi.new("void **"), self.ffi.new("size_t *")
        if self.lib.flux_rpc_get_raw(self.future, data, size) < 0:
            raise OSError(self.ffi.errno, "content request failed")
        found = bytes(self.ffi.buffer(data[0], size[0]))
        self.lib.flux_future_destroy(self.future)
        return found


def request(handle: Any, topic: str, data: bytes) -> Any:
    try:
        from flux.content import RawRPC
    except ImportError:
        return StockRequest(handle, topic.encode(), data)
    return RawRPC(handle, topic, data)


def answers(handle: Any, topic: str, payloads: list[bytes]) -> list[bytes]:
    """What each request answers, in order."""
    waiting: deque[Any] = deque()
    found = []
    for payload in payloads:
        if len(waiting) == AHEAD:
            found.append(waiting.popleft().get())
        waiting.append(request(handle, topic, payload))
    return found + [answer.get() for answer in waiting]


def main() -> None:
    which, size, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    handle = flux.Flux()
    blobs = [os.urandom(size // 2) + bytes(size - size // 2) for _ in range(count)]
    begin = time.perf_counter()
    digests = answers(handle, "content.store", blobs)
    if which == "load":
        begin = time.perf_counter()
        if answers(handle, "content.load", digests) != blobs:
            raise SystemExit("the blobs are not those that were stored")
    print((time.perf_counter() - begin) / count)


main()
