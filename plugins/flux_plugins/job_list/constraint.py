"""Job constraints (RFC 31 as RFC 43 uses it), compiled once per request to a function of a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import ge, gt, le, lt
from typing import Any

from flux.constants import (
    FLUX_JOB_RESULT_CANCELED,
    FLUX_JOB_RESULT_COMPLETED,
    FLUX_JOB_RESULT_FAILED,
    FLUX_JOB_RESULT_TIMEOUT,
    FLUX_JOB_STATE_ACTIVE,
    FLUX_JOB_STATE_CLEANUP,
    FLUX_JOB_STATE_DEPEND,
    FLUX_JOB_STATE_INACTIVE,
    FLUX_JOB_STATE_NEW,
    FLUX_JOB_STATE_PENDING,
    FLUX_JOB_STATE_PRIORITY,
    FLUX_JOB_STATE_RUN,
    FLUX_JOB_STATE_RUNNING,
    FLUX_JOB_STATE_SCHED,
)
from flux.errors import ProtocolError
from flux.hostlist import Hostlist
from flux.idset import IDset
from flux_plugins.job_list.job import ListedJob

__all__ = ["Match", "compile_constraint"]

Match = Callable[[ListedJob], bool]

MAX_DEPTH = 64
MAX_HOSTS = 1024
"""Most hosts or ranks of one constraint, so that matching ends in time."""

_STATES = {
    "new": FLUX_JOB_STATE_NEW,
    "n": FLUX_JOB_STATE_NEW,
    "depend": FLUX_JOB_STATE_DEPEND,
    "d": FLUX_JOB_STATE_DEPEND,
    "priority": FLUX_JOB_STATE_PRIORITY,
    "p": FLUX_JOB_STATE_PRIORITY,
    "sched": FLUX_JOB_STATE_SCHED,
    "s": FLUX_JOB_STATE_SCHED,
    "run": FLUX_JOB_STATE_RUN,
    "r": FLUX_JOB_STATE_RUN,
    "cleanup": FLUX_JOB_STATE_CLEANUP,
    "c": FLUX_JOB_STATE_CLEANUP,
    "inactive": FLUX_JOB_STATE_INACTIVE,
    "i": FLUX_JOB_STATE_INACTIVE,
    "pending": FLUX_JOB_STATE_PENDING,
    "pd": FLUX_JOB_STATE_PENDING,
    "running": FLUX_JOB_STATE_RUNNING,
    "ru": FLUX_JOB_STATE_RUNNING,
    "active": FLUX_JOB_STATE_ACTIVE,
    "a": FLUX_JOB_STATE_ACTIVE,
}
_RESULTS = {
    "completed": FLUX_JOB_RESULT_COMPLETED,
    "cd": FLUX_JOB_RESULT_COMPLETED,
    "failed": FLUX_JOB_RESULT_FAILED,
    "f": FLUX_JOB_RESULT_FAILED,
    "canceled": FLUX_JOB_RESULT_CANCELED,
    "ca": FLUX_JOB_RESULT_CANCELED,
    "timeout": FLUX_JOB_RESULT_TIMEOUT,
    "to": FLUX_JOB_RESULT_TIMEOUT,
}
_COMPARISONS = {">=": ge, "<=": le, ">": gt, "<": lt}
_TIMES = ("t_submit", "t_depend", "t_run", "t_cleanup", "t_inactive")


def compile_constraint(constraint: Any) -> Match:
    """A function that tells whether a job matches. ProtocolError names what is wrong in the constraint."""
    try:
        return _compile(constraint, 0)
    except ValueError as exc:
        raise ProtocolError(f"invalid payload: constraint object invalid: {exc}") from None


def _compile(constraint: Any, depth: int) -> Match:
    if not isinstance(constraint, Mapping):
        raise ValueError(f"expected an object, not {constraint!r:.60}")
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    return _every([_operator(op, values, depth) for op, values in constraint.items()])


def _operator(op: str, values: Any, depth: int) -> Match:
    if not isinstance(values, list):
        raise ValueError(f"{op} values not an array")
    if op in _COMBINERS:
        return _COMBINERS[op]([_compile(value, depth + 1) for value in values])
    if op in _TIMES:
        return _time(op, values)
    if op not in _LEAVES:
        raise ValueError(f"unknown constraint operator: {op}")
    return _LEAVES[op](values)


# -- combined


def _every(matches: list[Match]) -> Match:
    if len(matches) == 1:
        return matches[0]
    return lambda job: all(match(job) for match in matches)


def _some(matches: list[Match]) -> Match:
    return lambda job: not matches or any(match(job) for match in matches)


def _none(matches: list[Match]) -> Match:
    return lambda job: not all(match(job) for match in matches)


_COMBINERS: dict[str, Callable[[list[Match]], Match]] = {"and": _every, "or": _some, "not": _none}


# -- one attribute


def _userid(values: list[Any]) -> Match:
    _check(values, int, "userid")
    if any(value in (-1, 0xFFFFFFFF) for value in values):
        return lambda _job: True
    users = frozenset(values)
    return lambda job: job.userid in users


def _name(values: list[Any]) -> Match:
    return _field("name", values)


def _queue(values: list[Any]) -> Match:
    return _field("queue", values)


def _field(key: str, values: list[Any]) -> Match:
    _check(values, str, key)
    wanted = frozenset(values)
    return lambda job: job.fields.get(key) in wanted


def _states(values: list[Any]) -> Match:
    mask = _mask(values, _STATES, "states")
    return lambda job: bool(job.state & mask)


def _results(values: list[Any]) -> Match:
    mask = _mask(values, _RESULTS, "results")
    return lambda job: bool(job.result & mask)


def _mask(values: list[Any], names: Mapping[str, int], what: str) -> int:
    mask = 0
    for value in values:
        bits = names.get(value.lower()) if isinstance(value, str) else value
        if isinstance(bits, bool) or not isinstance(bits, int):
            raise ValueError(f"invalid {what} value '{value}' specified")
        mask |= bits
    return mask


def _hostlist(values: list[Any]) -> Match:
    _check(values, str, "hostlist")
    hosts = frozenset(Hostlist(values))
    _limit(len(hosts), "hostlist")
    return lambda job: (nodes := job.assigned()) is not None and not hosts.isdisjoint(nodes[0])


def _ranks(values: list[Any]) -> Match:
    _check(values, str, "ranks")
    ranks = IDset().union(*values)
    _limit(ranks.count(), "ranks")
    return lambda job: (nodes := job.assigned()) is not None and not ranks.isdisjoint(nodes[1])


def _time(key: str, values: list[Any]) -> Match:
    if len(values) != 1 or not isinstance(values[0], str):
        raise ValueError(f"{key} takes one string such as '>=1700000000.0'")
    text = values[0].strip()
    sign = next((sign for sign in _COMPARISONS if text.startswith(sign)), None)
    if sign is None:
        raise ValueError(f"{key} value '{values[0]}' needs one of {', '.join(_COMPARISONS)} before its time")
    try:
        limit = float(text.removeprefix(sign))
    except ValueError:
        raise ValueError(f"{key} value '{values[0]}' is no time in seconds since the epoch") from None
    compare = _COMPARISONS[sign]
    return lambda job: (time := job.fields.get(key)) is not None and compare(time, limit)


def _check(values: list[Any], kind: type, what: str) -> None:
    for value in values:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{what} value {value!r:.60} is not {'a string' if kind is str else 'an integer'}")


def _limit(count: int, what: str) -> None:
    if count > MAX_HOSTS:
        raise ValueError(f"{what} names {count}, at most {MAX_HOSTS} are matched")


_LEAVES: dict[str, Callable[[list[Any]], Match]] = {
    "userid": _userid,
    "name": _name,
    "queue": _queue,
    "states": _states,
    "results": _results,
    "hostlist": _hostlist,
    "ranks": _ranks,
}
