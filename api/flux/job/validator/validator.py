"""The stack of validators that the instance, or `flux job-validator`, asks about each job (flux.job.validator)."""

from __future__ import annotations

import errno
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from flux.job._plugin_stack import PluginStack

if TYPE_CHECKING:
    import argparse

    from flux.core.handle import Flux

__all__ = ["JobValidator", "ValidatorJobInfo", "ValidatorPlugin", "ValidatorResult"]

_KEYS = ("jobspec", "userid", "flags", "urgency")


class ValidatorJobInfo:
    """A job that is to be validated.

    Args:
        jobinfo: an object with the keys jobspec, userid, flags and urgency, or its JSON text.

    Attributes:
        jobspec: a dict (RFC 14). userid: who submits it. flags: FLUX_JOB_*. urgency: 0 to 31.

    Raises:
        ValueError: it is no such object.
    """

    _handle: ClassVar[Flux | None] = None

    def __init__(self, jobinfo: Mapping[str, Any] | str | bytes) -> None:
        info = json.loads(jobinfo) if isinstance(jobinfo, str | bytes) else jobinfo
        if not isinstance(info, Mapping) or not set(_KEYS) <= info.keys():
            raise ValueError(f"missing keys in input: expected {', '.join(_KEYS)}; jobspec alone is --jobspec-only")
        self.jobspec: dict[str, Any] = info["jobspec"]
        self.userid: int = info["userid"]
        self.flags: int | None = info["flags"]
        self.urgency: int = info["urgency"]

    @property
    def flux(self) -> Flux:
        """A connection to the instance, opened when it is first asked for."""
        if ValidatorJobInfo._handle is None:
            from flux.core.handle import Flux

            ValidatorJobInfo._handle = Flux()
        return ValidatorJobInfo._handle


class ValidatorPlugin(ABC):
    """What a validator derives from; a class with a method `validate` will do as well.

    Args:
        parser: may be given options.
    """

    config: Mapping[str, Any] = {}
    """The instance's configuration, set before `configure`."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:  # noqa: B027 - most have none
        """Options are added here."""

    def configure(self, args: argparse.Namespace) -> None:  # noqa: B027 - most need nothing
        """Take the options, when all have been parsed."""

    @abstractmethod
    def validate(self, job: ValidatorJobInfo) -> tuple[int, str | None] | None:
        """Raise, or return (errno, text), to refuse the job."""


class ValidatorResult:
    """What validators said of a job.

    Attributes:
        success: True when none has refused it. errnum: 0, or the first errno.
        errmsg: all texts, separated by commas.
    """

    def __init__(self) -> None:
        self.errnum = 0
        self._texts: list[str] = []

    def push_result(self, errnum: int, errmsg: str | None = None) -> None:
        """Add what one validator said: 0, or an errno and perhaps a text."""
        self.errnum = self.errnum or errnum
        if errnum and errmsg:
            self._texts.append(errmsg)

    @property
    def success(self) -> bool:
        return self.errnum == 0

    @property
    def errmsg(self) -> str:
        return ", ".join(self._texts)

    def __str__(self) -> str:
        """One line of JSON: errnum, and errstr for a refusal."""
        answer = {"errnum": self.errnum, **({} if self.success else {"errstr": self.errmsg})}
        return json.dumps(answer)


class JobValidator(PluginStack):
    """Validators by name, installed as entry points `flux.validators`, in files or by dotted path."""

    kind = "validators"
    default = ("jobspec",)
    plain = ValidatorPlugin
    default_validators: ClassVar[list[str]] = ["jobspec"]
    plugin_namespace: ClassVar[str] = "flux.validators"

    def validate(self, jobinfo: ValidatorJobInfo | Mapping[str, Any] | str | bytes) -> ValidatorResult:
        """Ask all validators; what one raises is a refusal."""
        result = ValidatorResult()
        try:
            job = jobinfo if isinstance(jobinfo, ValidatorJobInfo) else ValidatorJobInfo(jobinfo)
        except ValueError as exc:
            result.push_result(errno.EINVAL, str(exc))
            return result
        for plugin in self.plugins:
            result.push_result(*_verdict(plugin, job))
        return result

    def _configure(self, plugin: Any, args: argparse.Namespace, config: Mapping[str, Any]) -> None:
        if isinstance(plugin, ValidatorPlugin):
            plugin.config = config
            plugin.configure(args)


def _verdict(plugin: Any, job: ValidatorJobInfo) -> tuple[int, str | None]:
    try:
        said = plugin.validate(job)
    except OSError as exc:
        return exc.errno or errno.EINVAL, exc.strerror or str(exc)
    except (ValueError, TypeError) as exc:
        return errno.EINVAL, str(exc)
    except Exception as exc:
        return errno.EINVAL, f"{type(plugin).__module__}: {type(exc).__name__}: {exc}"
    return (0, None) if said is None else (int(said[0]), said[1])
