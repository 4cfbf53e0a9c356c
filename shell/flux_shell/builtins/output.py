"""Standard output and error of tasks, and the shell's log (RFC 24; flux-shell(1), options output.*)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flux.constants import IDSET_FLAG_BRACKETS, IDSET_FLAG_RANGE
from flux.hooks.shell import DEFERRED, hookimpl
from flux.idset import IDset
from flux.message import Message
from flux.stdio import decode_io
from flux_shell.journal import check_batch_timeout
from flux_shell.limit import Limit
from flux_shell.mustache import differs_by_rank
from flux_shell.option_names import object_of, warn_of_misnamed
from flux_shell.sinks import FileSink, JournalSink, RelaySink, Sink, TerminalSink
from flux_shell.task import STREAMS
from flux_shell.taskio import Reader

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["Output"]

LOG_WARNING = 4
_KEYS = (*STREAMS, "mode", "limit", "batch-timeout")
_STREAM_KEYS = ("type", "path", "label", "buffer")


class Output:
    """Reads the tasks' streams and hands them to their sinks; shell 0 takes those of the other shells."""

    def __init__(self) -> None:
        self._sinks: dict[str, Sink] = {}
        self._readers: list[Reader] = []
        self._remote: dict[int, int] = {}
        self._unanswered: list[Message] = []

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        self._shell = shell
        self._output = object_of("output", shell.options.get("output"), "output.stdout.type=kvs")
        if self._output:
            self._check_shape()
        self._unbuffered = {name: self._option(name, "buffer", {}).get("type") == "none" for name in STREAMS}
        self._check_options()
        for stream in STREAMS:
            self._sinks[stream] = self._sink(stream)
        if shell.journal is None:
            return
        for flow in shell.flows:
            flow.on_drained.append(self._resume)
        if shell.rank == 0:
            self._write_header()
            self._expect_others()

    def _check_shape(self) -> None:
        """ValueError when what has keys is no object."""
        shell = self._shell
        warn_of_misnamed(shell, "output", self._output, _KEYS)
        for stream in STREAMS:
            name = f"output.{stream}"
            options = object_of(name, self._output.get(stream), f"{name}.type=kvs")
            warn_of_misnamed(shell, name, options, _STREAM_KEYS)
            buffer = object_of(f"{name}.buffer", options.get("buffer"), f"{name}.buffer.type=none")
            warn_of_misnamed(shell, f"{name}.buffer", buffer, ("type",))

    def _check_options(self) -> None:
        """What is no reason to end the job is said."""
        mode = self._output.get("mode", "truncate")
        if mode not in ("truncate", "append"):
            self._shell.log(LOG_WARNING, f"ignoring invalid output.mode={mode}, it is truncate or append", "output")
        for stream in STREAMS:
            kind = self._option(stream, "buffer", {}).get("type", "line")
            if kind not in ("line", "none"):
                text = f"ignoring invalid output.{stream}.buffer.type={kind}, it is line or none"
                self._shell.log(LOG_WARNING, text, "output")
            path = str(self._option(stream, "path", ""))
            if path.count("{{") != path.count("}}"):
                self._shell.log(
                    LOG_WARNING, f"a tag of output.{stream}.path={path} has no end or no beginning", "output"
                )
        check_batch_timeout("output", self._output)

    def _option(self, stream: str, name: str, default: Any) -> Any:
        """An option of a stream; stderr goes where stdout goes unless it says otherwise."""
        output = self._output
        own, out = output.get(stream) or {}, output.get("stdout") or {}
        return own.get(name, out.get(name, default)) if "type" not in own else own.get(name, default)

    def _kind(self, stream: str) -> Any:
        usual = "term" if self._shell.standalone else "kvs"
        return self._option(stream, "type", "file" if self._option(stream, "path", "") else usual)

    def _sink(self, stream: str) -> Sink:
        shell, kind = self._shell, self._kind(stream)
        label = bool(self._option(stream, "label", False))
        if kind == "term" and shell.journal is None:
            return TerminalSink(STREAMS[stream], label)
        if kind == "file":
            return self._file_sink(stream, label)
        if kind not in ("kvs", "term") or shell.journal is None:
            raise ValueError(f"shell option output.{stream}.type is kvs, file or term, not {kind!r}")
        if shell.rank:
            return RelaySink(shell, stream)
        return JournalSink(shell.journal, stream, shell.job.ntasks, Limit(shell, stream, self._output.get("limit")))

    def _file_sink(self, stream: str, label: bool) -> Sink:
        shell, path = self._shell, str(self._option(stream, "path", ""))
        if not path:
            raise ValueError(f"shell option output.{stream}.type=file needs output.{stream}.path")
        append = self._output.get("mode") == "append"
        out = self._sinks.get("stdout")
        if stream == "stderr" and path == str(self._option("stdout", "path", "")) and out is not None:
            return out
        if shell.rank and not differs_by_rank(path):
            return RelaySink(shell, stream)
        return FileSink(shell, path, label, append)

    def _write_header(self) -> None:
        journal, ntasks = self._shell.journal, self._shell.job.ntasks
        assert journal is not None
        context = {
            "version": 1,
            "encoding": dict.fromkeys(STREAMS, "UTF-8"),
            "count": dict.fromkeys(STREAMS, ntasks),
            "options": {},
        }
        journal.append("output", "header", context)
        ranks = IDset(f"0-{ntasks - 1}").encode(IDSET_FLAG_BRACKETS | IDSET_FLAG_RANGE)
        for stream, sink in self._sinks.items():
            if isinstance(sink, FileSink):
                journal.append("output", "redirect", {"stream": stream, "rank": ranks, "path": sink.path})

    # -- streams of local tasks

    @hookimpl
    def task_init(self, task: Task) -> None:
        for stream in STREAMS:
            if task.terminal:
                continue  # its session calls shell.output
            take = partial(self._local, task.rank, stream)
            try:
                self._readers.append(task.channel_subscribe(stream, take, not self._unbuffered[stream]))
            except FileExistsError:
                take(b"", True)  # another plugin has it: the job has no output there

    def _local(self, rank: int, stream: str, data: bytes, eof: bool) -> None:
        self._sinks[stream].write(rank, data, eof)
        if self._is_full():
            for reader in self._readers:
                reader.pause()

    def _is_full(self) -> bool:
        return any(flow.is_full for flow in self._shell.flows)

    def _resume(self) -> None:
        if self._is_full():
            return
        unanswered, self._unanswered = self._unanswered, []
        for msg in unanswered:
            self._shell.flux.respond(msg)
        for reader in self._readers:
            reader.resume()

    @hookimpl
    def shell_output(self, stream: str, rank: int, data: bytes, eof: bool) -> None:
        self._local(rank, stream, data, eof)

    # -- streams of the other shells

    def _expect_others(self) -> None:
        shell = self._shell
        shell.on_request("write", self._write)
        streams = sum(not sink.by_task for sink in self._sinks.values())
        for rank in shell.others():
            self._remote[rank] = streams * shell.job.counts[rank]
            for _ in range(self._remote[rank]):
                shell.add_completion_ref("remote-output")

    def _write(self, msg: Message) -> Any:
        request = msg.payload
        if request["name"] == "log":
            self._append_log(request["context"])
            return None
        chunk = decode_io(request["context"])
        self._sinks[chunk.stream].write(int(chunk.rank), chunk.data, chunk.eof)
        if chunk.eof:
            self._drop_remote(request["shell_rank"], 1)
        if not self._is_full():
            return None
        self._unanswered.append(msg)  # so that the sender makes its tasks wait
        return DEFERRED

    def _drop_remote(self, shell_rank: int, count: int) -> None:
        count = min(count, self._remote.get(shell_rank, 0))
        for _ in range(count):
            self._remote[shell_rank] -= 1
            self._shell.remove_completion_ref("remote-output")

    @hookimpl
    def shell_lost(self, shell_rank: int) -> None:
        self._drop_remote(shell_rank, self._remote.get(shell_rank, 0))

    # -- the shell's log

    @hookimpl
    def shell_log(self, shell: Shell, level: int, message: str, component: str) -> None:
        if shell.journal is None:
            return
        context: dict[str, Any] = {"rank": shell.rank, "level": level, "message": message}
        if component:
            context["component"] = component
        if shell.rank == 0:
            self._append_log(context)
        else:
            shell.send(0, "write", {"name": "log", "shell_rank": shell.rank, "context": context})

    def _append_log(self, context: dict[str, Any]) -> None:
        if self._shell.journal is not None:
            self._shell.journal.append("output", "log", context)

    @hookimpl
    def shell_exit(self) -> None:
        for sink in self._sinks.values():
            sink.close()
