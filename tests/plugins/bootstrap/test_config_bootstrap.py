"""Instances whose brokers are listed in the configuration."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from bootstrap_cluster import FLUX, Cluster, keygen

from flux.certificate import Certificate, read_certificate, write_certificate
from flux.errors import FluxError
from flux.testing import wait_for
from flux_plugins.bootstrap.config import ConfigBootstrap


def boot(hostname: str, **table: Any) -> ConfigBootstrap:
    return ConfigBootstrap({"FLUX_FAKE_HOSTNAME": hostname}, {"bootstrap": table})


def test_rank_endpoints_and_parents_follow_from_the_hosts(tmp_path: Path) -> None:
    method = boot(
        "foo18",
        curve_cert=str(keygen(tmp_path / "cert")),
        default_port=8050,
        default_bind="tcp://eth0:%p",
        default_connect="tcp://e%h:%p",
        hosts=[
            {"host": "foo[0-3,18,4,20]"},
            {"host": "foo0", "bind": "tcp://en4:9001", "connect": "tcp://mgmt:9001"},
            {"host": "foo[3,18]", "parent": "foo1"},
        ],
    )
    info = method.open()
    assert (info.rank, info.size, info.attrs["hostname"]) == (4, 7, "foo18")
    assert [method.lookup(rank)["host"] for rank in range(7)] == "foo0 foo1 foo2 foo3 foo18 foo4 foo20".split()
    assert method.lookup(0)["uri"] == ["tcp://mgmt:9001"]
    assert method.lookup(6)["uri"] == ["tcp://efoo20:8050"]
    assert method.endpoint() == "tcp://eth0:8050"
    assert method.parents == {3: 1, 4: 1}
    assert not method.ipv6
    assert method.certificate is not None and method.lookup(1)["pubkey"] == method.certificate[0]


def test_without_hosts_the_broker_is_alone_on_whatever_host() -> None:
    info = ConfigBootstrap({}, {"bootstrap": {}}).open()
    assert (info.rank, info.size, info.attrs["hostname"]) == (0, 1, socket.gethostname())


def test_the_part_before_the_first_dot_is_enough() -> None:
    assert boot("fluke0.example.org", hosts=[{"host": "fluke0"}]).open().attrs["hostname"] == "fluke0"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"hosts": [{"host": "b[0-3]"}]}, r"this host, a0, is not among the bootstrap.hosts b\[0-3\]"),
        ({"hosts": [{"host": "a[0-1]"}]}, "curve_cert is needed for an instance of 2 brokers"),
        ({"hosts": [{"host": "a0["}]}, r"bootstrap.hosts\[0\]: "),
        ({"hosts": [{"host": "a0", "prent": "x"}]}, r"\[bootstrap\]: .*prent.*bootstrap.hosts"),
        ({"hosts": [{"bind": "tcp://*:1"}]}, "missing required field `host`"),
        ({"defaultport": 1}, "unknown field `defaultport`"),
        ({"default_port": "8050"}, "Expected `int"),
        ({"hosts": [{"host": "a0", "parent": "zz"}]}, "zz, the parent of a0, is not among the hosts"),
        ({"hosts": [{"host": "a[0-1]"}], "curve_cert": "/dev/null/cert"}, "certificate /dev/null/cert: Not a dir"),
    ],
)
def test_what_is_wrong_with_the_table_is_said(table: dict[str, Any], says: str) -> None:
    with pytest.raises(FluxError, match=says):
        boot("a0", **table).open()


@pytest.mark.parametrize(
    ("table", "says"),
    [({}, "needs `bind`"), ({"default_bind": "tcp://*:%p"}, "has %p, but there is no default_port")],
)
def test_a_broker_with_children_needs_an_endpoint(table: dict[str, Any], says: str) -> None:
    method = boot("a0", hosts=[{"host": "a0"}], **table)
    method.open()
    with pytest.raises(FluxError, match=says):
        method.endpoint()


def test_a_certificate_is_read_as_written(tmp_path: Path) -> None:
    path = str(tmp_path / "cert")
    written = Certificate("p" * 39 + "#", "s" * 39 + "=", {"name": "a b", "x.y": "1=2"})
    write_certificate(path, written)
    assert read_certificate(path) == written
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["cert"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_certificate_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = keygen(tmp_path / "cert")
    path.chmod(mode)
    with pytest.raises(FluxError, match=f"has mode 0{mode:o}"):
        read_certificate(str(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_foreign_certificate_is_refused(tmp_path: Path) -> None:
    path = keygen(tmp_path / "cert")
    os.chown(path, 12345, -1)
    with pytest.raises(FluxError, match="belongs to user 12345"):
        read_certificate(str(path))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("curve\n    public-key = \"short\"\n", "no public-key of 40"),
        ("", "no public-key"),
        ("curve\n    = x\n", "cert:2: expected NAME"),
        ("\udcff", "is not text"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_certificate(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "cert"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    path.chmod(0o600)
    with pytest.raises(FluxError, match=says):
        read_certificate(str(path))


def test_keygen_notes_what_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cert"
    words = [FLUX, "keygen", "--name=test", "--meta=a=1,b=2", "--meta", "a=3", str(path)]
    subprocess.run(words, check=True, timeout=60)
    metadata = read_certificate(str(path)).metadata
    assert (metadata["name"], metadata["a"], metadata["b"]) == ("test", "3", "2")
    assert metadata["keygen.userid"] == str(os.getuid())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--meta=nonsense"], "KEY=VALUE"),
        (["--meta=a b=1"], "'a b'"),
        (["/dev/null/cert"], "/dev/null/cert: Not a dir"),
    ],
)
def test_keygen_refuses(words: list[str], says: str) -> None:
    result = subprocess.run([FLUX, "keygen", *words], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert says in result.stderr


@pytest.fixture
def cluster(tmp_path: Path) -> Any:
    made: list[Cluster] = []

    def make(size: int, extra: str = "") -> Cluster:
        made.append(Cluster(tmp_path, size, extra))
        return made[-1]

    yield make
    for each in made:
        each.kill()


def test_children_may_start_before_their_parents(cluster: Any) -> None:
    brokers = cluster(3, ', { host = "n2", parent = "n1" }')
    for rank in (2, 1):
        brokers.start(rank)
    program = "flux getattr size; flux getattr hostlist; flux getattr tbon.topo; flux getattr tbon.maxlevel"
    leader = brokers.start(0, "sh", "-c", program)
    assert leader.communicate(timeout=40)[0].split() == ["3", "n[0-2]", "custom", "2"]
    assert [broker.wait(30) for broker in brokers.brokers.values()] == [0, 0, 0]


def test_late_joiners_and_one_that_comes_back(cluster: Any) -> None:
    brokers = cluster(3)
    brokers.start(0, "-Sbroker.quorum=1", "-Sbroker.rc2_none=1")
    brokers.wait_online("0")
    brokers.start(2)
    brokers.wait_online("0,2")
    brokers.start(1)
    brokers.wait_online("0-2")
    brokers.brokers[2].kill()
    brokers.brokers[2].communicate(timeout=40)
    brokers.wait_online("0-1")
    brokers.start(2)
    brokers.wait_online("0-2")
    assert brokers.end() == 0


def test_a_wrong_certificate_is_refused_by_both_ends(cluster: Any, tmp_path: Path) -> None:
    brokers = cluster(2)
    brokers.start(0, "-Sbroker.quorum=1", "-Sbroker.rc2_none=1")
    brokers.wait_online("0")
    other = brokers.start(1, certificate=keygen(tmp_path / "other"))
    output = other.communicate(timeout=30)[0]
    assert other.returncode == 1
    assert "did not accept our key" in output
    dmesg = [FLUX, "dmesg"]
    env = {**os.environ, "FLUX_URI": brokers.uri(0)}

    def is_logged() -> bool:
        log = subprocess.run(dmesg, env=env, capture_output=True, text=True, timeout=60, check=True).stdout
        return "does not speak CURVE" in log or "refused connection" in log

    wait_for(is_logged, what="what rank 0 says of it")


def test_a_syntax_error_is_found_by_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[bootstrap]\nhosts = [\n{ host = }\n]\n")
    result = subprocess.run(
        [FLUX, "broker", f"--config-path={tmp_path}", "true"], capture_output=True, text=True, timeout=30
    )
    assert result.returncode == 1
    assert f"{tmp_path}/a.toml" in result.stderr and "line 3" in result.stderr


def test_the_configuration_is_found_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[bootstrap]\nhosts = [{ host = "elsewhere" }]\n')
    env = {**os.environ, "FLUX_CONF_DIR": str(tmp_path)}
    result = subprocess.run([FLUX, "start", "true"], env=env, capture_output=True, text=True, timeout=30)
    assert result.returncode == 1
    assert "is not among the bootstrap.hosts elsewhere" in result.stderr
