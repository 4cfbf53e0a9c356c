"""Attributes statedir and statedir-cleanup: where content outlasts an instance, and what is left behind."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from flux.errors import FluxError
from flux.testing import Instance
from flux_kernel.attributes import Attributes
from flux_plugins.statedir import StateDir


def table(path: Path, cleanup: str | None = None) -> Attributes:
    attrs = Attributes()
    attrs.set("statedir", str(path))
    attrs.set("statedir-cleanup", cleanup)
    return attrs


def test_content_outlasts_the_instance_in_a_folder_that_was_there(tmp_path: Path) -> None:
    with Instance(1, attrs={"statedir": str(tmp_path)}) as instance:
        assert instance.run("flux", "kvs", "put", "kept=1").returncode == 0
    with Instance(1, attrs={"statedir": str(tmp_path)}) as instance:
        assert instance.run("flux", "kvs", "get", "kept").stdout == "1\n"


def test_content_outlasts_an_instance_whose_store_was_loaded_again(tmp_path: Path) -> None:
    with Instance(1, attrs={"statedir": str(tmp_path)}) as instance:
        for verb in ("remove", "load"):
            assert instance.run("flux", "module", verb, "content-sqlite").returncode == 0
        assert instance.run("flux", "kvs", "put", "kept=1").returncode == 0
    with Instance(1, attrs={"statedir": str(tmp_path)}) as instance:
        assert instance.run("flux", "kvs", "get", "kept").stdout == "1\n"


def test_folder_that_the_broker_made_is_gone_with_it(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with Instance(1, attrs={"statedir": str(path)}) as instance:
        assert (path / "content.sqlite").exists()
        assert instance.run("flux", "getattr", "statedir-cleanup").stdout == "1\n"
    assert not path.exists()


@pytest.mark.parametrize(("there", "cleanup", "left"), [(True, "1", False), (False, "0", True)])
def test_cleanup_overrides(tmp_path: Path, there: bool, cleanup: str, left: bool) -> None:
    path = tmp_path / "state"
    if there:
        path.mkdir()
    StateDir(table(path, cleanup)).close()
    assert path.exists() == left


def test_sticky_folder_gets_one_in_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    attrs = table(tmp_path)
    made = StateDir(attrs)
    path = Path(attrs["statedir"])
    assert (path.parent, stat.S_IMODE(path.stat().st_mode)) == (tmp_path, 0o700)
    made.close()
    assert not path.exists()


@pytest.mark.parametrize(
    ("path", "cleanup", "errnum"),
    [("no/such/parent", "1", errno.ENOENT), ("file", "1", errno.ENOTDIR), ("", "yes", errno.EINVAL)],
)
def test_refusals(tmp_path: Path, path: str, cleanup: str, errnum: int) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FluxError) as caught:
        StateDir(table(tmp_path / path, cleanup))
    assert caught.value.errno == errnum


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a folder of somebody else")
def test_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    path.mkdir()
    os.chown(path, 12345, -1)
    with pytest.raises(FluxError, match="belongs to user 12345") as caught:
        StateDir(table(path))
    assert caught.value.errno == errno.EPERM
