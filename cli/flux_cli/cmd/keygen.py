"""`flux keygen`: make the certificate of a configured instance's brokers, or a key to sign jobs (flux-keygen(1))."""

from __future__ import annotations

import argparse
import os
import re
import socket
import time

from flux_cli.common import Parser, die

__all__ = ["command"]


def parser() -> Parser:
    """The options of flux-keygen(1)."""
    parse = Parser("keygen", "Make a CURVE certificate.")
    parse.add_argument("-n", "--name", default=socket.gethostname(), help="name of the certificate (default: hostname)")
    parse.add_argument(
        "--meta", action="append", default=[], metavar="KEYVALS", help="note KEY=VALUE pairs, comma separated"
    )
    parse.add_argument("--sign", action="store_true", help="make a key to sign jobs with instead (~/.flux/curve/sign)")
    parse.add_argument("path", nargs="?", metavar="PATH", help="file to write; without it, keys are only tried out")
    return parse


def command(argv: list[str]) -> int:
    """Run `flux keygen`."""
    args = parser().parse_args(argv)
    return _make_key(args.path) if args.sign else _make_certificate(args)


def _make_key(path: str | None) -> int:
    from flux.job import curve

    curve.generate(path or curve.SECRET)
    return 0


def _make_certificate(args: argparse.Namespace) -> int:
    import zmq

    from flux.certificate import Certificate, write_certificate

    metadata = {"name": args.name, **_facts(zmq.zmq_version()), **_noted(args.meta)}
    _check(metadata)
    public, secret = (key.decode() for key in zmq.curve_keypair())
    if args.path:
        try:
            write_certificate(args.path, Certificate(public, secret, metadata))
        except OSError as exc:
            die(f"{args.path}: {exc.strerror}")
    return 0


def _facts(zmq_version: str) -> dict[str, str]:
    return {
        "keygen.hostname": socket.gethostname(),
        "keygen.time": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "keygen.userid": str(os.getuid()),
        "keygen.zmq-version": zmq_version,
    }


def _noted(options: list[str]) -> dict[str, str]:
    noted = {}
    for pair in (pair for option in options for pair in option.split(",") if pair):
        name, sep, value = pair.partition("=")
        if not sep:
            die(f"--meta takes KEY=VALUE pairs, not {pair!r}")
        noted[name] = value
    return noted


def _check(metadata: dict[str, str]) -> None:
    for name, value in metadata.items():
        if not re.fullmatch(r"[A-Za-z0-9$_@.&+/-]+", name):
            die(f"{name!r} cannot be the name of metadata: letters, digits and $-_@.&+/ are possible")
        if '"' in value or not value.isprintable():
            die(f"value {value!r} of {name} must be printable and have no double quote")
