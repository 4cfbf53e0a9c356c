"""Commits of what must be there once when the connection to the broker is lost meanwhile and comes back."""

from __future__ import annotations

import errno
from typing import Any

from flux.constants import FLUX_KVS_TREEOBJ
from flux.core.steady import LOST
from flux.errors import FluxError
from flux.future import Future
from flux.kvs import treeobj
from flux.kvs.patient import PatientCommit
from flux.kvs.requests import lookup_async

__all__ = ["SureCommit"]

_DELAY = 0.1  # seconds


class SureCommit(PatientCommit):
    """A commit of appends, on a handle that reconnects: it looks for what it appended before it is made again."""

    def _send(self) -> None:
        try:
            super()._send()
        except FluxError as exc:
            self._failed(exc)

    def _answered(self, rpc: Future) -> None:
        try:
            rpc.get()
        except FluxError as exc:
            if exc.errno in LOST:
                self._failed(exc)
                return
        super()._answered(rpc)

    def _failed(self, error: FluxError) -> None:
        if error.errno in LOST:
            self._flux.call_later(_DELAY, self._look)
        else:
            self.fulfill(error)

    def _look(self) -> None:
        """Ask for one of the keys: all of a commit is there, or nothing."""
        try:
            key = self._ops[0]["key"]
            lookup_async(self._flux, key, FLUX_KVS_TREEOBJ, self._namespace).then(self._looked)
        except FluxError as exc:
            self._failed(exc)

    def _looked(self, lookup: Any) -> None:
        try:
            found = lookup.get()
        except FluxError as exc:
            if exc.errno == errno.ENOENT:
                self._send()
            else:
                self._failed(exc)
            return
        if _holds(found, treeobj.decode_val(self._ops[0]["dirent"])):
            self.fulfill({})
        else:
            self._send()


def _holds(obj: treeobj.TreeObj, data: bytes) -> bool:
    """True when data was appended to a value: it is one of its blobs, or part of one that is given whole."""
    if obj["type"] == "valref":
        hash_name = obj["data"][0].partition("-")[0]
        return treeobj.blobref(data, hash_name) in obj["data"]
    return data in treeobj.decode_val(obj)
