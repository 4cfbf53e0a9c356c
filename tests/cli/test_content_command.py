"""flux content as its users see it, option by option (flux-content(1))."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flux.hashes import hasher
from flux.testing import Instance

STORE = [f"--plugins={Path(__file__).parents[1] / 'plugins' / 'kvs' / 'store.toml'}"]
UNKNOWN = "sha1-" + "0" * 40


def blobref(data: str) -> str:
    return f"sha1-{hasher('sha1')(data.encode()).hexdigest()}"


@pytest.fixture
def content(instance: Callable[..., Instance]) -> Callable[..., Any]:
    running = instance(size=2, args=STORE)

    def run(*words: str, code: int = 0, **options: Any) -> Any:
        done = running.run("flux", "content", *words, **options)
        assert done.returncode == code, done.stderr
        return done

    return run


@pytest.mark.parametrize("bypass", [[], ["-b"], ["--bypass-cache"]])
def test_what_is_stored_on_one_rank_is_loaded_on_another(content, bypass):
    text = f"one blob {bypass}"
    assert content("store", *bypass, input=text, rank=1).stdout == f"{blobref(text)}\n"
    content("flush")
    content("dropcache", rank=1)
    assert content("load", *bypass, blobref(text), rank=1).stdout == text
    assert content("load", *bypass, input=f"{blobref(text)}\n").stdout == text


def test_chunks_are_put_together_in_order(content):
    refs = content("store", "--chunksize=4", input="onetwothree").stdout.split()
    assert refs == [blobref(part) for part in ("onet", "woth", "ree")]
    assert content("load", *refs, rank=1).stdout == "onetwothree"
    assert content("store", "--chunksize=0", input="onetwothree").stdout.split() == [blobref("onetwothree")]
    assert content("store", input="").stdout.split() == [blobref("")]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["load"], "no blobrefs were specified"),
        (["load", UNKNOWN], f"{UNKNOWN}: No such file or directory"),
        (["load", "-b", UNKNOWN], f"{UNKNOWN}: No such file or directory"),
        (["load", "nonsense"], "'nonsense' is no blobref"),
        (["load", "sha256-" + "0" * 64], "20 bytes, not 32"),
        (["store", "--chunksize=-1"], "'-1' is no number of bytes"),
        (["store", "extra"], "unrecognized arguments: extra"),
        (["flush", "extra"], "unrecognized arguments: extra"),
        (["checkpoint", "update"], "BLOBREF"),
        (["checkpoint", "update", UNKNOWN], "unload the kvs module first"),
        (["checkpoint"], "list, update"),
        (["remove"], "there is no command 'remove'"),
        ([], "which command?"),
    ],
)
def test_errors_say_what_is_wrong(content, words, text):
    assert text in content(*words, code=1, input="").stderr


def test_what_could_be_loaded_is_written_before_the_error(content):
    content("store", input="first")
    assert content("load", blobref("first"), UNKNOWN, code=1).stdout == "first"


def test_checkpoints_are_listed_and_updated():
    with Instance(1, args=STORE) as running:
        run = running.run
        assert "there is no checkpoint" in run("flux", "content", "checkpoint", "list").stderr
        run("flux", "kvs", "put", "--sync", "a=1")
        root = run("flux", "kvs", "getroot", "-b").stdout.strip()
        header, row = run("flux", "content", "checkpoint", "list").stdout.splitlines()
        assert header.split() == ["Index", "Sequence", "Time", "Rootref"]
        assert row.split()[3] == root
        assert run("flux", "content", "checkpoint", "list", "-n").stdout.splitlines() == [row]
        for word in ("-j", "--json"):
            found = json.loads(run("flux", "content", "checkpoint", "list", word).stdout)
            assert (found["version"], found["rootref"]) == (1, root)
        run("flux", "kvs", "put", "--sync", "a=2")
        for name in ("kvs-watch", "kvs"):
            assert run("flux", "module", "remove", name).returncode == 0
        assert "no blobref" in run("flux", "content", "checkpoint", "update", "nonsense").stderr
        assert run("flux", "content", "checkpoint", "update", root).returncode == 0
        assert run("flux", "module", "load", "kvs").returncode == 0
        assert run("flux", "kvs", "get", "a").stdout == "1\n"
