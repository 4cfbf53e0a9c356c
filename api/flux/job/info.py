"""What is known of a job, as programs and people want it (RFC 43; manual page ``flux.job.info``)."""

from __future__ import annotations

import time
from collections.abc import Iterable

from flux.job._info_text import begin_time, emoji, exit_reason
from flux.job.JobID import JobID
from flux.uri import JobURI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.job.info_format import JobInfoFormat as JobInfoFormat

__all__ = [
    "AnnotationsInfo",
    "ExceptionInfo",
    "InfoList",
    "JobInfo",
    "JobInfoFormat",
    "fsd",
    "get_username",
    "resulttoemoji",
    "resulttostr",
    "statetoemoji",
    "statetostr",
    "statustoemoji",
    "statustostr",
]

_STATES = {
    1: ("NEW", "N"),
    2: ("DEPEND", "D"),
    4: ("PRIORITY", "P"),
    8: ("SCHED", "S"),
    16: ("RUN", "R"),
    32: ("CLEANUP", "C"),
    64: ("INACTIVE", "I"),
}
_RESULTS = {1: ("COMPLETED", "CD"), 2: ("FAILED", "F"), 4: ("CANCELED", "CA"), 8: ("TIMEOUT", "TO")}
_PENDING, _RUN, _RUNNING, _INACTIVE = 2 | 4 | 8, 16, 16 | 32, 64
_NEVER_RAN = -128

_usernames: dict[int, str] = {}


def fsd(secs: float) -> str:
    """Seconds as a Flux Standard Duration (RFC 23)."""
    from flux.util import fsd as encode

    return encode(secs)


def get_username(userid: int) -> str:
    """The user's name, the number when it has none."""
    name = _usernames.get(userid)
    if name is None:
        import pwd

        try:
            name = pwd.getpwuid(userid).pw_name
        except KeyError:
            name = str(userid)
        _usernames[userid] = name
    return name


def statetostr(stateid: int, fmt: str = "L") -> str:
    """Name of a state (fmt "L"), or its letter ("S"). KeyError when there is no such state."""
    return _STATES[stateid][fmt == "S"]


def resulttostr(resultid: int | str, fmt: str = "L") -> str:
    """Name of a result (fmt "L"), or its abbreviation ("S"); "" when there is no result yet."""
    return "" if resultid == "" else _RESULTS[int(resultid)][fmt == "S"]


def statustostr(stateid: int, resultid: int | str, fmt: str = "L") -> str:
    """State and result in one word: the result once there is one, else the state."""
    return resulttostr(resultid, fmt) if stateid & _INACTIVE else statetostr(stateid, fmt)


def statetoemoji(stateid: int) -> str:
    """Picture of a state."""
    return emoji(statetostr(stateid))


def resulttoemoji(resultid: int | str) -> str:
    """Picture of a result."""
    return emoji(resulttostr(resultid))


def statustoemoji(stateid: int, resultid: int | str) -> str:
    """Picture of a result once there is one, else of the state."""
    return emoji(statustostr(stateid, resultid))


class AnnotationsInfo:
    """Annotations as attributes; one that is not there is "", at any depth."""

    def __init__(self, annotationsDict: dict[str, Any] | None) -> None:
        self.annotationsDict = annotationsDict or {}
        self.atuple = self.annotationsDict

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = self.annotationsDict.get(name, {})
        return AnnotationsInfo(value) if isinstance(value, dict) else value

    def __str__(self) -> str:
        if not self.annotationsDict:
            return ""
        import json

        return json.dumps(self.annotationsDict)

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    __repr__ = __str__


class ExceptionInfo:
    """The exception of the greatest severity: occurred, severity, type, note ("" where there is none)."""

    def __init__(self, occurred: bool | str, severity: int | str, _type: str, note: str) -> None:
        self.occurred = occurred
        self.severity = severity
        self.type = _type
        self.note = note

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


class InfoList(list["Any"]):
    """A list that shows as its items joined by commas."""

    def __str__(self) -> str:
        return ",".join(str(item) for item in self)

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


def _dependencies(texts: Iterable[str]) -> InfoList:
    """Dependencies as they are shown: a begin time as the date that it is."""
    return InfoList(begin_time(text) if text.startswith("begin-time=") else text for text in texts)


class JobInfo:
    """One job.

    Args:
        info_resp: attributes of RFC 43, such as job-list answers; what is missing gets a default.

    Beside the attributes as they came (userid, urgency, t_submit, name, ...) it has what follows from them.
    """

    defaults: dict[str, Any] = {
        "t_depend": 0.0,
        "t_priority": 0.0,
        "t_sched": 0.0,
        "t_run": 0.0,
        "t_cleanup": 0.0,
        "t_inactive": 0.0,
        "expiration": 0.0,
        "duration": 0.0,
        "nnodes": "",
        "ncores": "",
        "ntasks": "",
        "priority": "",
        "urgency": "",
        "ranks": "",
        "nodelist": "",
        "success": "",
        "result": "",
        "waitstatus": "",
        "name": "",
        "queue": "",
        "project": "",
        "bank": "",
        "cwd": "",
    }

    def __init__(self, info_resp: dict[str, Any]) -> None:
        info = {**self.defaults, **info_resp}
        self.id = JobID(info.pop("id"))
        self.state_id: int = info.pop("state", 0)
        self.result_id: int | str = info.pop("result")
        self.annotations = AnnotationsInfo(info.pop("annotations", None))
        self.sched = self.annotations.sched
        self.user = self.annotations.user
        self.dependencies = _dependencies(info.pop("dependencies", ()))
        self.exception = ExceptionInfo(
            info.pop("exception_occurred", ""),
            info.pop("exception_severity", ""),
            info.pop("exception_type", ""),
            info.pop("exception_note", ""),
        )
        self.__dict__.update(info)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the job has no attribute '{name}'")

    @property
    def uri(self) -> JobURI | None:
        """Of the instance of Flux that the job is; None for a job that is none, or that has not told yet."""
        text = str(self.user.uri)
        return JobURI(text) if text else None

    @property
    def username(self) -> str:
        return get_username(self.userid)

    @property
    def state(self) -> str:
        return statetostr(self.state_id)

    @property
    def state_single(self) -> str:
        return statetostr(self.state_id, "S")

    @property
    def result(self) -> str:
        return resulttostr(self.result_id)

    @property
    def result_abbrev(self) -> str:
        return resulttostr(self.result_id, "S")

    @property
    def state_emoji(self) -> str:
        return statetoemoji(self.state_id)

    @property
    def result_emoji(self) -> str:
        return resulttoemoji(self.result_id)

    @property
    def status_emoji(self) -> str:
        return statustoemoji(self.state_id, self.result_id)

    @property
    def status(self) -> str:
        return statustostr(self.state_id, self.result_id)

    @property
    def status_abbrev(self) -> str:
        return statustostr(self.state_id, self.result_id, "S")

    def get_runtime(self, roundup: bool = False) -> float:
        """Seconds from the allocation of resources to the end of the job, or to now; 0.0 before."""
        if not self.t_run:
            return 0.0
        runtime = max(0.0, (self.t_cleanup or time.time()) - self.t_run)
        return float(int(runtime + 0.5)) if roundup else float(runtime)

    @property
    def runtime(self) -> float:
        return self.get_runtime()

    def get_remaining_time(self) -> float:
        """Seconds until a running job's time limit; 0.0 without a limit, and when it does not run."""
        if not self.state_id & _RUNNING or not self.expiration:
            return 0.0
        return max(0.0, float(self.expiration) - time.time())

    @property
    def t_remaining(self) -> float:
        return self.get_remaining_time()

    @property
    def returncode(self) -> int | str:
        """Highest exit code of the job's shells, -signal, -128 when it was ended before it ran; "" while active."""
        if not self.state_id & _INACTIVE:
            return ""
        if self.waitstatus == "":
            return _NEVER_RAN if self.exception.occurred and not self.t_run else 1
        signum = int(self.waitstatus & 0x7F)
        return -signum if signum else int(self.waitstatus >> 8)

    @property
    def contextual_info(self) -> str:
        """Where the job runs, or why it does not yet."""
        return self._why_pending() if self.state_id & _PENDING else str(self.nodelist)

    def _why_pending(self) -> str:
        if self.state == "PRIORITY":
            return "priority-wait"
        if self.state == "DEPEND":
            return f"depends:{self.dependencies}"
        estimate = self.sched.t_estimate
        if isinstance(estimate, int | float):
            left = estimate - time.time()
            return f"eta:{fsd(left) if left >= 0 else 'now'}"
        if self.urgency == 0:
            return "held"
        return "priority-hold" if self.priority == 0 else str(self.sched.reason_pending)

    @property
    def inactive_reason(self) -> str:
        """How an inactive job came to its end, in a few words; "" for others."""
        if not self.state_id & _INACTIVE:
            return ""
        if self.result == "TIMEOUT":
            return "Timeout"
        if self.result == "CANCELED":
            note = self.exception.note if self.exception.type == "cancel" else ""
            return f"Canceled: {note}" if note else "Canceled"
        if self.result == "FAILED" and self.exception.severity == 0 and self.exception.type != "exec":
            note = self.exception.note
            return f"Exception: type={self.exception.type}{f' note={note}' if note else ''}"
        return exit_reason(int(self.returncode))

    @property
    def contextual_time(self) -> float:
        """Runtime, or the time limit of a job that does not run yet."""
        return float(self.duration) if self.state_id & _PENDING else self.runtime

    def get_instance_info(self) -> JobInfo:
        """Ask the running instance of Flux that the job is for `instance`, which is empty for other jobs. Blocks."""
        from flux.job.instance import InstanceInfo

        self.instance = InstanceInfo(self.uri.nearest if self.uri and self.state_id == _RUN else "")
        return self

    def to_dict(self, filtered: bool = True) -> dict[str, Any]:
        """All fields, as JSON can hold them.

        Args:
            filtered: leave out what is empty.
        """
        known = _DERIVED if hasattr(self, "userid") else _DERIVED[1:]
        fields = {name: getattr(self, name) for name in known}
        fields |= {name: value for name, value in vars(self).items() if not isinstance(value, _OBJECTS)}
        fields |= {"id": int(self.id), "jobid": self.id.f58}
        fields["exception"] = self.exception.to_dict()
        fields["annotations"] = self.annotations.annotationsDict
        fields["dependencies"] = list(self.dependencies)
        if self.uri:
            fields["uri"] = str(self.uri)
        del fields["state_id"], fields["result_id"]
        fields.pop("instance", None)
        return _known(fields) if filtered else fields


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    if not fields["exception"]["occurred"]:
        fields["exception"] = {"occurred": False}
    if "uri" in fields:
        user = {key: value for key, value in fields["annotations"]["user"].items() if key != "uri"}
        others = {key: value for key, value in fields["annotations"].items() if key != "user"}
        fields["annotations"] = {**others, "user": user} if user else others
    return {name: value for name, value in fields.items() if value != "" and (value or not _unset_at_zero(name))}


def _unset_at_zero(name: str) -> bool:
    return name.startswith("t_") or name in ("runtime", "expiration")


_OBJECTS = (AnnotationsInfo, ExceptionInfo, InfoList)
_DERIVED = ("username", "state", "result", "status", "runtime", "t_remaining", "returncode")


_ELSEWHERE = {"InstanceInfo": "instance", "JobInfoFormat": "info_format", "job_fields_to_attrs": "info_format"}


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        from importlib import import_module

        return getattr(import_module(f"flux.job.{_ELSEWHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
