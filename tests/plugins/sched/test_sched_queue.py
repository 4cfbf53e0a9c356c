"""Order of the jobs that wait for resources."""

from __future__ import annotations

from flux.allocation.request import ResourceRequest
from flux_plugins.sched.queue import Pending, Queue


def fill(*jobs: tuple[int, int, float]) -> Queue:
    queue = Queue()
    for jobid, priority, t_submit in jobs:
        queue.add(Pending(jobid, priority, t_submit, ResourceRequest(0, 1, 1), None))
    return queue


def drain(queue: Queue) -> list[int]:
    order = []
    while (job := queue.first()) is not None:
        order.append(job.id)
        queue.remove(job.id)
    return order


def test_priority_comes_before_age() -> None:
    assert drain(fill((1, 16, 2.0), (2, 16, 1.0), (3, 20, 9.0))) == [3, 2, 1]


def test_a_priority_may_change_while_waiting() -> None:
    queue = fill((1, 16, 1.0), (2, 16, 2.0), (3, 16, 3.0))
    queue.prioritize(3, 31)
    queue.prioritize(1, 0)
    queue.prioritize(99, 5)
    assert len(queue) == 3
    assert drain(queue) == [3, 2, 1]


def test_a_job_that_was_removed_and_came_back_counts_once() -> None:
    queue = fill((1, 16, 1.0), (2, 16, 2.0))
    assert queue.remove(1) is not None
    assert queue.remove(1) is None
    queue.add(Pending(1, 10, 1.0, ResourceRequest(0, 1, 1), None))
    assert 1 in queue
    assert drain(queue) == [2, 1]
