"""Records of modules in the log: bound with rank, module and topic, and rendered by structlog into lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flux.errors import FluxError
from flux.module.log import PlainLogger, render
from flux.testing import Instance, wait_for
from flux_plugins.log.records import make_logger
from flux_plugins.log.ring import Entry, parse_entry

SPEAKER = """
from flux.module import Module, event, request


class Speaker(Module):
    name = "speaker"

    @request("plain")
    def plain(self, msg):
        self.log.notice("said plainly", words=2, to="all of you")

    @request("later")
    async def later(self, msg):
        await self.flux.rpc("broker.ping", {})
        self.log.bind(job="ab").warning("said later")

    @request("bad")
    def bad(self, msg):
        raise KeyError("no such word")

    @event("speaker.heard")
    def heard(self, msg):
        self.log.info("heard")
"""


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    path = tmp_path_factory.mktemp("speaker") / "speaker.py"
    Path(path).write_text(SPEAKER)
    with Instance(2, attrs={"log-stderr-level": "-1"}) as instance:
        for rank, options in ((0, []), (1, ["--exec"])):
            done = instance.run("flux", "module", "load", *options, str(path), rank=rank)
            assert done.returncode == 0, done.stderr
        yield instance


def said(handle: Any) -> list[Entry]:
    request = handle.rpc("log.dmesg", {"follow": False}, flags=2)
    texts = []
    try:
        while True:
            texts.append(request.get_str())
            request.reset()
    except FluxError:
        pass  # the end of the stream
    entries = [entry for entry in map(parse_entry, texts) if entry.appname == "speaker"]
    first = next((i for i, entry in enumerate(entries) if entry.message.startswith("said plainly")), 0)
    return entries[first:]  # without an event of the other rank's test


@pytest.mark.parametrize("rank", [0, 1], ids=["in the broker", "isolated"])
def test_records_of_a_module(speaking: Instance, rank: int) -> None:
    handle = speaking.handle(rank)
    handle.rpc("speaker.plain", {}).get()
    handle.rpc("speaker.later", {}).get()
    with pytest.raises(FluxError):
        handle.rpc("speaker.bad", {}).get()
    handle.event_send("speaker.heard", {})
    wait_for(lambda: said(handle)[-1].message.startswith("heard"), what="the event")
    lines = said(handle)
    assert {entry.rank for entry in lines} == {str(rank)}
    shown = [(entry.severity, entry.message) for entry in lines]
    assert shown[:3] == [
        (5, "said plainly words=2 to='all of you' topic=speaker.plain"),
        (4, "said later job=ab topic=speaker.later"),
        (3, "speaker.bad failed"),
    ]
    assert shown[3][1].startswith("Traceback")
    assert shown[-2:] == [(3, "KeyError: 'no such word'"), (6, "heard topic=speaker.heard")]


class Wire:
    """Stands for a handle: keeps what is sent."""

    log_topic = ""
    log_name = "who"

    def __init__(self) -> None:
        self.lines: list[str] = []

    def send_message(self, msg: Any) -> None:
        self.lines.append(msg.payload_str)

    def log(self, level: int, text: str) -> None:
        self.lines.append(f"<{level << 3}>1 - 3 who - - - {text}")


@pytest.mark.parametrize("make", [make_logger, PlainLogger])
def test_both_loggers_render_alike(make: Any) -> None:
    wire = Wire()
    logger = make(wire, {"rank": "3", "module": "who"}).bind(a=1)
    logger.error("it broke", b="x y")
    logger.log(7, "fine")
    entries = [parse_entry(line) for line in wire.lines]
    assert [(e.severity, e.rank, e.appname, e.message) for e in entries] == [
        (3, "3", "who", "it broke a=1 b='x y'"),
        (7, "3", "who", "fine a=1"),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [("word", "word"), ("two words", "'two words'"), ("", "''"), ("a=b", "'a=b'"), ("x\ny", r"'x\ny'"), (1.5, "1.5")],
)
def test_values_that_are_no_single_word_are_quoted(value: Any, text: str) -> None:
    assert render("e", {"key": value, "rank": 1, "module": "m"}) == f"e key={text}"


EARLY = """
from flux.module import Module


class Early(Module):
    name = "early"
    stage = "boot"
    before = ("overlay",)

    def start(self):
        self.log.error("said before there was anybody to hear it")
"""


def test_what_is_logged_before_the_broker_has_a_parent_gets_to_rank_0(tmp_path: Path) -> None:
    (tmp_path / "early.py").write_text(EARLY)
    composition = tmp_path / "plugins.toml"
    composition.write_text('extends = "default"\n[modules.early]\nuse = "./early.py"\n')
    attrs = {"log-stderr-level": "-1", "log-filename": str(tmp_path / "log")}
    with Instance(2, args=[f"--plugins={composition}"], attrs=attrs) as instance:
        for rank in (0, 1):
            assert "said before" in instance.run("flux", "dmesg", rank=rank).stdout
        wait_for(lambda: (tmp_path / "log").read_text().count("said before") == 2, what="both lines on rank 0")
