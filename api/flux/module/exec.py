"""Loader of an isolated module: `python -m flux.module.exec TARGET` in a process of its own (RFC 5).

FLUX_MODULE_URI names the inherited channel (fd://N). TARGET is a module name, a dotted path or a `.py` file.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
import traceback

from flux.core.aio import AsyncFlux
from flux.core.connect import open_socket
from flux.core.stream import SocketChannel
from flux.discovery import load
from flux.errors import FluxError, as_flux_error
from flux.message import REQUEST, Message
from flux.module.base import Module
from flux.module.greeting import EXITED, FINALIZING, RUNNING, WelcomeRequest
from flux.module.options import parse_args
from flux.module.runner import ModuleRunner, Welcome

__all__ = ["main"]


class Loader:
    """The module's side of RFC 5: welcome, status, shutdown."""

    def __init__(self, flux: AsyncFlux) -> None:
        self.flux = flux
        self.welcomed: asyncio.Future[Welcome] = flux.loop.create_future()
        self.held: list[Message] = []
        self.ended = False
        self.lost = asyncio.Event()
        flux.on_message = self.take

    def take(self, msg: Message) -> None:
        """Take what comes while the module is not running."""
        if self.ended:
            if msg.type == REQUEST:
                self.flux.respond_error(msg, errno.ENOSYS, "the module is being unloaded")
        elif msg.topic == "welcome":
            request = msg.decode(WelcomeRequest)
            args = parse_args(request.args)
            self.welcomed.set_result(Welcome(request.name, request.uuid, args, request.attrs, dict(request.conf)))
        else:
            self.held.append(msg)

    async def run(self, cls: type[Module]) -> None:
        """Run the module until it is asked to shut down or the broker is gone."""
        runner = ModuleRunner(cls, await self.welcomed, self.flux)
        self.flux.on_message = self.take
        await runner.start()
        self.flux.on_message = runner.receive
        self.flux.notify("module.status", {"status": RUNNING})
        for msg in self.held:
            runner.receive(msg)
        runner.tasks.spawn(self._exit_when_lost(runner), "watch the broker")
        await runner.exit_requested.wait()
        if runner.graceful:
            await runner.finish()
        await runner.stop()
        if not self.lost.is_set():
            self.ended = True
            self.flux.on_message = self.take
            await self.flux.rpc("module.status", {"status": FINALIZING})

    async def _exit_when_lost(self, runner: ModuleRunner) -> None:
        await self.lost.wait()
        runner.request_exit()

    def connection_lost(self, error: FluxError) -> None:
        self.flux.session.fail(error)
        self.lost.set()


async def _serve(target: str, uri: str) -> int:
    loop = asyncio.get_running_loop()
    flux = AsyncFlux()
    loader = Loader(flux)
    flux.channel = SocketChannel(open_socket(uri), flux.receive, loader.connection_lost)
    loop.add_signal_handler(signal.SIGTERM, loader.lost.set)
    errnum, text = 0, ""
    try:
        load("modules", "log")[0].prefork(None)
        await loader.run(load("modules", target)[0])
    except Exception as exc:
        error = as_flux_error(exc)
        errnum, text = error.errno, str(error)
        if not isinstance(exc, OSError):
            traceback.print_exc()
    if not loader.lost.is_set():
        flux.notify("module.status", {"status": EXITED, "errnum": errnum, "text": text})
    flux.close()
    return 1 if errnum else 0


def main(argv: list[str]) -> int:
    """Run the module named by argv[0]; exit status 1 when it could not start or failed."""
    uri = os.environ.pop("FLUX_MODULE_URI", "")
    if len(argv) != 1 or not uri:
        print("usage: FLUX_MODULE_URI=fd://N python -m flux.module.exec MODULE", file=sys.stderr)
        return 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return asyncio.run(_serve(argv[0], uri))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
