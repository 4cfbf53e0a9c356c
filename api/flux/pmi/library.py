"""PMI-1 through a launcher's own shared library, such as Slurm's libpmi.so.

The calls are those of the PMI-1 C interface: each returns 0 or an error number, results go to pointers. Failures are
FluxErrors as those of flux.pmi.client: EIO when the library refuses, ENOENT for a key nobody put.
"""

from __future__ import annotations

import ctypes
from errno import EIO, ENOENT, ENOSYS
from typing import Any

from flux.errors import FluxError

__all__ = ["LibraryClient", "is_loadable"]

_CALLS = (
    "Init Initialized Finalize Abort Barrier Get_rank Get_size KVS_Get_my_name KVS_Get_name_length_max "
    "KVS_Get_key_length_max KVS_Get_value_length_max KVS_Put KVS_Commit KVS_Get"
).split()


def is_loadable(path: str) -> bool:
    """True when the library is there, with all that is needed of it."""
    try:
        LibraryClient(path)
    except FluxError:
        return False
    return True


class LibraryClient:
    """The process manager behind a libpmi.so; see flux.pmi.client.PMIClient for the calls.

    Raises:
        FluxError: ENOENT when the library cannot be loaded, ENOSYS when it lacks a call.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.rank = self.size = 0
        try:
            # plugins that Slurm's library loads look for its symbols among the global ones
            self._library = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
        except OSError as exc:
            raise FluxError(ENOENT, f"PMI library {path} cannot be loaded: {exc}") from None
        missing = [name for name in _CALLS if not hasattr(self._library, f"PMI_{name}")]
        if missing:
            raise FluxError(ENOSYS, f"PMI library {path} has no function PMI_{missing[0]}")

    def init(self) -> None:
        """Reach the process manager, and learn rank and size."""
        self._number("Init")
        self.rank, self.size = self._number("Get_rank"), self._number("Get_size")

    def get_maxes(self) -> tuple[int, int, int]:
        """The lengths, with a terminating NUL, of (kvsname, key, value)."""
        return (
            self._number("KVS_Get_name_length_max"),
            self._number("KVS_Get_key_length_max"),
            self._number("KVS_Get_value_length_max"),
        )

    def get_my_kvsname(self) -> str:
        """The name of this program's keyval space."""
        return self._text("KVS_Get_my_name", self._number("KVS_Get_name_length_max"))

    def put(self, key: str, value: str) -> None:
        """Put a key that no process has put; others see it after a barrier."""
        self._call("KVS_Put", self.get_my_kvsname().encode(), key.encode(), value.encode())
        self._call("KVS_Commit", self.get_my_kvsname().encode())

    def get(self, key: str) -> str:
        """Return the value of ``key``; FluxError ENOENT when there is none."""
        length = self._number("KVS_Get_value_length_max")
        return self._text("KVS_Get", length, self.get_my_kvsname().encode(), key.encode(), errnum=ENOENT)

    def barrier(self) -> None:
        """Wait until all processes of the program are here."""
        self._call("Barrier")

    def finalize(self) -> None:
        """Say goodbye."""
        self._call("Finalize")

    def request_abort(self, exitcode: int, msg: str) -> None:
        """Ask for the end of the whole program. Most libraries end this process with it."""
        self._call("Abort", exitcode, msg.encode())

    def close(self) -> None:
        """The library keeps its connection to itself."""

    def _call(self, name: str, *args: Any, errnum: int = EIO) -> None:
        result = getattr(self._library, f"PMI_{name}")(*args)
        if result != 0:
            raise FluxError(errnum, f"PMI_{name} of {self.path} failed with {result}")

    def _number(self, name: str) -> int:
        value = ctypes.c_int(0)
        self._call(name, ctypes.byref(value))
        return value.value

    def _text(self, name: str, length: int, *args: Any, errnum: int = EIO) -> str:
        buffer = ctypes.create_string_buffer(length)
        self._call(name, *args, buffer, length, errnum=errnum)
        return buffer.value.decode("utf-8", "surrogateescape")
