"""The two stages that a submission passes: frobnicator and validator (flux-config-ingest(5)).

A stage whose plugins come with Flux and only look at the job runs in the service itself. Others run in workers.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.job.Jobspec import validate_jobspec
from flux_plugins.job_ingest.hosts import check_hosts

if TYPE_CHECKING:
    from flux.job.frobnicator import JobFrobnicator
    from flux.job.validator import JobValidator
    from flux_plugins.job_ingest.workers import Crew

__all__ = ["Frobnicator", "Settings", "Stage", "Validator"]

_TIMEOUT = "30s"
_BUFFER = "10M"

StartCrew = Callable[..., "Crew"]
"""Called with command, its arguments, time limit in seconds and buffer size."""


class Settings:
    """One of the tables `[ingest.validator]` and `[ingest.frobnicator]`. FluxError EINVAL names what is wrong in it."""

    def __init__(self, name: str, conf: Mapping[str, Any]) -> None:
        ingest = _table(conf, "ingest", "")
        table = _table(ingest, name, "ingest.")
        self.disabled = _checked(name, table, "disable", bool, False)
        self.plugins: list[str] | None = _words(name, table, "plugins")
        self.args: list[str] = _words(name, table, "args") or []
        self.timeout = _seconds(name, table.get("timeout", _TIMEOUT))
        self.buffer = str(ingest.get("buffer-size", _BUFFER))

    @property
    def argv(self) -> list[str]:
        """Arguments of the command that stands for the stage."""
        return [*([f"--plugins={','.join(self.plugins)}"] if self.plugins else []), *self.args]


def _table(table: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    found = table.get(key) or {}
    if not isinstance(found, Mapping):
        raise FluxError(errno.EINVAL, f"[{where}{key}] must be a table")
    return found


def _checked(name: str, table: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    value = table.get(key, default)
    if not isinstance(value, kind):
        raise FluxError(errno.EINVAL, f"ingest.{name}.{key} must be of type {kind.__name__}, not {value!r}")
    return value


def _words(name: str, table: Mapping[str, Any], key: str) -> list[str] | None:
    if key not in table:
        return None
    words: list[str] = _checked(name, table, key, list, [])
    if not all(isinstance(word, str) for word in words):
        raise FluxError(errno.EINVAL, f"ingest.{name}.{key} must be an array of strings, not {words!r}")
    return words


def _seconds(name: str, text: Any) -> float:
    from flux.util import parse_fsd

    try:
        return parse_fsd(str(text))
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"ingest.{name}.timeout: {exc}") from None


class Stage(ABC):
    """What both stages have: counts, and perhaps workers.

    Args:
        start_crew: makes the workers.
    """

    name = ""
    command = ""
    light: frozenset[str] = frozenset()
    """Plugins that only look at the job, and may do so in the service."""

    def __init__(self, start_crew: StartCrew) -> None:
        self._start_crew = start_crew
        self._crew: Crew | None = None
        self.requests = self.errors = 0

    def configure(self, conf: Mapping[str, Any]) -> None:
        """Take a configuration. FluxError EINVAL when it makes no sense."""
        settings = Settings(self.name, conf)
        here, crew = self._arrange(settings, conf)
        if self._crew is not None:
            self._crew.close()
        self._take(here)
        self._crew = crew

    def _arrange(self, settings: Settings, conf: Mapping[str, Any]) -> tuple[Any, Crew | None]:
        """What runs here, and who else."""
        if not self._is_wanted(settings, conf):
            return None, None
        if not self._is_light(settings):
            return None, self._start_crew(self.command, settings.argv, settings.timeout, settings.buffer)
        try:
            return self._stack(settings, conf), None
        except ValueError as exc:
            raise FluxError(errno.EINVAL, f"ingest.{self.name}: {exc}") from None

    def _is_light(self, settings: Settings) -> bool:
        from flux.discovery import PluginError, resolve

        try:
            entries = [resolve(f"{self.name}s", name) for name in settings.plugins or ()]
        except PluginError as exc:
            raise FluxError(errno.EINVAL, f"ingest.{self.name}.plugins: {exc}") from None
        return all(entry.is_builtin and entry.name in self.light for entry in entries)

    @abstractmethod
    def _is_wanted(self, settings: Settings, conf: Mapping[str, Any]) -> bool:
        """Whether jobs pass this stage at all."""

    @abstractmethod
    def _stack(self, settings: Settings, conf: Mapping[str, Any]) -> Any:
        """The plugins of the stage, started in the service. ValueError when they do not take the settings."""

    @abstractmethod
    def _take(self, here: Any) -> None:
        """From now on these plugins, of `_stack`, see the jobs; None: workers do, or nobody."""

    @property
    def is_slow(self) -> bool:
        """True when workers have to be asked."""
        return self._crew is not None

    def close(self) -> None:
        if self._crew is not None:
            self._crew.close()

    def stats(self) -> dict[str, Any]:
        idle = {"running": 0, "trash": 0, "backlog": 0, "pids": []}
        return {**(self._crew.stats() if self._crew else idle), "requests": self.requests, "errors": self.errors}


def _site_validates() -> bool:
    """Whether plugins of the commands that submit have a say: a site's code, so that workers run it."""
    from flux.cli.plugin import registry

    try:
        plugins = registry("validate")
    except (OSError, ValueError):
        return True  # a worker says what is wrong with a plugin, to who submits
    return plugins is not None and plugins.validates


class Validator(Stage):
    """Whether a job may be submitted. Without plugins in the configuration it is the check of jobspecs alone.

    Attributes:
        hosts: of the instance, as `flux_plugins.job_ingest.hosts` has them; what jobs may name in any case.
    """

    name = "validator"
    command = "job-validator"
    light = frozenset({"jobspec", "require-instance"})

    def __init__(self, start_crew: StartCrew) -> None:
        super().__init__(start_crew)
        self.hosts: frozenset[str] = frozenset()
        self._enabled = True
        self._here: JobValidator | None = None

    def configure(self, conf: Mapping[str, Any]) -> None:
        super().configure(conf)
        self._enabled = not Settings(self.name, conf).disabled

    def _is_wanted(self, settings: Settings, conf: Mapping[str, Any]) -> bool:
        is_asked = settings.plugins is not None or bool(settings.args)
        return not settings.disabled and (is_asked or _site_validates())

    def _is_light(self, settings: Settings) -> bool:
        return super()._is_light(settings) and not _site_validates()

    def _stack(self, settings: Settings, conf: Mapping[str, Any]) -> Any:
        from flux.job.validator import JobValidator

        stack = JobValidator(settings.argv)
        stack.start(conf)
        return stack

    def _take(self, here: Any) -> None:
        self._here = here

    def check(self, job: dict[str, Any]) -> None:
        """Check a job here. FluxError with what a validator says."""
        if not self._enabled:
            return
        if self._here is not None:
            result = self._here.validate(job)
            if not result.success:
                raise FluxError(result.errnum, result.errmsg)
        else:
            _check_jobspec(job["jobspec"])
        check_hosts(job["jobspec"], self.hosts)

    async def check_slowly(self, job: dict[str, Any]) -> None:
        """Let a worker check a job. FluxError with what it says, or what became of it."""
        if self._crew is None:
            self.check(job)
        else:
            _raise_refusal(await self._crew.process(job))
            check_hosts(job["jobspec"], self.hosts)


def _check_jobspec(jobspec: dict[str, Any]) -> None:
    try:
        validate_jobspec(jobspec, require_version=1)
    except (ValueError, TypeError) as exc:
        raise FluxError(errno.EINVAL, str(exc)) from None


class Frobnicator(Stage):
    """What is changed in a job. Off unless plugins, defaults or queues are configured."""

    name = "frobnicator"
    command = "job-frobnicator"
    light = frozenset({"defaults", "constraints"})

    def __init__(self, start_crew: StartCrew) -> None:
        super().__init__(start_crew)
        self._here: JobFrobnicator | None = None

    def _is_wanted(self, settings: Settings, conf: Mapping[str, Any]) -> bool:
        defaults = "defaults" in ((conf.get("policy") or {}).get("jobspec") or {})
        return not settings.disabled and (settings.plugins is not None or defaults or bool(conf.get("queues")))

    def _stack(self, settings: Settings, conf: Mapping[str, Any]) -> Any:
        from flux.job.frobnicator import JobFrobnicator

        stack = JobFrobnicator(settings.argv)
        stack.start(conf)
        return stack

    def _take(self, here: Any) -> None:
        self._here = here

    @property
    def is_on(self) -> bool:
        return self._here is not None or self._crew is not None

    def change(self, job: dict[str, Any]) -> dict[str, Any]:
        """The new jobspec of a job. FluxError with what a frobnicator says."""
        return job["jobspec"] if self._here is None else _jobspec(self._here.answer(job))

    async def change_slowly(self, job: dict[str, Any]) -> dict[str, Any]:
        """The same by a worker, where there are some."""
        return self.change(job) if self._crew is None else _jobspec(await self._crew.process(job))


def _raise_refusal(answer: dict[str, Any]) -> None:
    if answer.get("errnum"):
        raise FluxError(int(answer["errnum"]), answer.get("errstr") or "")


def _jobspec(answer: dict[str, Any]) -> dict[str, Any]:
    _raise_refusal(answer)
    jobspec = answer.get("data")
    if not isinstance(jobspec, dict):
        raise FluxError(errno.EPROTO, "job-frobnicator: no jobspec came back")
    return jobspec
