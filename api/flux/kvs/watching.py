"""Values of a key as they change, and the checkpoints of the KVS (manual page ``flux.kvs``)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from flux.constants import FLUX_KVS_WAITCREATE, FLUX_KVS_WATCH, FLUX_KVS_WATCH_FULL, FLUX_KVS_WATCH_UNIQ
from flux.errors import FluxError
from flux.kvs.requests import Lookup, default_namespace
from flux.message import FLAG_STREAMING

if TYPE_CHECKING:
    from flux.core.base import Handle

__all__ = ["KVSWatchFuture", "kvs_checkpoint_lookup", "kvs_watch_async"]


class KVSWatchFuture(Lookup):
    """A stream of a key's values; made by kvs_watch_async()."""

    def get(self, autoreset: bool = True) -> Any:
        """The next value, decoded as `flux.kvs.get` does, blocking; None when the watch has been cancelled.

        Args:
            autoreset: go on to the value after it, so that the next call gives that one.
        """
        self.wait_for()
        if isinstance(self._results[0], FluxError) and self._results[0].errno == errno.ENODATA:
            return None
        value = self.decoded()
        if autoreset:
            self.reset()
        return value

    def value(self) -> bytes:
        """The present one as bytes."""
        from flux.kvs import treeobj

        return treeobj.decode_val(super().get())

    def cancel(self, topic: str | None = None, stop: bool = False) -> None:
        """Watch no longer. stop: call no callback any more."""
        super().cancel(topic)
        if stop:
            self.stop()


def kvs_watch_async(
    flux_handle: Handle,
    key: str,
    namespace: str | None = None,
    waitcreate: bool = False,
    uniq: bool = False,
    full: bool = False,
) -> KVSWatchFuture:
    """Watch a key: its value, and then each that a commit gives it.

    Args:
        namespace: default $FLUX_KVS_NAMESPACE, else "primary".
        waitcreate: wait for a key that is not there. uniq: leave out values like the one before.
        full: look at the value after each commit, also when it names a directory above the key.

    Errors, when a value is got: ENOENT no such key, or no more; ENOTSUP no such namespace; EPERM not the caller's.
    """
    flags = FLUX_KVS_WATCH
    for wanted, flag in ((waitcreate, FLUX_KVS_WAITCREATE), (uniq, FLUX_KVS_WATCH_UNIQ), (full, FLUX_KVS_WATCH_FULL)):
        flags |= flag if wanted else 0
    request = {"key": key, "flags": flags, "namespace": namespace or default_namespace()}
    return KVSWatchFuture(flux_handle, "kvs-watch.lookup", request, flags=FLAG_STREAMING)


def kvs_checkpoint_lookup(flux_handle: Handle, cache_bypass: bool = False) -> list[dict[str, Any]]:
    """The checkpoints of the KVS, the newest first: {"version", "rootref", "timestamp", ...} each; [] without any.

    Args:
        cache_bypass: ask the backing store, not the content cache.
    """
    service = "content-backing" if cache_bypass else "content"
    try:
        found = flux_handle.rpc(f"{service}.checkpoint-get", {}).get()["value"]
    except FluxError as exc:
        if exc.errno == errno.ENOENT:
            return []
        raise
    return [found] if isinstance(found, dict) else list(found)
