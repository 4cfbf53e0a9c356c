"""The life of a job shell, from its job to its exit code (flux-shell(1), OPERATION)."""

from __future__ import annotations

import errno
import os
import resource
import signal
import traceback
from typing import Any

from flux.errors import FluxError
from flux.hooks.host import explain
from flux.idset import IDset
from flux_shell.core import LOG_DEBUG, LOG_WARNING, ShellFatal, Terminated
from flux_shell.face import ShellFace
from flux_shell.initrc import SHIPPED, find_initrc, has_work
from flux_shell.job import JobError
from flux_shell.journal import START_HOLD
from flux_shell.mustache import render
from flux_shell.option_names import KNOWN, likely_meant
from flux_shell.reaper import Reaper
from flux_shell.signals import SignalPipe
from flux_shell.task import LaunchError, Task

__all__ = ["Shell"]

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
_ENDING = (*_FORWARDED, signal.SIGKILL)


class Shell(ShellFace):
    """One shell of a job, from start to end."""

    def run(self) -> int:
        """Run the job's tasks of this shell to their end; gives the exit code."""
        signals = SignalPipe(self.reactor, _FORWARDED, self.deliver_signal)
        self._reaper = Reaper(self.reactor, self._collect)
        try:
            self._live()
        except ShellFatal as exc:
            self._fatal(self._too_many_files(exc.__cause__) or str(exc), exc.status)
        except Terminated as exc:
            self.status = 128 + exc.args[0]
        except BaseException as exc:  # a plugin may raise anything
            reason = self._too_many_files(exc)
            if not reason and self.verbose:
                traceback.print_exc()
            self._fatal(reason or explain(exc, always_placed=True), 1)
        finally:
            self._end()
            self._reaper.close()
            signals.close()
        return self.status if self._fatal_status is None else self._fatal_status

    def _too_many_files(self, error: BaseException | None) -> str:
        """What to say of an error that is the shell's limit of open files; "" when it is another."""
        if not isinstance(error, OSError) or error.errno != errno.EMFILE:
            return ""
        count, (soft, hard) = self.job.counts[self.rank], resource.getrlimit(resource.RLIMIT_NOFILE)
        return f"{count} tasks need more open files than this shell may have: {soft} (ulimit -n; the most is {hard})"

    def _live(self) -> None:
        if not self.standalone:
            self.call("shell.connect", shell=self)
        self.load_initrc()
        self._check_options()
        self._apply_taskmap()
        self._change_directory()
        self.call("shell.init", shell=self)
        self.logs_by_plugin = True
        self.release_log()
        self._barrier()
        self._post("shell.init", self._init_event())
        self.call("shell.post-init", shell=self)
        self._start_tasks()
        self.call("shell.start", shell=self)
        self._barrier()
        self._post("shell.start", {"taskmap": self.job.taskmap.wrap(), **self._contexts["shell.start"]})
        self._release_events()
        if self.journal is not None:
            self.journal.release_after(START_HOLD)
        for task in self.tasks:  # not before, so that no task's end is posted before shell.start
            self._reaper.watch(task)
        self.run_until(lambda: not self._running)
        self.call("shell.finish", shell=self)
        self._release_journal()
        self._flush()
        self.run_until(self._has_finished)

    def _init_event(self) -> dict[str, Any]:
        leader = self.job.nodes[0].rank
        return {"service": self.service, "leader-rank": leader, "size": self.size, **self._contexts["shell.init"]}

    def _has_finished(self) -> bool:
        """True when nothing is left but to hear that the last events are committed: `_end` waits for that."""
        journal, outbox = self.journal, self._outbox
        if self._refs or not (journal is None or journal.is_sent):
            return False
        if outbox is not None and self.rank == 0:
            outbox.finish()  # the output of all tasks has ended, and the first shell sends the others but input
        return outbox is None or outbox.idle

    def _end(self) -> None:
        """End what still runs and give everything back; errors are only logged from here on."""
        self._ending = True
        self.release_log()
        self._release_events()
        self.kill_tasks(signal.SIGKILL)
        for task in self.tasks:
            if task.state == "Running":
                self._reaper.watch(task)
        self.run_until(lambda: not self._running)
        self.call("shell.exit", shell=self)
        self._release_journal()
        outbox = self._outbox
        if outbox is not None:
            outbox.finish()
        self.run_until(lambda: (self.journal is None or self.journal.idle) and (outbox is None or outbox.idle))

    def _release_journal(self) -> None:
        if self.journal is not None:
            self.journal.release()

    def load_initrc(self) -> None:
        """Run the Lua initrc that the options name, or the site's."""
        asked = self.cli.initrc or str(self.options.get("initrc") or "")
        path = find_initrc(asked, self.env, self.job.cwd, self.standalone)
        if not path or (path == SHIPPED and not has_work(self.options, self.env)):
            return
        from flux_shell.lua import run_initrc

        try:
            run_initrc(self, path)
        except OSError as exc:
            raise ShellFatal(f"initrc: {exc.filename or path}: {exc.strerror or exc}") from None
        except ValueError as exc:
            raise ShellFatal(f"initrc: {exc}") from None

    def _check_options(self) -> None:
        """Tell of options that are likely misspelt; others may be some plugin's."""
        try:
            self.verbose = max(self.verbose, self.job.verbosity)
        except JobError as exc:
            raise ShellFatal(str(exc)) from None
        if self.verbose:
            ranks = IDset(self.job.task_ranks(self.rank))
            self.log(LOG_DEBUG, f"{self.size} shells, {self.job.ntasks} tasks, here {ranks}: {self.job.command}")
            self.log(LOG_DEBUG, f"plugins: {' '.join(self.stack.names())}")
        for name in self.options.keys() - KNOWN:
            hint = likely_meant(name)
            if hint:
                self.log(LOG_WARNING, f"no shell option is named {name}: did you mean {hint}?")

    def _apply_taskmap(self) -> None:
        asked = self.options.get("taskmap")
        if not asked:
            return
        if not isinstance(asked, dict) or "scheme" not in asked:
            raise ShellFatal(f"shell option taskmap needs a scheme: {asked!r}")
        scheme, value = str(asked["scheme"]), str(asked.get("value", ""))
        found = self.call("shell.taskmap", shell=self, scheme=scheme, value=value, counts=self.job.counts)
        if not found:
            raise ShellFatal(f"no shell plugin knows the taskmap scheme {scheme!r}")
        try:
            self.job.remap(found[0])
        except JobError as exc:
            raise ShellFatal(str(exc)) from None

    def _change_directory(self) -> None:
        if not self.job.cwd:
            return
        try:
            os.chdir(self.job.cwd)
        except OSError as exc:
            text = f"could not change directory to {self.job.cwd}: {exc.strerror}; using /tmp instead"
            self.log(LOG_WARNING, f"host {os.uname().nodename}: {text}")
            os.chdir("/tmp")
        self.env["PWD"] = os.getcwd()

    def _barrier(self) -> None:
        """Wait for the other shells of the job."""
        if self.size == 1 or self.flux is None:
            return
        self._flush()
        request = {"id": self.jobid, "rank": self.job.nodes[self.rank].rank, "round": self._barriers}
        self._barriers += 1
        entered = self.steady_rpc(lambda: self.flux.rpc("job-exec.shell-barrier", request))
        self.run_until(entered.is_ready)
        assert self._outbox is not None
        self._outbox.met = True
        try:
            entered.get()
        except FluxError as exc:
            raise ShellFatal(f"shell barrier: {exc}") from None

    # -- tasks

    def _start_tasks(self) -> None:
        own_group = not self.options.get("nosetpgrp")
        for localid, rank in enumerate(self.job.task_ranks(self.rank)):
            task = Task(self, rank, localid, list(self.job.command), dict(self.env))
            task.env["FLUX_TASK_RANK"] = str(rank)
            task.env["FLUX_TASK_LOCAL_ID"] = str(localid)
            task.argv = [render(arg, self, task) for arg in task.argv]
            self.tasks.append(task)
            self.call_task("task.init", task)
            self._start(task, own_group)
            self.call_task("task.fork", task)

    def _start(self, task: Task, own_group: bool) -> None:
        before_exec = None
        if self.stack.has("task_exec"):
            before_exec = lambda: self.call_task("task.exec", task)  # noqa: E731
        try:
            task.start(before_exec, own_group)
        except LaunchError as exc:
            where = f"task {task.rank} (host {os.uname().nodename})"
            text = f"{where}: start failed: {exc.filename}: {exc.strerror}"
            raise ShellFatal(text, exc.exitcode) from None
        self._running += 1
        if self.verbose:
            self.log(LOG_DEBUG, f"task {task.rank}: started {task.argv[0]} as process {task.pid}")

    def _collect(self, task: Task, status: int) -> None:
        task.exited(status)
        self._running -= 1
        self.status = max(self.status, task.exitcode)
        if self.verbose:
            self.log(LOG_DEBUG, f"task {task.rank}: ended with exit code {task.exitcode}")
        self.call_task("task.exit", task)

    def deliver_signal(self, signum: int) -> None:
        """Signal the tasks; before there are any, the shell ends as if the signal were its own."""
        if not self._running and not self._ending:
            raise Terminated(signum)
        if self._outbox is not None and signum in _ENDING:
            self._outbox.patient = False
        self.kill_tasks(signum)

    def _post(self, name: str, context: dict[str, Any]) -> None:
        if self.rank == 0:
            self._append_event(name, context)
