"""Follow a job to its end: show its output, feed its stdin, pass signals on (flux-job(1) attach).

One connection and one reactor. All eventlogs are asked for at once, so that a job's life costs no round trips:
`eventlog` tells of states and exceptions, `guest.exec.eventlog` of the shells and where stdin goes, `guest.output`
carries the output (RFC 24).
"""

from __future__ import annotations

import errno
import signal

from flux.constants import FLUX_JOB_EVENT_WATCH_INITIAL_SENTINEL, FLUX_JOB_EVENT_WATCH_WAITCREATE
from flux.job.event import EventStream
from flux.job.outcome import JobResult
from flux.job.output import OutputReader, log_line
from flux_cli.attach_output import AttachOutput
from flux_cli.job_ids import no_such_job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TextIO

    from flux.core.handle import Flux
    from flux.errors import FluxError
    from flux.job.event import EventLogEvent
    from flux_cli.attach_status import StatusLine

__all__ = ["Attach", "exit_code"]

_DOUBLE_INTERRUPT = 2.0  # seconds
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
_NO_SUCH_JOB = (errno.ENOENT, errno.EPERM, errno.EINVAL)


def exit_code(waitstatus: int | None, otherwise: int = 1) -> int:
    """The exit code that stands for a job's wait status: its own, or 128 + signal.

    Args:
        otherwise: for a job that never ran.
    """
    if waitstatus is None:
        return otherwise
    signum = waitstatus & 0x7F
    return 128 + signum if signum else waitstatus >> 8 & 0xFF


def _tail(count: int | None, write: Callable[[str, str, bytes], object]) -> Any:
    if count is None:
        return None
    from flux_cli.attach_tail import Tail

    return Tail(count, write)


class Attach:
    """One job, followed.

    Args:
        handle: connection to the instance. jobid: the job (a JobID).
        label: begin lines of output with the rank of their task.
        stdin: task ranks that get this process's stdin, None for none.
        show_events, show_exec: print events of the eventlog, and of the shells, on stderr.
        interactive: take Ctrl-C and other signals as meant for the job.
        announce: print the job's id on stderr first.
        quiet: no warnings on stderr, and nothing of the shells' log.
        wait_event: event of the eventlog after which that is followed no more; the output still is.
        debug: let tasks go on that were stopped for a debugger, once all are there.
        tail: lines to show of the output that is there already, None for all of it.
        status: shows what the job waits for.
        out, err: where output goes, by default stdout and stderr. prefix: stands before the labels of lines.

    Lines about events begin with the time since the job was submitted; those of the shells' log only when interactive.
    """

    def __init__(
        self,
        handle: Flux,
        jobid: Any,
        *,
        label: bool = False,
        stdin: str | None = "all",
        show_events: bool = False,
        show_exec: bool = False,
        interactive: bool = True,
        announce: bool = False,
        name: str = "job",
        quiet: bool = False,
        wait_event: str = "clean",
        debug: bool = False,
        tail: int | None = None,
        status: StatusLine | None = None,
        out: TextIO | None = None,
        err: TextIO | None = None,
        prefix: str = "",
    ) -> None:
        self._handle = handle
        self._reactor = handle.get_reactor()
        self._shown = AttachOutput(self._reactor, name, out, err, label=label, prefix=prefix, patient=interactive)
        self._jobid = jobid
        self._stdin_ranks = stdin
        self._show_events = show_events
        self._show_exec = show_exec
        self._interactive = interactive
        self._announce = announce
        self._name = name
        self._quiet = quiet
        self._wait_event = wait_event
        self._debug = debug
        self._prefix = prefix if label else ""
        self._tail = _tail(tail, self._shown.write)
        self._status = status
        self.result = JobResult(int(jobid))
        self._output = OutputReader(self._write, self._redirected, self._shell_log)
        self._waiting_for = {"eventlog", "exec", "output"}
        self._error: FluxError | None = None
        self._over = False
        self._on_over: Callable[[Attach], object] | None = None
        self._stdin: Any = None
        self._running = False
        self._left_with: int | None = None
        self._last_interrupt = -_DOUBLE_INTERRUPT
        self._watchers: list[Any] = []

    def run(self) -> int:
        """Follow the job until it is inactive and its output is complete; gives the exit code for it.

        Raises:
            FluxError: the job is unknown or not this user's, or the connection was lost.
        """
        self.start(lambda _attach: self._reactor.stop())
        try:
            self._handle.reactor_run()
        finally:
            self.close()
        return self.finish()

    def start(self, on_over: Callable[[Attach], object]) -> None:
        """Send the requests; the reactor does the rest, and then calls on_over(self)."""
        self._on_over = on_over
        self._reactor.incref()
        if self._interactive:
            self._catch_signals()
        if self._announce:
            self._say_plain(f"jobid: {self._jobid}")  # who reads this may already send signals
        self._watch("eventlog", "eventlog", self._on_event, 0)
        self._watch("exec", "guest.exec.eventlog", self._on_exec_event, FLUX_JOB_EVENT_WATCH_WAITCREATE)
        sentinel = FLUX_JOB_EVENT_WATCH_INITIAL_SENTINEL if self._tail else 0
        self._watch("output", "guest.output", self._output.on_event, FLUX_JOB_EVENT_WATCH_WAITCREATE | sentinel)

    def _watch(self, stream: str, path: str, on_event: Any, flags: int) -> None:
        def ended(error: FluxError | None) -> None:
            self._ended(stream, error)

        EventStream(self._handle, self._jobid, path, on_event, ended, flags, self._end_tail)

    def _catch_signals(self) -> None:
        self._catch(signal.SIGINT, self._interrupted)
        for signum in _FORWARDED:
            self._catch(signum, self._forward)

    def _catch(self, signum: int, callback: Any) -> None:
        if signal.getsignal(signum) is not signal.SIG_IGN:  # as under nohup
            watcher = self._handle.signal_watcher_create(signum, lambda *_: callback(signum))
            watcher.start()
            self._watchers.append(watcher)

    def close(self) -> None:
        """Stop watching: signals, stdin, eventlogs."""
        for watcher in self._watchers:
            watcher.stop()
        self._watchers.clear()
        if self._stdin is not None:
            self._stdin.close()
        if self._status is not None:
            self._status.close()
        self._end_tail()
        self._shown.flush()

    def finish(self) -> int:
        """The exit code of a job that was followed; says on stderr what is not plain success."""
        if self._error is not None:
            raise no_such_job(self._error, self._jobid)
        if self._left_with is not None:
            return self._left_with
        result = self.result
        code = exit_code(result.waitstatus)
        if result.waitstatus is not None and code:
            signum = result.waitstatus & 0x7F or (code - 128 if 128 < code < 128 + signal.NSIG else 0)
            self._say(f"task(s) {signal.strsignal(signum)}" if signum else f"task(s) exited with exit code {code}")
        return code or (1 if result.fatal or self._shown.incomplete else 0)

    def _say(self, text: str) -> None:
        self._shown.say(f"flux-{self._name}: {text}")

    # -- ends

    def _ended(self, stream: str, error: FluxError | None) -> None:
        if error is not None and (stream == "eventlog" or error.errno not in _NO_SUCH_JOB):
            self._error = self._error or error
            self._waiting_for.clear()
        self._done(stream)

    def _done(self, stream: str) -> None:
        self._waiting_for.discard(stream)
        if stream == "eventlog" and not self.result.started:
            self._waiting_for.clear()  # what has no shell has no output
        if not self._waiting_for and not self._over and self._on_over is not None:
            self._over = True
            self._reactor.decref()
            self._on_over(self)

    # -- the job's events

    def _on_event(self, event: EventLogEvent) -> None:
        if "eventlog" not in self._waiting_for:
            return
        self.result.on_event(event)
        if self._show_events:
            self._show("job", event)
        elif self._status is not None:
            self._status.on_event(event)
        if event.name == "exception":
            self._exception(event)
        elif event.name == "start":
            self._running = True
        elif event.name == "finish":
            self._running = False
        elif event.name == "clean":
            self._done("eventlog")
            self._look_for_output()
        if event.name == self._wait_event:
            self._done("eventlog")

    def _exception(self, event: EventLogEvent) -> None:
        context = event.context
        if not self._show_events:
            what = f"type={context['type']} severity={context['severity']} {context.get('note', '')}"
            self._say_timed(event, f"job.exception {self._jobid} {what}".rstrip())

    def _look_for_output(self) -> None:
        """The job is over: what never came into being will not come any more."""
        if "output" in self._waiting_for and not self._output.events:
            look = EventStream(self._handle, self._jobid, "guest.output", lambda _event: look.cancel(), self._looked)

    def _looked(self, error: FluxError | None) -> None:
        if error is not None:  # no output eventlog: the shell did not get that far
            self._done("output")

    def _on_exec_event(self, event: EventLogEvent) -> None:
        if self._show_exec:
            self._show("exec", event)
        if event.name == "shell.init":
            self._shell_started(event.context)
        elif event.name == "shell.start":
            if self._debug and event.context.get("sync"):
                self._request("job-manager.kill", {"id": int(self._jobid), "signum": signal.SIGCONT})
            if self._stdin_ranks not in (None, "all"):
                self._check_ranks(self._stdin_ranks, event.context)
        elif event.name == "log":
            self._exec_log(event.context)
        elif event.name == "done":
            self._done("exec")

    def _exec_log(self, context: dict[str, Any]) -> None:
        who = f"{context.get('component', 'exec')}[{context.get('rank', '?')}]"
        for line in str(context.get("data", "")).splitlines():
            self._say_plain(line if line.startswith("flux-shell") else f"{who}: {line}")

    def _shell_started(self, context: dict[str, Any]) -> None:
        if self._stdin is not None:
            return
        if "pty" in context and self.result.waitstatus is None:
            from flux_cli.attach_terminal import JobTerminal

            self._stdin = JobTerminal(
                self._handle, context, self._stdin_ranks, self._leave, lambda: self._done("terminal")
            )
            self._waiting_for.add("terminal")  # what the job has shown may be behind its eventlogs
        elif self._stdin_ranks is not None:
            from flux_cli.attach_stdin import StdinSender

            self._stdin = StdinSender(self._handle, context["service"], context["leader-rank"], self._stdin_ranks)
        else:
            return
        self._stdin.start()

    def _check_ranks(self, wanted: str, context: dict[str, Any]) -> None:
        from flux.idset import IDset
        from flux.taskmap import decode

        ranks = IDset(wanted)
        there = ranks & f"0-{decode(context['taskmap']).ntasks() - 1}"
        if there != ranks:
            self._warn(f"warning: adjusting --stdin-ranks from {wanted} to {there}")

    def _show(self, log: str, event: EventLogEvent) -> None:
        self._say_timed(event, f"{log}.{event.name} {event.context_string}".rstrip())

    def _say_timed(self, event: EventLogEvent, text: str) -> None:
        """A line about an event, after its time since the job was submitted."""
        seconds = event.timestamp - self.result.times.get("t_submit", event.timestamp)
        self._say_plain(f"{seconds:.3f}s: {text}")

    def _say_plain(self, text: str) -> None:
        if self._status is not None:
            self._shown.flush()
            self._status.clear()
        self._shown.say(text)

    # -- output

    def _write(self, stream: str, ranks: str, data: bytes) -> None:
        if self._stdin is not None and self._stdin.shows(ranks):
            return
        write = self._shown.write if self._tail is None else self._tail.add
        write(stream, ranks, data)

    def _end_tail(self) -> None:
        """What was there at the start has been read: from now on output is shown as it comes."""
        if self._tail is not None:
            tail, self._tail = self._tail, None
            tail.release()

    def _redirected(self, stream: str, ranks: str, path: str) -> None:
        self._say_plain(f"{ranks}: {stream} redirected to {path}")

    def _shell_log(self, event: EventLogEvent) -> None:
        if self._quiet:
            return
        if self._interactive:
            self._say_timed(event, log_line(event.context))
        else:
            self._say_plain(self._prefix + log_line(event.context))

    # -- signals

    def _interrupted(self, signum: int) -> None:
        now = self._reactor.clock()
        if now - self._last_interrupt <= _DOUBLE_INTERRUPT:
            self._cancel("interrupted by ctrl-C")
            return
        self._last_interrupt = now
        stop = self._handle.signal_watcher_create(signal.SIGTSTP, lambda *_: self._detach())
        stop.start()
        self._watchers.append(stop)
        self._reactor.call_later(_DOUBLE_INTERRUPT, stop.stop)
        self._warn(f"one more ctrl-C within {_DOUBLE_INTERRUPT:g}s to cancel or ctrl-Z to detach")

    def _detach(self) -> None:
        """Leave the job alone; what was to come after it in a script is not to run."""
        self._warn("detaching...")
        self._leave(1)

    def _leave(self, code: int = 0) -> None:
        self._left_with = code
        self._waiting_for.clear()
        self._done("eventlog")

    def _warn(self, text: str) -> None:
        if not self._quiet:
            self._say(text)

    def _forward(self, signum: int) -> None:
        if self._running:
            self._request("job-manager.kill", {"id": int(self._jobid), "signum": signum})
        else:
            self._cancel(f"{signal.Signals(signum).name} before the job ran")

    def _cancel(self, note: str) -> None:
        self._request("job-manager.raise", {"id": int(self._jobid), "type": "cancel", "severity": 0, "note": note})

    def _request(self, topic: str, payload: dict[str, Any]) -> None:
        self._handle.rpc(topic, payload).then(self._requested)

    def _requested(self, rpc: Any) -> None:
        try:
            rpc.get()
        except OSError as exc:
            self._say(f"{rpc.topic}: {exc}")
