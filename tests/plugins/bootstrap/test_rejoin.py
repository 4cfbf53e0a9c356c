"""A broker of a configured instance that died is started again: it takes its rank, its children stay where they are."""

from __future__ import annotations

from pathlib import Path

from bootstrap_cluster import Cluster

import flux


def test_a_lost_broker_comes_back_with_its_rank(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3, ', { host = "n2", parent = "n1" }')
    try:
        for rank in range(3):
            cluster.start(rank, *(["-Sbroker.rc2_none=1"] if rank == 0 else []))
        cluster.wait_online("0-2")
        with flux.Flux(cluster.uri(2)) as handle:
            assert handle.rpc("overlay.parent").get() == {"rank": 1}
            cluster.brokers[1].kill()
            cluster.wait_online("0,2")
            cluster.brokers[1].communicate(timeout=40)
            cluster.start(1)
            cluster.wait_online("0-2")
            assert handle.rpc("overlay.parent").get() == {"rank": 0}
            assert [int(handle.rpc("broker.ping", {"seq": 1}, nodeid=r).get()["rank"]) for r in range(3)] == [0, 1, 2]
            handle.rpc("overlay.reparent", {"parent": 1}).get()
        with flux.Flux(cluster.uri(1)) as handle:
            assert int(handle.rpc("broker.ping", {"seq": 1}, nodeid=0).get()["rank"]) == 0
        cluster.wait_online("0-2")
        assert cluster.end() == 0
    finally:
        cluster.kill()
