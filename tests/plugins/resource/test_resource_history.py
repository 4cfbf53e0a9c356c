"""What the resource service knows of earlier runs: drained nodes stay drained, wherever their ranks went."""

from __future__ import annotations

import errno
import json
import math
from pathlib import Path
from typing import Any

import pytest

from flux import kvs
from flux.errors import FluxError
from flux.eventlog import Event, decode
from flux.idset import IDset
from flux.message import FLAG_STREAMING
from flux.testing import Instance, wait_for
from flux_plugins.resource.discovery import configured
from flux_plugins.resource.history import history_limit, replay, trimmed, with_ranks_of
from flux_plugins.resource.status import Status


def event(timestamp: float, name: str, ranks: str, hosts: str, **more: Any) -> Event:
    return Event(timestamp, name, {"idset": ranks, "nodelist": hosts, "overwrite": 0, **more})


def test_drains_follow_their_hosts_to_other_ranks() -> None:
    events = [
        Event(1.0, "restart", {"ranks": "0-3", "online": "", "nodelist": "n[0-3]"}),
        event(2.0, "drain", "1-2", "n[1-2]", reason="fan"),
        event(3.0, "undrain", "2", "n2"),
        event(4.0, "drain", "3", "n3"),
    ]
    assert with_ranks_of(events, ["n0", "n1", "n2", "n3"]) == events[1:]
    moved = with_ranks_of(events, ["n0", "x", "n1", "n2"])
    assert [(entry.context["idset"], entry.context["nodelist"]) for entry in moved] == [("2-3", "n[1-2]"), ("3", "n2")]
    status = Status(IDset("0-3"))
    replay(moved, status)
    assert status.drained_by_reason() == {"2": {"timestamp": 2.0, "reason": "fan"}}


def test_what_is_old_goes_but_not_what_is_still_drained() -> None:
    events = [
        Event(1.0, "resource-define", {"method": "configuration"}),
        event(2.0, "drain", "0-1", "n[0-1]", reason="fan"),
        event(3.0, "undrain", "0", "n0"),
        event(4.0, "drain", "2", "n2"),
        event(9.0, "undrain", "2", "n2"),
    ]
    assert trimmed(events, 1.0) == events
    assert trimmed(events, 5.0) == [
        event(2.0, "drain", "1", "n1", reason="fan"),
        event(4.0, "drain", "2", "n2"),
        event(9.0, "undrain", "2", "n2"),
    ]
    before, after = Status(IDset("0-3")), Status(IDset("0-3"))
    replay(events[1:], before)
    replay(trimmed(events, math.inf), after)
    assert before.drained == after.drained


@pytest.mark.parametrize(
    ("table", "limit"), [({}, 90 * 86400), ({"history": "2h"}, 7200), ({"history": "inf"}, math.inf)]
)
def test_how_long_events_are_kept(table: dict[str, Any], limit: float) -> None:
    assert history_limit(table) == limit


def test_a_history_that_is_no_time_is_refused() -> None:
    with pytest.raises(FluxError, match="history: invalid Flux standard duration 'soon'") as caught:
        history_limit({"history": "soon"})
    assert caught.value.errno == errno.EINVAL


def test_scheduling_data_goes_with_the_configured_resources(tmp_path: Path) -> None:
    extra = tmp_path / "graph.json"
    extra.write_text(json.dumps({"graph": {"nodes": [1]}}))
    table = {"config": [{"hosts": "n0", "cores": "0-3"}], "scheduling": str(extra)}
    inventory = configured({"resource": table}, ["n0"])
    assert inventory is not None and inventory.to_dict()["scheduling"] == {"graph": {"nodes": [1]}}
    extra.write_text("[]")
    with pytest.raises(FluxError, match=r"resource scheduling .*graph.json: not a JSON object"):
        configured({"resource": table}, ["n0"])


def journal(handle: Any) -> list[dict[str, Any]]:
    """The events that the journal has now."""
    events: list[dict[str, Any]] = []
    for response in handle.rpc("resource.journal", nodeid=0, flags=FLAG_STREAMING):
        if not response["events"]:
            break
        events += response["events"]
    return events


def test_the_journal_tells_of_earlier_runs(tmp_path: Path) -> None:
    conf = tmp_path / "flux.toml"
    conf.write_text('[resource]\nhistory = "0"\n')
    args = [f"-Sstatedir={tmp_path}", f"--config-path={conf}"]
    with Instance(2, args=args) as first:
        handle = first.handle()
        for targets in ("0", "1"):
            handle.rpc("resource.drain", {"targets": targets, "reason": f"fan {targets}"}, nodeid=0).get()
        handle.rpc("resource.undrain", {"targets": "0", "reason": "mended"}, nodeid=0).get()
    with Instance(2, args=args) as second:
        handle = second.handle()
        wait_for(lambda: handle.rpc("resource.status", nodeid=0).get()["online"] == "0-1", what="both ranks")
        drained = handle.rpc("resource.status", nodeid=0).get()["drain"]
        assert [entry["reason"] for entry in drained.values()] == ["fan 1"]
        events = journal(handle)
        assert [entry["name"] for entry in events[:3]] == ["drain", "restart", "resource-define"]
        assert events[0]["context"]["idset"] == "1" and events[0]["timestamp"] < events[1]["timestamp"]
        names = [entry.name for entry in decode(kvs.lookup_async(handle, "resource.eventlog").value())]
        assert names[:3] == ["drain", "restart", "resource-define"] and names.count("resource-define") == 1
