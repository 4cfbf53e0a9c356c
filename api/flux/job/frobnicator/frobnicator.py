"""The stack of frobnicators that the instance, or `flux job-frobnicator`, gives each job to (flux-config-ingest(5))."""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from flux.job._plugin_stack import PluginStack

if TYPE_CHECKING:
    import argparse

    from flux.job.Jobspec import Jobspec

__all__ = ["FrobnicatorPlugin", "JobFrobnicator"]


class FrobnicatorPlugin(ABC):
    """What a frobnicator derives from; a class with a method `frob` will do as well.

    Args:
        parser: may be given options.
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:  # noqa: B027 - most have none
        """Options are added here."""

    def configure(self, args: argparse.Namespace, config: Mapping[str, Any]) -> None:  # noqa: B027 - most need nothing
        """Take the options and the instance's configuration. ValueError when it makes no sense."""

    @abstractmethod
    def frob(self, jobspec: Jobspec, userid: int, urgency: int, flags: int) -> None:
        """Change the jobspec; raise to refuse the job."""


class JobFrobnicator(PluginStack):
    """Frobnicators by name, installed as entry points `flux.frobnicators`, in files or by dotted path."""

    kind = "frobnicators"
    default = ("defaults", "constraints")
    plain = FrobnicatorPlugin
    default_frobnicators: ClassVar[list[str]] = ["defaults", "constraints"]
    plugin_namespace: ClassVar[str] = "flux.frobnicators"

    def frob(
        self, jobspec: Jobspec, user: int | None = None, flags: int | None = None, urgency: int = 16
    ) -> dict[str, Any]:
        """Let all frobnicators change a jobspec, in order.

        Returns:
            {"errnum": 0, "data": jobspec}. What a frobnicator raises is passed on.
        """
        userid = os.getuid() if user is None else user
        for plugin in self.plugins:
            plugin.frob(jobspec, userid, urgency, flags or 0)
        return {"errnum": 0, "data": jobspec}

    def answer(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """What becomes of a job, as an object for JSON: errnum, and data, the new jobspec, or errstr.

        Args:
            info: keys jobspec, userid, urgency and flags.
        """
        from flux.job.Jobspec import Jobspec

        try:
            jobspec = Jobspec.from_dict(info["jobspec"])
        except (KeyError, TypeError, ValueError) as exc:
            return {"errnum": errno.EINVAL, "errstr": f"invalid jobspec: {exc}"}
        try:
            self.frob(jobspec, info["userid"], info["flags"], info["urgency"])
        except OSError as exc:
            return {"errnum": exc.errno or errno.EINVAL, "errstr": exc.strerror or str(exc)}
        except Exception as exc:
            return {"errnum": errno.EINVAL, "errstr": str(exc) or type(exc).__name__}
        return {"errnum": 0, "data": jobspec.jobspec}

    def _configure(self, plugin: Any, args: argparse.Namespace, config: Mapping[str, Any]) -> None:
        if isinstance(plugin, FrobnicatorPlugin):
            plugin.configure(args, config)
