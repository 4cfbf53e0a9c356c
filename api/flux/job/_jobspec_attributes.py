"""The attributes of a jobspec under their usual names (RFC 14, attributes; manual page ``flux.job.Jobspec``)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flux.job import _jobspec_build as build
from flux.job import _jobspec_check as check
from flux.util import parse_fsd

__all__ = ["JobspecAttributes"]


class JobspecAttributes:
    """Access to the attributes section of ``self.jobspec``."""

    jobspec: dict[str, Any]

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes section."""
        return self.jobspec["attributes"] or {}

    def getattr(self, key: str) -> Any:
        """Return the attribute at a dotted key such as "system.job.name"; KeyError when there is none.

        "system." is understood where the key starts neither with it nor with "user.".
        """
        value: Any = self.attributes
        for part in _path(key):
            if not isinstance(value, Mapping) or part not in value:
                raise KeyError(key)
            value = value[part]
        return value

    def setattr(self, key: str, val: Any) -> None:
        """Set the attribute at a dotted key, as in getattr(), making the objects on the way."""
        if self.jobspec["attributes"] is None:
            self.jobspec["attributes"] = {}
        value = self.jobspec["attributes"]
        *parents, last = _path(key)
        for part in parents:
            value = value.setdefault(part, {})
            if not isinstance(value, dict):
                raise ValueError(f"cannot set attribute {key}: {part} is {value!r}, not an object")
        value[last] = val

    def setattr_shell_option(self, key: str, val: Any) -> None:
        """Set a job shell option at a dotted key, e.g. "output.mode"."""
        self.setattr(f"system.shell.options.{key}", val)

    def _get(self, key: str) -> Any:
        try:
            return self.getattr(key)
        except KeyError:
            return None

    def _text(self, key: str) -> str | None:
        found: str | None = self._get(key)
        return found

    @property
    def duration(self) -> float:
        """Time limit in seconds, 0 for none; set from a number, an FSD string or a timedelta."""
        return self._get("system.duration") or 0

    @duration.setter
    def duration(self, duration: float | str | timedelta) -> None:
        self.setattr("system.duration", _seconds(duration))

    @property
    def queue(self) -> str | None:
        """The queue the job goes to."""
        return self._text("system.queue")

    @queue.setter
    def queue(self, queue: str) -> None:
        self.setattr("system.queue", queue)

    @property
    def bank(self) -> str | None:
        """The bank that is charged."""
        return self._text("system.bank")

    @bank.setter
    def bank(self, bank: str) -> None:
        self.setattr("system.bank", bank)

    @property
    def name(self) -> str | None:
        """The job's name."""
        return self._text("system.job.name")

    @name.setter
    def name(self, name: str) -> None:
        self.setattr("system.job.name", name)

    @property
    def cwd(self) -> str | None:
        """Working directory of the job."""
        return self._text("system.cwd")

    @cwd.setter
    def cwd(self, cwd: str | os.PathLike[str]) -> None:
        self.setattr("system.cwd", os.fspath(cwd))

    @property
    def environment(self) -> dict[str, str | None] | None:
        """The entire environment of the job; a value of None unsets a variable."""
        found: dict[str, str | None] | None = self._get("system.environment")
        return found

    @environment.setter
    def environment(self, environ: Mapping[str, str | None]) -> None:
        copy = dict(environ)  # os.environ decodes at each look
        check.check_environment(copy)
        self.setattr("system.environment", copy)

    @property
    def stdin(self) -> str | None:
        """File that tasks read from."""
        return self._text("system.shell.options.input.stdin.path")

    @stdin.setter
    def stdin(self, path: str | os.PathLike[str]) -> None:
        self._set_io("input.stdin", path)

    @property
    def stdout(self) -> str | None:
        """File that tasks' standard output goes to; may hold mustache tags such as {{id}}."""
        return self._text("system.shell.options.output.stdout.path")

    @stdout.setter
    def stdout(self, path: str | os.PathLike[str]) -> None:
        self._set_io("output.stdout", path)

    @property
    def stderr(self) -> str | None:
        """File that tasks' standard error goes to; may hold mustache tags such as {{id}}."""
        return self._text("system.shell.options.output.stderr.path")

    @stderr.setter
    def stderr(self, path: str | os.PathLike[str]) -> None:
        self._set_io("output.stderr", path)

    input, output, error = stdin, stdout, stderr

    @property
    def unbuffered(self) -> bool:
        """True when the tasks' output is not line buffered."""
        return bool(self._get("system.shell.options.output.stdout.buffer.type") == "none")

    @unbuffered.setter
    def unbuffered(self, value: bool) -> None:
        for stream in ("stdout", "stderr"):
            self.setattr_shell_option(f"output.{stream}.buffer.type", "none" if value else "line")
        if value:
            self.setattr_shell_option("output.batch-timeout", 0.05)
            self.setattr_shell_option("input.batch-timeout", 0.0)

    def _set_io(self, key: str, path: str | os.PathLike[str]) -> None:
        self.setattr_shell_option(f"{key}.type", "file")
        self.setattr_shell_option(f"{key}.path", os.fspath(path))

    def add_file(
        self, path: str, data: str | Mapping[str, Any], perms: int = 0o600, encoding: str | None = None
    ) -> None:
        """Let the job find a file ``path`` in its temporary directory (RFC 37).

        data: the content if it has a newline or encoding says in what form it is (utf-8, base64), else the path of a
            file to read now; or a JSON object.
        """
        files = self._get("system.files") or {}
        self.setattr("system.files", files | {path: build.file_entry(data, perms, encoding)})


def _path(key: str) -> list[str]:
    parts = key.removeprefix("attributes.").split(".")
    if parts[0] not in ("system", "user"):
        parts.insert(0, "system")
    if len(parts) < 2 or not all(parts):
        raise ValueError(f"attribute key '{key}': expected a dotted key such as system.duration")
    return parts


def _seconds(duration: float | str | timedelta) -> float:
    if isinstance(duration, timedelta):
        seconds = duration.total_seconds()
    else:
        seconds = parse_fsd(duration) if isinstance(duration, str) else float(duration)
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"duration: expected a finite number of seconds >= 0, got {duration}")
    return seconds
