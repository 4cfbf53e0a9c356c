"""What a plugin author loses when the host of plugins fails: being called, in order, with errors seen."""

from __future__ import annotations

import asyncio
import errno
from types import SimpleNamespace
from typing import Any

import pytest
import specs_example
from specs_example import hookimpl

from flux.discovery import PluginError
from flux.hooks.host import ErrorPolicy, HookFailure, PluginHost


def plugin(**functions: Any) -> SimpleNamespace:
    return SimpleNamespace(**{name: hookimpl(function) for name, function in functions.items()})


@pytest.fixture
def failures() -> list[HookFailure]:
    return []


@pytest.fixture
def host() -> PluginHost:
    return PluginHost("example", specs_example)


def test_plugins_are_called_in_load_order_with_the_arguments_they_name(host: PluginHost) -> None:
    host.register(plugin(on_greet=lambda who: f"1 {who}"), "one")
    host.register(plugin(on_greet=lambda volume, who: f"2 {who} {volume}"), "two")
    host.register(plugin(on_greet=lambda: None), "silent")
    assert host.call("on_greet", who="ann", volume=3) == ["1 ann", "2 ann 3"]
    assert host.names() == ["one", "two", "silent"]


def test_order_can_be_asked_for(host: PluginHost) -> None:
    host.register(SimpleNamespace(on_greet=hookimpl(trylast=True)(lambda who: "last")), "a")
    host.register(plugin(on_greet=lambda who: "middle"), "b")
    host.register(SimpleNamespace(on_greet=hookimpl(tryfirst=True)(lambda who: "first")), "c")
    assert host.call("on_greet", who="", volume=0) == ["first", "middle", "last"]


def test_a_misspelt_hook_is_refused_with_the_right_spelling(host: PluginHost) -> None:
    with pytest.raises(PluginError, match='on_gret, which is no hook of example; did you mean "on_greet"') as caught:
        host.register(plugin(on_gret=lambda who: None), "typo")
    assert caught.value.errno == errno.EINVAL
    assert host.names() == []


def test_a_misspelt_argument_is_refused_with_the_right_spelling(host: PluginHost) -> None:
    with pytest.raises(PluginError, match=r'no argument "volumes" .*did you mean "volume"'):
        host.register(plugin(on_greet=lambda volumes: None), "typo")


def test_a_hook_that_only_plugins_know_is_allowed_when_marked_optional(host: PluginHost) -> None:
    host.register(SimpleNamespace(custom=hookimpl(optionalhook=True)(lambda x: x + 1)), "p")
    assert host.call("custom", x=1, y=2) == [2]


def test_a_plugin_without_hooks_is_refused(host: PluginHost) -> None:
    with pytest.raises(PluginError, match="implements no hook"):
        host.register(SimpleNamespace(helper=len), "empty")


def test_a_forgotten_marker_is_refused(host: PluginHost) -> None:
    def on_greet(who: str) -> None: ...

    on_greet.__module__ = "some_plugin"
    with pytest.raises(PluginError, match="does not mark it with @hookimpl"):
        host.register(SimpleNamespace(__name__="some_plugin", on_greet=on_greet), "forgot")


def test_two_plugins_of_one_name_are_refused(host: PluginHost) -> None:
    host.register(plugin(on_greet=lambda: 1), "p")
    with pytest.raises(PluginError) as caught:
        host.register(plugin(on_greet=lambda: 2), "p")
    assert caught.value.errno == errno.EEXIST


def test_removing_a_plugin_ends_its_calls(host: PluginHost) -> None:
    host.register(plugin(on_greet=lambda: 1), "p")
    host.unregister("p")
    assert not host.has("on_greet")
    with pytest.raises(PluginError, match='no plugin "p"'):
        host.unregister("p")


def test_a_logged_error_is_counted_and_the_next_plugin_called() -> None:
    seen: list[HookFailure] = []
    host = PluginHost("example", specs_example, seen.append)

    def broken(who: str) -> None:
        raise ValueError("out of order")

    host.register(plugin(on_greet=broken), "broken")
    host.register(plugin(on_greet=lambda: "fine"), "fine")
    assert host.call("on_greet", who="x", volume=1) == ["fine"]
    assert [(f.plugin, f.policy, str(f)) for f in seen] == [
        ("broken", ErrorPolicy.LOG, "broken: on_greet: out of order")
    ]
    stats = host.stats()
    assert stats["broken"]["errors"] == 1
    assert stats["broken"]["last_error"] == "on_greet: out of order"
    assert stats["fine"]["calls"] == 1


def test_a_refusal_stops_the_call(host: PluginHost) -> None:
    def refuse(who: str) -> None:
        raise PermissionError("not you")

    called: list[str] = []
    host.register(plugin(on_admit=refuse), "door")
    host.register(plugin(on_admit=lambda who: called.append(who)), "later")
    with pytest.raises(PermissionError, match="not you"):
        host.call("on_admit", who="x")
    assert called == []


def test_the_first_result_ends_a_firstresult_hook(host: PluginHost) -> None:
    called: list[int] = []
    host.register(plugin(on_choose=lambda: None), "none")
    host.register(plugin(on_choose=lambda options: options[0]), "first")
    host.register(plugin(on_choose=lambda: called.append(1)), "never")
    assert host.call("on_choose", options=["a", "b"]) == ["a"]
    assert called == []


def test_awaitable_results_are_awaited_in_order(host: PluginHost) -> None:
    async def slow(who: str) -> str:
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turn.set_result, None)
        await turn
        return f"slow {who}"

    host.register(plugin(on_wait=slow), "slow")
    host.register(plugin(on_wait=lambda who: "plain"), "plain")
    assert asyncio.run(host.call_async("on_wait", who="x")) == ["slow x", "plain"]


def test_a_coroutine_is_refused_where_the_result_is_used_at_once(host: PluginHost) -> None:
    async def slow(who: str) -> None: ...

    with pytest.raises(PluginError, match="must be a plain function"):
        host.register(plugin(on_greet=slow), "slow")
