"""`flux kvs` and `flux content` as a user runs them (flux-kvs(1), flux-content(1))."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flux.testing import Instance, wait_for

FLUX = str(Path(sys.executable).with_name("flux"))
STORE = [f"--plugins={Path(__file__).parents[1] / 'plugins' / 'kvs' / 'store.toml'}"]


class Shell:
    """Runs `flux kvs` in an instance, in a namespace of its own."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.instance.run("flux", *words, env={"FLUX_KVS_NAMESPACE": "here"}, **options)

    def __call__(self, *words: str, **options: Any) -> str:
        done = self.run("kvs", *words, **options)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def fails(self, *words: str, code: int = 1, **options: Any) -> str:
        done = self.run("kvs", *words, **options)
        assert done.returncode == code
        return done.stderr


@pytest.fixture
def shell(instance: Callable[..., Instance]) -> Iterator[Shell]:
    shell = Shell(instance(size=2, args=STORE))
    shell("namespace", "create", "here")
    yield shell
    shell("namespace", "remove", "here")


def test_put_and_get(shell):
    shell("put", "a.b=1", "a.c=x=y", "empty=")
    assert shell("get", "a.b", "a.c", "empty") == "1\nx=y\n"
    assert shell("get", "--label", "a.b", "empty") == "a.b=1\nempty=\n"
    assert shell("get", "--raw", "a.c") == "x=y"
    assert json.loads(shell("get", "--treeobj", "a.b")) == {"data": "MQ==", "type": "val", "ver": 1}
    shell("put", "--append", "a.b=2")
    assert shell("get", "a.b") == "12\n"


def test_put_reads_standard_input_byte_by_byte(shell):
    data = "zero\0 and \n newline"
    shell("put", "--raw", "bin=-", input=data)
    assert shell("get", "--raw", "bin") == data
    shell("put", "--treeobj", "obj=-", input='{"ver":1,"type":"val","data":"eA=="}')
    assert shell("get", "obj") == "x\n"
    shell("put", "dash=-")
    assert shell("get", "dash") == "-\n"


def test_what_is_wrong_is_said_with_the_key(shell):
    shell("put", "dir.key=1")
    assert shell.fails("get", "none") == "flux-kvs: none: No such file or directory\n"
    assert shell.fails("get", "dir") == "flux-kvs: dir: Is a directory\n"
    assert shell.fails("dir", "dir.key") == "flux-kvs: dir.key: Not a directory\n"
    assert shell.fails("readlink", "dir") == "flux-kvs: dir: Invalid argument\n"
    assert "KEY=VALUE" in shell.fails("put", "novalue")
    assert "data, type, ver" in shell.fails("put", "--treeobj", "a={}")
    assert "no-such-ns" in shell.fails("get", "-N", "no-such-ns", "a")
    assert "did you mean 'getroot'" in shell.fails("getroots")
    assert "from 0 on" in shell.run("kvs", "get", "--count=-1", "dir.key").stderr


def test_roots_and_versions(shell):
    first = int(shell("put", "--sequence", "key=old"))
    root = shell("put", "--treeobj-root", "key=older").strip()
    assert shell("version") == f"{first + 1}\n"
    assert shell("getroot").strip() == root
    assert shell("getroot", "--sequence") == f"{first + 1}\n"
    assert json.loads(root)["data"] == [shell("getroot", "--blobref").strip()]
    shell("put", "key=new")
    assert shell("get", "--at", root, "key") == "older\n"
    assert shell("dir", "--at", root) == "key = older\n"
    shell("wait", str(first))


def test_ls_lists_like_ls(shell):
    shell("put", "d.one=1", "d.e.two=2", "file=3")
    shell("link", "d", "to_d")
    shell("mkdir", "none")
    assert shell("ls", "-1") == "d\nfile\nnone\nto_d\n"
    assert shell("ls", "-1F") == "d.\nfile\nnone.\nto_d@\n"
    assert shell("ls", "-1d", "d", "file") == "d\nfile\n"
    assert shell("ls", "-1", "file", "d", "to_d") == "file\n\nd:\ne\none\n\nto_d:\ne\none\n"
    assert shell("ls", "-1R", "d") == "d:\ne\none\n\nd.e:\ntwo\n"
    assert shell("ls", "--width=17").splitlines() == ["d       file", "none    to_d"]
    assert shell("ls", "-F", "--width=0") == "d.      file    none.   to_d@\n"
    assert shell("ls", "-dF", "file", "d") == "d.      file\n"
    listed = shell.run("kvs", "ls", "file", "nope")
    assert (listed.stdout, listed.returncode) == ("file\n", 1)
    assert "nope: No such file" in listed.stderr


def test_dir_shows_values(shell):
    shell("put", "d.one=1", "d.e.two=2", "long=" + "z" * 100)
    shell("link", "-T", "other", "x", "away")
    assert shell("dir", "-w20").splitlines() == ["away -> other::x", "d.", "long = zzzzzzzzzz..."]
    assert shell("dir", "-R", "d") == "d.e.two = 2\nd.one = 1\n"
    assert shell("dir", "-d") == "away -> other::x\nd.\nlong\n"


def test_unlink(shell):
    shell("put", "d.one=1", "file=2")
    assert shell.fails("unlink", "d") == "flux-kvs: d: Directory not empty\n"
    assert "none: No such file" in shell.fails("unlink", "none", "file")
    shell("unlink", "-f", "none", "file")
    shell("unlink", "-R", "d")
    assert shell("ls") == ""


def test_links(shell):
    shell("put", "d.one=1")
    shell("link", "d.one", "near")
    shell("link", "-T", "far", "key", "away")
    assert shell("get", "near") == "1\n"
    assert shell("readlink", "near", "away") == "d.one\nfar::key\n"
    assert shell("readlink", "-o", "near", "away") == "d.one\nfar\n"
    assert shell("readlink", "-k", "near", "away") == "d.one\nkey\n"


def test_copy_and_move_within_and_between_namespaces(shell):
    shell("put", "d.one=1")
    shell("copy", "d", "copied")
    shell("move", "d", "moved")
    shell("move", "-D", "primary", "moved", "from_here")
    assert shell("get", "copied.one") == "1\n"
    assert shell("get", "-N", "primary", "from_here.one") == "1\n"
    assert shell("ls") == "copied\n"


def test_namespaces(shell):
    assert "already" in shell.fails("namespace", "create", "here")
    listed = json.loads(shell("namespace", "list", "--json"))
    assert {"here", "primary"} <= {entry["namespace"] for entry in listed}
    assert shell("namespace", "list").splitlines()[0].split() == ["NAMESPACE", "OWNER", "FLAGS"]
    assert "primary" in shell.fails("namespace", "remove", "primary")


def test_watching_shows_values_until_the_count(shell):
    shell("put", "w=1")
    command = [FLUX, "kvs", "get", "--watch", "--count=3", "w"]
    env = {**shell.instance.env, "FLUX_KVS_NAMESPACE": "here"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        assert watch.stdout.readline() == "1\n"
        shell("put", "w=2")
        shell("put", "w=3")
        assert watch.stdout.read() == "2\n3\n"
    assert watch.returncode == 0


def test_waitcreate_waits(shell):
    env = {**shell.instance.env, "FLUX_KVS_NAMESPACE": "here"}
    with subprocess.Popen([FLUX, "kvs", "get", "-W", "later"], env=env, stdout=subprocess.PIPE, text=True) as waiting:
        stats = shell.instance.handle()
        wait_for(lambda: stats.rpc("kvs-watch.stats-get").get()["watchers"] == 1)
        shell("put", "later=now")
        assert waiting.communicate()[0] == "now\n"


def test_eventlogs(shell):
    shell("eventlog", "append", "-t", "1.5", "log", "submit", '{"a": 1,', '"b": "x"}')
    shell("eventlog", "append", "-t", "2", "log", "free")
    assert shell("eventlog", "get", "log") == '1.500000 submit a=1 b="x"\n2.000000 free\n'
    assert json.loads(shell("eventlog", "get", "-u", "log").splitlines()[0])["context"] == {"a": 1, "b": "x"}
    assert shell("eventlog", "get", "-w", "-c1", "log") == '1.500000 submit a=1 b="x"\n'
    assert shell("eventlog", "wait-event", "log", "free") == "2.000000 free\n"
    assert shell("eventlog", "wait-event", "-q", "log", "free") == ""
    assert len(shell("eventlog", "wait-event", "-v", "log", "free").splitlines()) == 2
    assert "timeout" in shell.fails("eventlog", "wait-event", "-t0.01", "log", "never")
    assert "nolog: No such" in shell.fails("eventlog", "get", "nolog")
    shell("put", "nolog=what is this\n")
    assert "no event" in shell.fails("eventlog", "get", "nolog")
    assert "JSON" in shell.fails("eventlog", "append", "log", "bad", "{")


def test_caches_and_sync(shell):
    shell("put", "key=1")
    shell("dropcache")
    shell("dropcache", "--all")
    assert shell("get", "key") == "1\n"
    shell("sync", "-N", "primary")
    assert "primary" in shell.fails("sync")


def test_content(shell):
    stored = shell.run("content", "store", input="hello")
    assert stored.stdout == "sha1-aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d\n"
    ref = stored.stdout.strip()
    assert shell.run("content", "load", ref, rank=1).stdout == "hello"
    assert shell.run("content", "flush").returncode == 0
    assert shell.run("content", "dropcache").returncode == 0
    assert shell.run("content", "load", "--bypass-cache", ref).stdout == "hello"
    chunks = shell.run("content", "store", "--chunksize=2", input="hello").stdout
    assert len(chunks.splitlines()) == 3
    assert shell.run("content", "load", *chunks.split(), rank=1).stdout == "hello"
    assert shell.run("content", "load", input=chunks + stored.stdout).stdout == "hellohello"
    assert len(shell.run("content", "store", "--chunksize=2", input="").stdout.split()) == 1
    assert "no number" in shell.run("content", "store", "--chunksize=-1", input="").stderr
    unknown = "sha1-" + "0" * 40
    some = shell.run("content", "load", ref, unknown)
    assert (some.stdout, some.returncode) == ("hello", 1)
    assert shell.run("content", "load", unknown).stderr == f"flux-content: {unknown}: No such file or directory\n"
    assert "no blobref" in shell.run("content", "load", "x").stderr


def test_content_checkpoints(tmp_path):
    with Instance(1, attrs={"statedir": str(tmp_path)}) as instance:
        instance.run("flux", "kvs", "put", "--sync", "a=1")
        root = instance.run("flux", "kvs", "getroot", "-b").stdout.strip()
        lines = instance.run("flux", "content", "checkpoint", "list").stdout.splitlines()
        assert lines[0].split() == ["Index", "Sequence", "Time", "Rootref"]
        assert lines[1].split()[0] == "0" and lines[1].split()[3] == root
        assert instance.run("flux", "content", "checkpoint", "list", "-n").stdout.splitlines() == lines[1:]
        newest = json.loads(instance.run("flux", "content", "checkpoint", "list", "--json").stdout.splitlines()[0])
        assert newest["rootref"] == root
        refused = instance.run("flux", "content", "checkpoint", "update", root)
        assert refused.returncode == 1 and "kvs module" in refused.stderr


def test_content_checkpoint_update(tmp_path):
    modules = ("state-machine", "attr", "log", "config", "groups", "rexec", "content", "content-sqlite")
    tables = "".join(f"[modules.{name}]\n" for name in modules)
    composition = tmp_path / "plugins.toml"
    composition.write_text(f"[bootstrap.single]\n[transports.local]\n{tables}")
    with Instance(1, attrs={"statedir": str(tmp_path)}, args=[f"--plugins={composition}"]) as instance:
        empty = instance.run("flux", "content", "checkpoint", "list")
        assert empty.returncode == 1
        ref = instance.run("flux", "content", "store", input='{"data":{},"type":"dir","ver":1}').stdout.strip()
        assert instance.run("flux", "content", "checkpoint", "update", ref).returncode == 0
        assert ref in instance.run("flux", "content", "checkpoint", "list").stdout
        wrong = instance.run("flux", "content", "checkpoint", "update", "sha1-zz")
        assert wrong.returncode == 1 and "no blobref" in wrong.stderr


def test_roots_as_blobrefs(shell):
    for words in (("put", "x.y=1"), ("mkdir", "x.d"), ("link", "x.y", "x.l"), ("unlink", "x.l")):
        shown = shell(words[0], "--blobref", *words[1:]).strip()
        assert shown == shell("getroot", "--blobref").strip()
    begun = shell("getroot", "-b").strip()
    shell("namespace", "create", "--rootref", begun, "begun")
    assert shell("get", "-N", "begun", "x.y") == "1\n"
    shell("namespace", "remove", "begun")
