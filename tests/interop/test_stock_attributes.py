"""Attributes, the log and nested instances beside a stock flux: the same names, defaults, lines and places."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from flux.testing import Instance

Stock = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.interop

ABSENT = {
    "broker.rc1_path": "the composition starts services here; set, it replaces that",
    "broker.rc3_path": "as broker.rc1_path",
    "conf.shell_initrc": "the shell finds its own initrc",
    "conf.shell_pluginpath": "the shell finds its own plugins",
    "rundir-cleanup": "who makes a rundir removes it",
    "statedir": "there is one only where it is given; the store is in rundir else",
    "statedir-cleanup": "as statedir",
}
"""Names of a stock broker that ours shows only when they are set, and why."""

OWN_VALUE = {
    "broker.boot-method": "bootstrap plugins have names, stock has methods",
    "broker.pid": "another process",
    "broker.quorum-warn": "the same time, written 60s and 1m",
    "broker.shutdown-warn": "as broker.quorum-warn",
    "broker.starttime": "another start",
    "broker.unload-builtins-timeout": "as broker.quorum-warn",
    "broker.uuid": "another broker",
    "local-uri": "another instance",
    "rundir": "another instance",
    "tbon.endpoint": "another instance",
    "version": "the release whose protocol is spoken, without the commit",
}


def values(listing: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(" ") for line in listing.splitlines())}


def test_names_and_defaults_are_those_of_stock(stock_flux: str, instance: Callable[..., Instance]) -> None:
    theirs = subprocess.run(
        [stock_flux, "start", "-s2", stock_flux, "lsattr", "-v"], capture_output=True, text=True, timeout=60
    )
    assert theirs.returncode == 0, theirs.stderr
    ours = values(instance(2).run("flux", "lsattr", "-v").stdout)
    stock = values(theirs.stdout)
    assert sorted(stock.keys() - ours.keys() - ABSENT.keys()) == []
    differing = {name: (value, ours[name]) for name, value in stock.items() if ours.get(name, value) != value}
    assert {name: pair for name, pair in differing.items() if name not in OWN_VALUE} == {}


def test_stock_lsattr_and_setattr_here(stock: Stock) -> None:
    listing = stock("lsattr", "-v")
    assert listing.returncode == 0, listing.stderr
    assert values(listing.stdout)["log-ring-size"] == "1024"
    for name, value in (("rank", "3"), ("nosuch", "3"), ("log-level", "3"), ("log-stderr-level", "99")):
        refused = stock("setattr", name, value)
        assert (refused.returncode, name in refused.stderr) == (1, True)


def test_stock_dmesg_and_logger_here(stock: Stock) -> None:
    for severity in ("err", "notice", "debug"):
        assert stock("logger", f"--severity={severity}", "--appname=tool", f"at {severity}").returncode == 0
    printed = stock("dmesg").stdout.splitlines()
    mine = [line.split(" ", 1)[1] for line in printed if " tool." in line]
    assert mine == ["tool.err[0]: at err", "tool.notice[0]: at notice", "tool.debug[0]: at debug"]
    human = stock("dmesg", "-H", "--color=always")
    assert (human.returncode, "\033[31mat err" in human.stdout) == (0, True)
    assert "at err" in stock("dmesg", "-c").stdout
    assert stock("dmesg").stdout == ""


def test_our_dmesg_prints_what_stock_prints(stock: Stock, instance: Callable[..., Instance]) -> None:
    stock("logger", "--severity=warning", "same")
    for options in ([], ["-H"], ["-H", "-d"], ["-H", "--color=always"], ["--color=always"]):
        ours = instance(2).run("flux", "dmesg", *options).stdout
        assert ours == stock("dmesg", *options).stdout


SHOW = "{flux} getattr instance-level; {flux} getattr size; {flux} --parent getattr size; {flux} run -N2 hostname"


@pytest.mark.parametrize("inner", ["stock", "ours"])
def test_nested_in_one_another(inner: str, stock_flux: str, instance: Callable[..., Instance]) -> None:
    if inner == "stock":
        nested = ["sh", "-c", SHOW.format(flux=stock_flux)]
        done = instance(2).run("flux", "run", "-N2", "-n2", stock_flux, "start", *nested, timeout=55)
    else:
        ours = instance(2).command[0]
        nested = [ours, "start", "sh", "-c", SHOW.format(flux=ours)]
        outer = [stock_flux, "start", "-s2", stock_flux, "run", "-N2", "-n2"]
        done = subprocess.run([*outer, *nested], capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split()
    assert lines[:3] == ["1", "2", "2"]
    assert len(lines) == 5


def test_stock_finds_our_nested_instance(stock_flux: str, stock: Stock, instance: Callable[..., Instance]) -> None:
    script = f"{stock_flux} --parent uri $(flux getattr jobid); flux getattr local-uri"
    done = instance(2).run("flux", "run", "-N1", "flux", "start", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    found, own = done.stdout.split()
    assert found.endswith(own.removeprefix("local://"))
    assert found in stock("jobs", "-a", "-n", "-o", "{uri}").stdout.split()
