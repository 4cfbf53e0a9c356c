"""Changes of the job's resource set while it runs, such as a later expiration: the hook shell_resource_update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flux.constants import FLUX_RPC_STREAMING
from flux.errors import FluxError
from flux.hooks.shell import hookimpl

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["ResourceUpdate"]

LOG_DEBUG = 6


class ResourceUpdate:
    """Watches R when a plugin wants to know (job-info.update-watch, RFC 41); others cost a job nothing."""

    @hookimpl(trylast=True)
    def shell_init(self, shell: Shell) -> None:
        self._shell = shell
        self._watch(shell)

    @hookimpl
    def shell_reconnect(self, shell: Shell) -> None:
        self._watch(shell)

    def _watch(self, shell: Shell) -> None:
        if shell.standalone or not shell.stack.has("shell_resource_update"):
            return
        request = {"id": shell.jobid, "key": "R", "flags": 0}
        shell.flux.rpc("job-info.update-watch", request, flags=FLUX_RPC_STREAMING).then(self._answered)

    def _answered(self, watch: Any) -> None:
        try:
            r = watch.get()["R"]
        except FluxError as exc:
            self._shell.log(LOG_DEBUG, f"R is no longer watched: {exc}", "resource-update")
            return
        watch.reset()
        if r != self._shell.job.r:
            self._shell.job.r = r
            self._shell.call("shell.resource-update", shell=self._shell)
