"""`flux-broker`: one broker of an instance (flux-broker(1))."""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys

from flux_cli.common import Parser
from flux_cli.errors import CommandError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.errors import FluxError

__all__ = [
    "ERROR_FD",
    "BrokerUsageError",
    "broker_command",
    "main",
    "parser",
    "prepare_options",
    "raise_open_files",
    "read_config",
    "report_through",
]

ERROR_FD = "FLUX_BROKER_ERROR_FD"
"""Variable with the descriptor on which a launcher wants to be told why a broker could not start."""


class BrokerUsageError(CommandError):
    """A wrong argument; the text says which and what it should be."""


def parser() -> Parser:
    """The options of flux-broker(1)."""
    parse = Parser("broker", "Run one broker of a Flux instance.")
    parse.add_argument("-v", "--verbose", action="count", default=0, help="tell on stderr what is being done")
    parse.add_argument(
        "-S", "--setattr", action="append", default=[], metavar="ATTR=VAL", help="set an attribute's initial value"
    )
    parse.add_argument("-c", "--config-path", metavar="PATH", help="TOML or JSON file, or a directory of *.toml files")
    parse.add_argument(
        "--conf", action="append", default=[], metavar="VALUE", help="change the configuration, see flux-broker(1)"
    )
    parse.add_argument("--plugins", metavar="FILE", help="composition to run (default: see plugins.toml(5))")
    parse.add_argument(
        "program", nargs=argparse.REMAINDER, metavar="initial-program [args...]", help="default: an interactive shell"
    )
    return parse


def broker_command(args: argparse.Namespace) -> list[str]:
    """The command line of a broker that stands for these options of flux-start(1)."""
    words = [word for opts in args.wrap for word in opts.split(",") if word]
    words += [sys.executable, "-P", "-m", "flux_cli.broker"]
    words += [f"--setattr={setting}" for setting in args.setattr]
    if args.config_path:
        words.append(f"--config-path={args.config_path}")
    words += [f"--conf={value}" for value in args.conf]
    if args.plugins:
        words.append(f"--plugins={args.plugins}")
    if args.broker_verbose:
        words.append("-" + "v" * args.broker_verbose)
    return [*words, "--", *args.program]


def attributes(settings: list[str]) -> dict[str, str]:
    """["name=value"] to a table. BrokerUsageError for one without a name."""
    table: dict[str, str] = {}
    for setting in settings:
        name, sep, value = setting.partition("=")
        if not name or not sep:
            raise BrokerUsageError(f"--setattr takes ATTR=VAL, not {setting!r}")
        table[name] = value
    return table


def read_config(path: str | None) -> dict[str, Any]:
    """The configuration object in a file or a directory of *.toml files; {} without a path.

    Raises:
        BrokerUsageError: naming the file, and the line of a syntax error.
    """
    from flux.configfile import read_config as read
    from flux.errors import FluxError

    try:
        return read(path or os.environ.get("FLUX_CONF_DIR"))
    except FluxError as exc:
        raise BrokerUsageError(str(exc)) from None


def prepare_options(args: argparse.Namespace) -> Any:
    """Command line to `flux_kernel.broker.BrokerOptions`."""
    from flux_kernel.broker import BrokerOptions

    attrs = attributes(args.setattr)
    if path := args.config_path or os.environ.get("FLUX_CONF_DIR"):
        attrs["config.path"] = os.path.abspath(path)
    program = args.program[1:] if args.program[:1] == ["--"] else args.program
    verbose = getattr(args, "broker_verbose", args.verbose)
    return BrokerOptions(attrs, _configuration(args), program or None, verbose)


def _configuration(args: argparse.Namespace) -> dict[str, Any]:
    conf = read_config(args.config_path)
    if args.conf:
        from flux.configvalues import apply_conf

        try:
            for value in args.conf:
                apply_conf(conf, value)
        except ValueError as exc:
            raise BrokerUsageError(str(exc)) from None
    return conf


def raise_open_files() -> None:
    """Make the hard limit of open files the soft one: a broker needs several for each job, a shell for each task."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def report_through(fd: int, error: FluxError, rank: int) -> None:
    """Hand the launcher what was wrong, to be told once for all its brokers."""
    line = json.dumps({"rank": rank, "errno": error.errno, "text": str(error)[:2000]})
    os.write(fd, f"{line}\n".encode())


def main(argv: list[str] | None = None) -> int:
    """Run a broker; the exit code is the initial program's, or 1 when the broker failed."""
    from flux_kernel.broker import Broker
    from flux_kernel.composition import CompositionError, load_composition

    try:
        args = parser().parse_args(argv)
        options = prepare_options(args)
        composition = load_composition(args.plugins, args.config_path)
        composition.plugins()
    except (CommandError, CompositionError, OSError) as exc:
        usage = f"{exc.usage}\n" if isinstance(exc, UsageError) else ""
        print(f"{usage}flux-broker: {exc}", file=sys.stderr)
        return 1
    raise_open_files()
    broker = Broker(composition, options)
    if (fd := os.environ.pop(ERROR_FD, "")).isdecimal():
        broker.report_error = lambda error: report_through(int(fd), error, broker.rank)
    return broker.run()


if __name__ == "__main__":
    sys.exit(main())
