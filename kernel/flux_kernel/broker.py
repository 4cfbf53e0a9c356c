"""The broker: assemble the parts a composition names, run until told to stop, give everything back.

It is the only place that knows the order of things: composition, bootstrap, prefork, event loop, boot-stage
plugins, run-stage plugins. What an instance does with itself (initial program, quorum, shutdown order) is the
business of whatever plugin provides `state-machine`; without one the run stage follows the boot stage at once.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import msgspec

from flux.discovery import Entry
from flux.errors import FluxError, as_flux_error
from flux.hooks.kernel import BootInfo, Bootstrap
from flux.message import FLAG_NORESPONSE, NODEID_ANY, REQUEST, ROLE_LOCAL, ROLE_OWNER, Message
from flux.module import Module
from flux.module.options import decode_options
from flux.module.runner import ModuleRunner
from flux_kernel.attributes import Attributes
from flux_kernel.composition import Composition
from flux_kernel.composition_plan import PlannedPlugin
from flux_kernel.loader import Loader
from flux_kernel.services import KernelServices
from flux_kernel.switch import Switch

__all__ = ["Broker", "BrokerOptions", "preload"]

PROTOCOL_VERSION = "0.88.0"
"""The Flux release whose protocol is spoken: attribute `version`, compared by overlay peers and flux proxy."""


class BrokerOptions(msgspec.Struct):
    """What the command line and the environment ask for.

    Attributes:
        attrs: initial attributes (-S NAME=VALUE).
        conf: the configuration object (--config-path).
        initial_program: command line for rank 0; None for an interactive shell.
        verbose: log life-cycle steps to stderr.
    """

    attrs: dict[str, str] = {}
    conf: dict[str, Any] = {}
    initial_program: list[str] | None = None
    verbose: int = 0


_GC_THRESHOLD = (20_000, 20, 50)  # messages come and go by reference count: look for cycles rarely
_SIGNALS = [getattr(signal, f"SIG{name}") for name in ("TERM", "INT", "QUIT", "ALRM", "USR1", "USR2")]


def _give_up(signum: int, _frame: object) -> None:
    """A signal while the bootstrap method may be blocking the loop: leave at once."""
    raise SystemExit(128 + signum)


def preload(composition: Composition) -> dict[Entry, Any]:
    """Import every plugin class of a composition; a warm parent does this once for all its brokers."""
    return {plugin.entry: plugin.load() for plugin in composition.plugins()}


class Broker:
    """One broker of an instance (`flux.hooks.kernel.Broker`).

    Args:
        composition: which plugins to run.
        options: attributes, configuration and initial program.
        classes: plugin classes already imported, by entry.
        environ: the process environment, which bootstrap methods look at.

    Attributes:
        report_error: tells people why this broker ends, on stderr; a launcher of many may put another function here.
    """

    def __init__(
        self,
        composition: Composition,
        options: BrokerOptions,
        classes: Mapping[Entry, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.composition = composition
        self.options = options
        self.conf = options.conf
        self.initial_program = options.initial_program
        self.environ = os.environ if environ is None else environ
        self.uuid = str(uuid4())
        self.attrs = Attributes()
        self.report_error: Callable[[FluxError], None] = self._print_error
        self.boot: Bootstrap
        self.switch: Switch
        self.loader: Loader
        self.rank = self.size = 0
        self.exit_code = 0
        self.booted = asyncio.Event()
        self._classes = dict(classes or {})
        self._plan: list[PlannedPlugin] = []
        self._own_rundir = ""

    def _print_error(self, error: FluxError) -> None:
        sys.stderr.write(f"flux-broker: rank {self.rank}: {error}\n")

    # -- before the loop

    def run(self) -> int:
        """Run the broker to its end; gives the exit code. Errors at start are told on stderr."""
        for signum in _SIGNALS:
            signal.signal(signum, _give_up)
        try:
            info = self._bootstrap()
            self._plan = self.composition.plan(self.rank, self.size)
            self._set_attributes(info)
            self._prefork()
            gc.freeze()
            gc.set_threshold(*_GC_THRESHOLD)
            return asyncio.run(self._main())
        except FluxError as exc:
            self.report_error(exc)
            return 1
        finally:
            if self._own_rundir:
                shutil.rmtree(self._own_rundir, ignore_errors=True)

    def _bootstrap(self) -> BootInfo:
        wanted = self.options.attrs.get("broker.boot-method")
        methods = [p for p in self.composition.bootstrap() if wanted in (None, p.name)]
        if not methods:
            raise FluxError(errno.EINVAL, f"no bootstrap method {wanted or 'at all'} in {self.composition.path}")
        for plugin in methods:
            cls = self._class_of(plugin)
            if wanted or cls.available(self.environ, self.conf):
                self.boot = cls(self.environ, self.conf)
                info: BootInfo = self.boot.open()
                self.rank, self.size = info.rank, info.size
                self.attrs.set("broker.boot-method", plugin.name, immutable=True)
                return info
        names = ", ".join(p.name for p in methods)
        raise FluxError(errno.ENOENT, f"none of the bootstrap methods ({names}) can be used here")

    def _set_attributes(self, info: BootInfo) -> None:
        for name, value in {**info.attrs, **self.options.attrs}.items():
            self.attrs.set(name, value)
        fixed = {
            "rank": str(self.rank),
            "size": str(self.size),
            "version": PROTOCOL_VERSION,
            "security.owner": str(os.getuid()),
            "broker.pid": str(os.getpid()),
            "broker.uuid": self.uuid,
            "broker.starttime": f"{time.time():.2f}",
        }
        for name, value in fixed.items():
            if name in self.options.attrs:
                raise FluxError(errno.EINVAL, f"attribute {name} is the broker's to set, not the command line's")
            self.attrs.set(name, value, immutable=True)
        for name in info.attrs:
            self.attrs.set(name, info.attrs[name], immutable=True)
        self._make_rundir()

    def _make_rundir(self) -> None:
        path = self.attrs.get("rundir")
        if path is None:
            path = self._own_rundir = tempfile.mkdtemp(prefix="flux-")
        elif not os.path.isdir(path):
            try:
                os.makedirs(path, mode=0o700)
            except OSError as exc:
                raise FluxError(exc.errno or errno.EIO, f"cannot make rundir {path}: {exc.strerror}") from None
            self._own_rundir = path
        self.attrs.set("rundir", path, immutable=True)
        cleanup = self.attrs.get("rundir-cleanup") or str(int(bool(self._own_rundir)))
        if cleanup not in ("0", "1"):
            raise FluxError(errno.EINVAL, f"rundir-cleanup is 0 or 1, not {cleanup!r}")
        self.attrs.set("rundir-cleanup", cleanup, immutable=True)
        self._own_rundir = path if cleanup == "1" else ""

    def _prefork(self) -> None:
        for plugin in self._plan:
            cls = self._class_of(plugin)
            if any("prefork" in vars(base) for base in cls.__mro__ if base is not Module):
                options = decode_options(plugin.name, plugin.options, cls.options_type)
                cls.prefork(options)

    def _class_of(self, plugin: PlannedPlugin) -> Any:
        cls = self._classes.get(plugin.entry)
        if cls is None:
            cls = self._classes[plugin.entry] = plugin.load()
        return cls

    # -- in the loop

    async def _main(self) -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        self._done = asyncio.Event()
        self.switch = Switch(self.rank, self.size, self.log)
        self.loader = Loader(self.switch, self.attrs, self.conf, self, self.log)
        try:
            await self.loader.load_kernel(KernelServices, KernelServices.further_services)
            await self._start_stage("boot")
            for signum in _SIGNALS:
                loop.add_signal_handler(signum, self._interrupted, signum)
            self.booted.set()
            if not self.switch.has_service("state-machine"):
                await self.start_services()
            await self._done.wait()
        except FluxError as exc:
            self.report_error(exc)
            self.boot.abort(str(exc))
            self.exit_code = self.exit_code or 1
        finally:
            await self.stop_services()
            await self.loader.remove_all([p.name for p in self._plan if p.stage == "boot"])
        return self.exit_code

    async def _start_stage(self, stage: str) -> None:
        for plugin in self._plan:
            if plugin.stage == stage and plugin.name not in self.loader.modules:
                started = time.monotonic()
                await self.loader.load_planned(plugin, self._class_of(plugin))
                if self.options.verbose:
                    self.log(7, f"started {plugin.name} in {(time.monotonic() - started) * 1e3:.1f}ms")

    async def start_services(self) -> None:
        """Start the plugins of the "run" stage."""
        await self._start_stage("run")

    async def stop_services(self) -> None:
        """Stop the plugins of the "run" stage, last first; what was loaded at run time in its place, or else before."""
        boot = {"broker", *(p.name for p in self._plan if p.stage == "boot")}
        place = {s: n for n, p in enumerate(self._plan) for s in (p.name, *self._class_of(p).provides)}
        modules = [module for module in self.loader.modules.values() if module.name not in boot]
        modules.sort(key=lambda module: min(place.get(s, len(place)) for s in (module.name, *module.cls.provides)))
        await self.loader.remove_all([module.name for module in modules])

    def exit(self, code: int) -> None:
        """End the broker with an exit code."""
        self.exit_code = code
        self._done.set()

    def modules(self) -> list[dict[str, Any]]:
        """The loaded modules as `module.list` shows them."""
        return self.loader.describe()

    @property
    def _runner(self) -> ModuleRunner:
        """What runs the broker's own methods."""
        runner = self.loader.modules["broker"].runner
        assert runner is not None
        return runner

    def extend(self, module: Module) -> None:
        """Answer what a module handles for service "broker" as methods of this broker, until `retract`."""
        self._runner.adopt(module.runner)

    def retract(self, module: Module) -> None:
        """Undo `extend`."""
        self._runner.disown(module.runner)

    def _interrupted(self, signum: int) -> None:
        if self.switch.has_service("state-machine"):
            self._send("state-machine.post", {"event": "shutdown", "signum": signum})
        else:
            self.exit(128 + signum)

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        exc = context.get("exception")
        self.log(3, f"{context['message']}: {as_flux_error(exc) if exc else ''}")

    # -- log

    def log(self, level: int, text: str) -> None:
        """Log a line: to the log service once there is one, before that to stderr when it matters."""
        if hasattr(self, "switch") and self.switch.has_service("log"):
            self._runner.log.log(level, text)
        elif level <= 4 or self.options.verbose:
            sys.stderr.write(f"flux-broker: rank {self.rank}: {text}\n")

    def _send(self, topic: str, payload: Any) -> None:
        module = self.loader.modules.get("broker")
        if module is not None and module.link is not None:
            self.switch.receive(
                Message(
                    REQUEST,
                    topic,
                    payload,
                    flags=FLAG_NORESPONSE,
                    aux=NODEID_ANY,
                    routes=[],
                    userid=os.getuid(),
                    rolemask=ROLE_OWNER | ROLE_LOCAL,
                ),
                module.link,
            )
