"""broker.getenv, broker.setenv, broker.conf-builtin: what scripts ask of the broker's own process."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

import pytest

from flux.errors import FluxError
from flux.testing import Instance

COMPOSITION = """
[bootstrap.pmi]
[transports.local]
[modules.log]
[modules.attr]
[modules.broker-env]
[modules.groups]
[modules.state-machine]
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    file = tmp_path_factory.mktemp("composition") / "plugins.toml"
    file.write_text(COMPOSITION)
    with Instance(1, args=[f"--plugins={file}"], env={"SITE_SAYS": "hello"}) as instance:
        yield instance


def ask(instance: Instance, method: str, payload: Any) -> Any:
    with instance.handle() as handle:
        return handle.rpc(f"broker.{method}", payload).get()


def test_environment_is_read_and_changed(running: Instance) -> None:
    names = {"names": ["SITE_SAYS", "SITE_NEW", "NOT_SET"]}
    assert ask(running, "getenv", names) == {"env": {"SITE_SAYS": "hello"}}
    ask(running, "setenv", {"env": {"SITE_SAYS": None, "SITE_NEW": "1"}})
    assert ask(running, "getenv", names) == {"env": {"SITE_NEW": "1"}}


@pytest.mark.parametrize("env", [{"A=B": "1"}, {"": "1"}, {"A": 1}, {"A": "1\0"}, ["A"]])
def test_what_is_no_environment_is_refused_and_changes_nothing(running: Instance, env: Any) -> None:
    if isinstance(env, dict):
        env = {"SITE_BEFORE": "1", **env}
    with pytest.raises(FluxError) as caught:
        ask(running, "setenv", {"env": env})
    assert caught.value.errno == errno.EPROTO
    assert ask(running, "getenv", {"names": ["SITE_BEFORE"]}) == {"env": {}}


def test_builtin_values(running: Instance) -> None:
    answer = ask(running, "conf-builtin", {"keys": ["shell_path", "rc1_path"]})["values"]
    assert answer["shell_path"].endswith("/flux-shell")
    assert answer["rc1_path"] == ""
    with pytest.raises(FluxError, match="nonsense: invalid key") as caught:
        ask(running, "conf-builtin", {"keys": ["shell_path", "nonsense"]})
    assert caught.value.errno == errno.EINVAL


def test_the_methods_go_with_their_module(running: Instance) -> None:
    def call() -> Any:
        return ask(running, "getenv", {"names": ["PATH"]})

    assert running.run("flux", "module", "remove", "broker-env").returncode == 0
    with pytest.raises(FluxError, match="Unknown service method") as caught:
        call()
    assert caught.value.errno == errno.ENOSYS
    assert running.run("flux", "module", "load", "broker-env").returncode == 0
    assert call()["env"]["PATH"]
    assert ask(running, "ping", {"seq": 1})["seq"] == 1
