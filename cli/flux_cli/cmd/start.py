"""`flux start`: launch an instance (flux-start(1)).

With -s N all brokers run on this host: they are forked from this process, which has imported everything they need
and serves them PMI (RFC 13). Without, this process becomes one broker, which looks for PMI or runs alone.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys

from flux_cli.broker import BrokerUsageError, attributes, broker_command, prepare_options
from flux_cli.common import Parser

__all__ = ["command"]

SYSTEM_CONFIG = "/etc/flux/system/conf.d"
SYSTEM_STATE = "/var/lib/flux"


def parser() -> Parser:
    """The options of flux-start(1)."""
    parse = Parser("start", "Launch a new Flux instance.")
    add = parse.add_argument
    add("-s", "--test-size", "--size", type=_size, metavar="N", help="launch N brokers on this host")
    add("-o", "--broker-opts", action="append", default=[], metavar="OPTS", help="broker options, comma separated")
    add("-S", "--setattr", action="append", default=[], metavar="ATTR=VAL", help="set a broker attribute")
    add("-c", "--config-path", metavar="PATH", help="configuration file or directory")
    add("--conf", action="append", default=[], metavar="VALUE", help="change the configuration (flux-broker(1))")
    add("--sysconfig", action="store_true", help=f"read the configuration of the system instance, {SYSTEM_CONFIG}")
    add(
        "-r",
        "--recovery",
        nargs="?",
        const="",
        metavar="TARGET",
        help="recover a statedir, or a dump; see flux-start(1)",
    )
    add("--plugins", metavar="FILE", help="composition to run (plugins.toml(5))")
    add("-v", "--verbose", nargs="?", action="append", type=_level, metavar="LEVEL", help="say what is done")
    add("-X", "--noexec", action="store_true", help="execute nothing; most useful with -v")
    add("--wrap", action="append", default=[], metavar="ARGS", help="run brokers under a command, comma separated")
    add("--rundir", metavar="DIR", help="use DIR as rundir; made, and removed at the end, if it is not there")
    add("--test-rundir", metavar="DIR", help="use DIR as rundir; it must exist")
    add("--test-rundir-cleanup", action="store_true", help="remove --test-rundir at the end")
    add("--test-exit-timeout", default="20s", metavar="FSD", help="time the others have when a broker has exited")
    add("--test-exit-mode", choices=("any", "leader"), default="any", help="whose exit starts --test-exit-timeout")
    add("--test-start-mode", choices=("all", "leader"), default="all", help="start all brokers, or only rank 0")
    add("--test-pmi-clique", metavar="MODE", help="single, per-broker, none or an RFC 34 task map")
    add("--test-hosts", metavar="HOSTLIST", help="host names that the brokers go by, also in a [bootstrap] table")
    add("--caliper-profile", metavar="PROFILE", help="accepted; there is no Caliper here")
    add("program", nargs=argparse.REMAINDER, metavar="initial-program [args...]", help="default: your shell")
    return parse


def _size(text: str) -> int:
    try:
        size = int(text)
    except ValueError:
        size = 0
    if size < 1:
        raise argparse.ArgumentTypeError(f"size must be a number above 0, not {text!r}")
    return size


def _level(text: str) -> int:
    """Value of -v: a number, or the further letters of -vv."""
    if text and not text.strip("v"):
        return 1 + len(text)
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"verbosity must be a number, not {text!r}")
    return int(text)


def _verbosity(values: list[int | None] | None) -> int:
    return sum(1 if value is None else value for value in values or ())


def command(argv: list[str]) -> int:
    """Run `flux start`; the exit code is the initial program's, 1 when the instance could not start."""
    parse = parser()
    args = parse.parse_args(_joined(parse, argv))
    args.verbose = _verbosity(args.verbose)
    args.program = args.program[1:] if args.program[:1] == ["--"] else args.program
    _merge_broker_options(args)
    _recover(args)
    _check(args)
    if args.test_size is None:
        return _become_broker(args)
    from flux_cli.launch import launch

    return launch(args, prepare_options(args))


def _joined(parse: argparse.ArgumentParser, argv: list[str]) -> list[str]:
    """argv with -v and -r as words of their own: what follows them is the program, not their optional value."""
    alone = {"-v": "--verbose=1", "--verbose": "--verbose=1", "-r": "--recovery=", "--recovery": "--recovery="}
    valued = {name for action in parse._actions if action.nargs is None for name in action.option_strings}
    words = list(argv)
    place = 0
    while place < len(words) and words[place].startswith("-") and words[place] != "--":
        words[place] = alone.get(words[place], words[place])
        place += 2 if words[place] in valued else 1
    return words


def _recover(args: argparse.Namespace) -> None:
    """Turn --recovery and --sysconfig into the options that they stand for."""
    if args.sysconfig or args.recovery == "":
        args.config_path = args.config_path or SYSTEM_CONFIG
    if args.recovery is None:
        return
    if (args.test_size or 1) > 1:
        raise BrokerUsageError("--recovery starts rank 0 alone: leave --test-size away, or set it to 1")
    target = args.recovery or SYSTEM_STATE
    if not os.path.exists(target):
        raise BrokerUsageError(f"--recovery: there is no {target}")
    kind = "statedir" if os.path.isdir(target) else "content.restore"
    settings = {kind: os.path.abspath(target), "broker.recovery-mode": "1", "broker.boot-method": "single"}
    settings["log-stderr-level"] = "5"
    chosen = attributes(args.setattr)
    args.setattr += [f"{name}={value}" for name, value in settings.items() if name not in chosen]
    args.test_size = None


def _check(args: argparse.Namespace) -> None:
    """Check what argparse cannot; the hosts of --test-hosts become a list."""
    if args.caliper_profile:
        print("flux-start: --caliper-profile: this Flux has no Caliper in it, going on without", file=sys.stderr)
    if args.test_size is None:
        given = [name for name in ("test_hosts", "rundir", "test_rundir", "test_rundir_cleanup") if getattr(args, name)]
        if given:
            raise BrokerUsageError(f"--{given[0].replace('_', '-')} only makes sense with --test-size")
        return
    from flux.util import parse_fsd

    try:
        parse_fsd(args.test_exit_timeout)
    except ValueError as exc:
        raise BrokerUsageError(f"--test-exit-timeout: {exc}") from None
    if args.test_hosts:
        from flux.hostlist import Hostlist

        try:
            hosts = Hostlist(args.test_hosts).expand()
        except ValueError as exc:
            raise BrokerUsageError(f"--test-hosts: {exc}") from None
        if len(hosts) != args.test_size:
            raise BrokerUsageError(f"--test-hosts names {len(hosts)} hosts, --test-size is {args.test_size}")
        args.test_hosts = hosts


def _merge_broker_options(args: argparse.Namespace) -> None:
    """Fold -o option strings into the options that they stand for."""
    from flux_cli.broker import parser as broker_parser

    words = [word for opts in args.broker_opts for word in opts.split(",") if word]
    extra, unknown = broker_parser().parse_known_args(words)
    if unknown or extra.program:
        raise BrokerUsageError(f"--broker-opts: unknown broker option {(unknown or extra.program)[0]!r}")
    args.setattr += extra.setattr
    args.conf += extra.conf
    args.config_path = args.config_path or extra.config_path
    args.plugins = args.plugins or extra.plugins
    args.broker_verbose = extra.verbose
    attributes(args.setattr)


def _become_broker(args: argparse.Namespace) -> int:
    words = broker_command(args)
    if args.verbose:
        print(f"flux-start: {shlex.join(words)}", file=sys.stderr)
    if args.noexec:
        return 0
    os.execvp(words[0], words)
    return 1
