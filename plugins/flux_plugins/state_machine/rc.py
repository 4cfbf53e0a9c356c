"""What is run at the stages of a broker's life: hooks of rc plugins, scripts, commands (flux-broker(1)).

Services: rc.run and rc.abort, for the life cycle; runat.push, for clients that want something run later. At each
stage first come the commands that were pushed, the last one first. Then, at rc1, the hooks and the scripts of
rc1.d; at cleanup the hooks; at rc3 the scripts of rc3.d and the hooks. `broker.rc1_path` and `broker.rc3_path`
name a command to run in place of hooks and scripts; empty ones stand for nothing.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from typing import Any, Literal

import msgspec

from flux import discovery
from flux.errors import FluxError
from flux.hooks import rc
from flux.hooks.host import ErrorPolicy, HookFailure, PluginHost
from flux.message import Message
from flux.module import DEFERRED, Module, request
from flux.rcscripts import script_folders, script_paths
from flux_plugins.state_machine.commands import Command, LoggedProcess
from flux_plugins.state_machine.environment import child_environment

__all__ = ["Rc"]

_STAGES = ("rc1", "rc2", "cleanup", "rc3")


class Options(msgspec.Struct):
    """plugins: rc plugins (`flux.hooks.rc`), by name, dotted path or file, in the order of their calls."""

    plugins: list[str] = []


class StageRequest(msgspec.Struct):
    stage: Literal["rc1", "cleanup", "rc3"]


class PushRequest(msgspec.Struct):
    """name: of a stage. commands: lines for a shell; the last one is run first."""

    name: str
    commands: list[str]


class Rc(Module):
    """Runs what belongs to a stage of the broker's life, and counts its failures."""

    name = "rc"
    provides = ("runat",)
    stage = "boot"
    after = ("log", "attr", "rexec")
    before = ("state-machine",)
    isolatable = False
    options_type = Options

    def __init__(self) -> None:
        self._host = PluginHost("rc", rc, self._hook_failed)
        self._pushed: dict[str, list[str]] = {stage: [] for stage in _STAGES}
        self._stage = ""
        self._code = 0
        self._task: asyncio.Task[Any] | None = None  # that runs a stage
        self._process: LoggedProcess | None = None

    def start(self) -> None:
        """Load the rc plugins. FluxError for one that is not there or is none."""
        for reference in self.options.plugins:
            entry = discovery.resolve("rc", reference)
            found, _origin = discovery.load_entry(entry)
            self._host.register(found() if isinstance(found, type) else found, entry.name)

    def stats(self) -> dict[str, Any]:
        return {"plugins": self._host.stats(), "pushed": self._pushed}

    # -- services

    @request("push", service="runat", payload=PushRequest)
    def push(self, _msg: Message, req: PushRequest) -> None:
        if req.name not in _STAGES:
            raise FluxError(errno.EINVAL, f"{req.name}: commands are run at {', '.join(_STAGES)}")
        if not req.commands or not all(req.commands):
            raise FluxError(errno.EINVAL, "runat.push needs commands, none of them empty")
        self._pushed[req.name].extend(req.commands)

    @request("run", payload=StageRequest)
    async def run(self, _msg: Message, req: StageRequest) -> dict[str, int]:
        """Run a stage; the answer is {"exit_code": of the first thing that failed, else 0}."""
        self._stage, self._code = req.stage, 0
        self._task = asyncio.current_task()
        try:
            await self._run_stage()
        except asyncio.CancelledError:
            self._fail(128 + signal.SIGTERM)
            self.log.error(f"{self._stage} was given up")
        except FluxError as exc:
            self._fail(1)
            self.log.error(f"{self._stage}: {exc}")
        finally:
            self._task = None
        return {"exit_code": self._code}

    @request("abort", payload=StageRequest)
    def abort(self, _msg: Message, req: StageRequest) -> Any:
        """End a stage that is being run: its process gets SIGTERM, its hook is cancelled."""
        if self._task is not None and req.stage == self._stage:
            if self._process is not None:
                self._process.kill(signal.SIGTERM)
            self._task.cancel()
        return DEFERRED

    # -- a stage

    async def _run_stage(self) -> None:
        pushed, self._pushed[self._stage] = self._pushed[self._stage], []
        replaced = self.broker.attrs.get(f"broker.{self._stage}_path")
        commands = [self._line(line) for line in reversed(pushed)]
        if replaced is not None:
            await self._run_commands(commands + ([self._line(replaced)] if replaced else []))
            return
        await self._run_commands(commands)
        if self._stage == "rc3":
            await self._run_commands(self._scripts())
            await self._call_hooks()
        else:
            await self._call_hooks()
            await self._run_commands(self._scripts(), len(commands))

    def _line(self, line: str) -> Command:
        return Command.shell(line, os.environ)

    def _scripts(self) -> list[Command]:
        folders = script_folders(self.broker.attrs.get("config.path"), os.environ.get("FLUX_RC_EXTRA"))
        try:
            return [Command((path,), path) for path in script_paths(folders, self._stage)]
        except OSError as exc:
            raise FluxError(exc.errno or errno.EIO, f"{exc.filename}: {exc.strerror}") from None

    async def _run_commands(self, commands: list[Command], first: int = 0) -> None:
        environ = {**child_environment(self.broker.attrs["local-uri"]), "FLUX_RANK": str(self.rank)}
        for number, command in enumerate(commands, first):
            started = self.flux.loop.time()
            label = f"{self._stage}.{number}"
            self._process = LoggedProcess(self.flux, self.rank, self.log, label)
            code = await self._process.run(command, environ)
            self._process = None
            self._fail(code)
            write = self.log.error if code else self.log.info
            write(f"{label}: {command.title} Exited (rc={code}) {self.flux.loop.time() - started:.1f}s")

    async def _call_hooks(self) -> None:
        if not self._host.has(self._stage):
            return
        attrs = {name: value for name in self.broker.attrs if (value := self.broker.attrs.get(name)) is not None}
        await self._host.call_async(
            self._stage,
            flux=self.flux,
            rank=self.rank,
            size=self.size,
            attrs=attrs,
            conf=self.broker.conf,
            log=self.log,
        )

    def _hook_failed(self, failure: HookFailure) -> None:
        if failure.policy is ErrorPolicy.FATAL:
            raise FluxError(getattr(failure.error, "errno", None) or errno.EIO, str(failure)) from failure.error
        self._fail(1)
        self.log.exception(str(failure), failure.error)

    def _fail(self, code: int) -> None:
        self._code = self._code or code
