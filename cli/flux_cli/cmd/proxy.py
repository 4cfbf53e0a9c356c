"""`flux proxy`: a command, or a shell, in an instance that is elsewhere (flux-proxy(1))."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys

from flux_cli.common import Parser, die, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from flux.errors import FluxError


def command(argv: list[str]) -> int:
    import tempfile

    from flux_cli.uri import resolve

    args = _parser().parse_args(argv)
    uri = resolve(args.target)
    _check_version(uri, args.force)
    with tempfile.TemporaryDirectory(prefix="flux-proxy-") as folder:
        return asyncio.run(_serve(args, uri, os.path.join(folder, "local")))


def _parser() -> Parser:
    parser = Parser(
        "proxy",
        "Run a command, or a shell, in an instance that is elsewhere.",
        usage="flux proxy [OPTIONS] TARGET [COMMAND [ARGUMENT...]]",
    )
    parser.add_argument("target", metavar="TARGET", help="a URI, the id of a job, or what else flux uri takes")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="default: your shell")
    parser.add_argument("-f", "--force", action="store_true", help="go on where the versions of Flux differ")
    parser.add_argument("-n", "--nohup", action="store_true", help="send no SIGHUP when the connection is lost")
    parser.add_argument("--reconnect", action="store_true", help="connect again when the connection is lost")
    return parser


def _check_version(uri: str, force: bool) -> None:
    from flux.core.handle import Flux
    from flux_kernel.broker import PROTOCOL_VERSION

    with Flux(uri) as handle:
        theirs = handle.attr_get("version")
    if theirs.split(".")[:2] == PROTOCOL_VERSION.split(".")[:2]:
        return
    text = f"{uri} speaks the protocol of Flux {theirs}, this is {PROTOCOL_VERSION}"
    if not force:
        die(f"{text} (--force goes on)")
    warn("proxy", text)


async def _serve(args: argparse.Namespace, uri: str, path: str) -> int:
    from flux.core.connect import open_socket
    from flux_cli.proxy_router import ProxyRouter

    child: list[subprocess.Popen[bytes]] = []
    upstream: socket.socket = open_socket(uri)

    def lost(error: FluxError) -> None:
        warn("proxy", f"{uri}: {error}")
        if child and not args.nohup and not args.reconnect:
            for signum in (signal.SIGHUP, signal.SIGCONT):
                child[0].send_signal(signum)

    again = uri if args.reconnect else None
    router = ProxyRouter(upstream, path, again, lost, lambda text: warn("proxy", text))
    try:
        words = args.command or [os.environ.get("SHELL", "/bin/sh")]
        child.append(_start(words, _environment(uri, path)))
        return await _wait(child[0])
    finally:
        router.close()


def _environment(uri: str, path: str) -> dict[str, str]:
    env = {**os.environ, "FLUX_URI": f"local://{path}"}
    if uri.startswith("ssh://"):
        env["FLUX_PROXY_REMOTE"] = uri.removeprefix("ssh://").partition("/")[0].partition(":")[0].rpartition("@")[2]
    return env


def _start(words: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    sys.stdout.flush()
    try:
        child = subprocess.Popen(words, env=env)
    except OSError as exc:
        die(f"{words[0]}: {exc.strerror}", 127)
    for signum in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(signum, signal.SIG_IGN)  # the terminal sends them to the command as well, whose business it is
    return child


async def _wait(child: subprocess.Popen[bytes]) -> int:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, child.terminate)
    pidfd = os.pidfd_open(child.pid)
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
    code = child.wait()
    return code if code >= 0 else 128 - code
