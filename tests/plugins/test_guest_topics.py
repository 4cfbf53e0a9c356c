"""A guest asks for everything that the default composition answers: each topic is open or closed by decision."""

from __future__ import annotations

import errno
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import guest_topics
import pytest

from flux.errors import FluxError
from flux.message import FLAG_STREAMING, ROLE_USER, Message
from flux.module.defaults import DEFAULT_HANDLERS
from flux.testing import Instance

GUEST = 65534
GENERATOR = Path(__file__).parents[2] / "docs" / "tools" / "topics.py"
SILENT = ("disconnect", "cancel")
"""Ends of the topics that get no answer."""


@pytest.fixture(scope="module")
def modules() -> dict[str, Any]:
    """Every builtin module by its name, as the reference of topics finds them."""
    spec = importlib.util.spec_from_file_location("topics_generator", GENERATOR)
    assert spec is not None and spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    return {name: generator.handlers_of(cls) for name, cls in generator.modules().items()}


@pytest.fixture(scope="module")
def registered(modules: dict[str, Any]) -> set[str]:
    """Every topic that has a handler."""
    defaults = [handler.topic for handler in DEFAULT_HANDLERS]
    own = {topic for handlers in modules.values() for topic in handlers}
    return own | {f"{name}.{topic}" for name in modules for topic in defaults}


@pytest.fixture(scope="module")
def closed(modules: dict[str, Any]) -> set[str]:
    own_open = guest_topics.topics(guest_topics.OPEN, "", [])
    own_closed = guest_topics.topics(guest_topics.CLOSED, guest_topics.EVERY_MODULE_CLOSED, list(modules))
    assert own_open & own_closed == set()
    return own_closed


@pytest.fixture(scope="module")
def opened(modules: dict[str, Any], closed: set[str]) -> set[str]:
    return guest_topics.topics(guest_topics.OPEN, guest_topics.EVERY_MODULE_OPEN, list(modules)) - closed


@pytest.fixture
def as_guest(instance: Callable[..., Instance]) -> Callable[[str], FluxError | None]:
    """Send an empty request with a guest's credential over the owner's connection; gives the error."""
    handle = instance(size=1).handle()
    start = handle.session.start_rpc

    def start_as_guest(rpc: Any, msg: Message) -> None:
        msg.userid, msg.rolemask = GUEST, ROLE_USER
        start(rpc, msg)

    handle.session.start_rpc = start_as_guest

    def ask(topic: str) -> FluxError | None:
        call = handle.rpc(topic, {}, flags=FLAG_STREAMING)
        try:
            call.wait_for(30)
            call.get()
        except FluxError as exc:
            return exc
        return None

    return ask


def test_each_topic_is_decided_for_guests(registered: set[str], opened: set[str], closed: set[str]) -> None:
    assert registered - opened - closed == set(), "decide for guests in tests/plugins/guest_topics.py"
    assert (opened | closed) - registered == set(), "tests/plugins/guest_topics.py names what no module answers"


def test_each_mark_of_a_handler_says_what_is_decided(modules: dict[str, Any], opened: set[str]) -> None:
    marks = {topic: handler.allow for handlers in modules.values() for topic, handler in handlers.items()}
    assert {topic for topic, allow in marks.items() if bool(allow & ROLE_USER) != (topic in opened)} == set()


def test_every_running_module_is_looked_at(instance: Callable[..., Instance], modules: dict[str, Any]) -> None:
    loaded = {module["name"] for module in instance(size=1).handle().rpc("module.list").get()["mods"]}
    assert loaded <= set(modules)


def test_guests_get_what_is_open_and_nothing_else(
    instance: Callable[..., Instance],
    as_guest: Callable[[str], FluxError | None],
    modules: dict[str, Any],
    opened: set[str],
    closed: set[str],
) -> None:
    loaded = {module["name"] for module in instance(size=1).handle().rpc("module.list").get()["mods"]}
    there = {topic for name in loaded for topic in modules[name]}
    there |= {f"{name}.{handler.topic}" for name in loaded for handler in DEFAULT_HANDLERS}
    wrong = {}
    for topic in sorted(there):
        if topic.endswith(SILENT) and topic in opened:
            continue
        error = as_guest(topic)
        refused = error is not None and error.errno == errno.EPERM
        if refused != (topic in closed) or (refused and str(error) != "Request requires owner credentials"):
            wrong[topic] = error
    assert wrong == {}
