"""Policies that follow the events of one job (flux_jobtap_job_subscribe(3))."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flux_plugins.job_manager.view import JobView

__all__ = ["Follower", "Subscriptions"]

Follower = Callable[[JobView, Mapping[str, Any]], Any]
"""Called with the job and an event of it."""


class Subscriptions:
    """Who follows which job, until it is inactive.

    Args:
        failed: told of the exceptions of followers.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._followers: dict[int, list[Follower]] = {}

    def __contains__(self, jobid: int) -> bool:
        return jobid in self._followers

    def add(self, jobid: int, follower: Follower) -> None:
        """Begin to follow a job; once more changes nothing."""
        followers = self._followers.setdefault(jobid, [])
        if follower not in followers:
            followers.append(follower)

    def remove(self, jobid: int, follower: Follower) -> None:
        """Follow a job no more, if it was followed."""
        followers = self._followers.get(jobid, [])
        if follower in followers:
            followers.remove(follower)
        if not followers:
            self._followers.pop(jobid, None)

    def drop(self, follower: Follower) -> None:
        """Follow no job any more."""
        for jobid in list(self._followers):
            self.remove(jobid, follower)

    def publish(self, view: JobView, event: Mapping[str, Any]) -> None:
        """An event was posted to a job that is followed."""
        for follower in tuple(self._followers[view.id]):
            try:
                follower(view, event)
            except Exception as exc:
                self._failed(exc)
        if event["name"] == "clean":
            self.end(view.id)

    def end(self, jobid: int) -> None:
        """A job is over, or was refused."""
        self._followers.pop(jobid, None)
