"""Exceptions and signals for all jobs of a user (flux-job(1) cancelall, raiseall, killall; flux-cancel(1) --all)."""

from __future__ import annotations

import os

from flux_cli.common import die

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux_cli.common import Parser

__all__ = ["add_selection", "kill_all", "parse_states", "parse_user", "raise_all"]

_ALL_USERS = 0xFFFFFFFF


def add_selection(parser: Parser, states: str | None = "active") -> None:
    """--user and --states, of which the latter has a default."""
    parser.add_argument("-u", "--user", metavar="USER", help="user whose jobs are meant; all for every user")
    parser.add_argument("-S", "--states", default=states, metavar="STATES", help="states they are in (active)")


def parse_states(text: str) -> int:
    """A mask of FLUX_JOB_STATE_* for words separated by commas."""
    from flux.job.list import JobList

    mask = 0
    for word in text.lower().split(","):
        if word not in JobList.STATES:
            die(f"--states: there is no job state '{word}': one of {', '.join(JobList.STATES)}")
        mask |= JobList.STATES[word]
    return mask


def parse_user(text: str | None) -> int:
    """A userid for --user, this user's when it was not given."""
    if text is None:
        return os.getuid()
    if text == "all":
        return _ALL_USERS
    if text.isdecimal():
        return int(text)
    import pwd

    try:
        return pwd.getpwnam(text).pw_uid
    except KeyError:
        die(f"--user: there is no user '{text}'")


def raise_all(
    handle: Flux, type: str, severity: int, note: str | None, states: int, userid: int, dry_run: bool
) -> tuple[int, int]:
    """Raise an exception on all jobs that match; gives (number of jobs, number of errors)."""
    payload = {"dry_run": dry_run, "userid": userid, "states": states, "type": type, "severity": severity}
    answer = handle.rpc("job-manager.raiseall", payload | ({} if note is None else {"note": note})).get()
    return answer["count"], answer["errors"]


def kill_all(handle: Flux, signum: int, userid: int, dry_run: bool) -> tuple[int, int]:
    """Signal all running jobs of a user; gives (number of jobs, number of errors)."""
    answer = handle.rpc("job-manager.killall", {"dry_run": dry_run, "userid": userid, "signum": signum}).get()
    return answer["count"], answer["errors"]
