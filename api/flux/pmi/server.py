"""The process manager's side of PMI-1 as a state machine: lines in, lines out (RFC 13).  No I/O here.

One PMIServer serves the processes of a program that live on this node.  When they are the whole program, a
barrier ends by itself.  When they are not, the owner exchanges what was put with the other nodes' servers:
take_exchange(), then complete_exchange().
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias

from flux.pmi.wire import WireError, format_line, parse_line

__all__ = ["Abort", "PMIServer", "Reply"]

Reply: TypeAlias = tuple[int, str]
"""(rank, line): what to write to which process, newline included."""

Fields: TypeAlias = Mapping[str, str]


class Abort(NamedTuple):
    """A process asked to end the whole program."""

    rank: int
    exitcode: int
    message: str


class _Refused(Exception):
    """The request is answered with rc=-1 and this text."""


class PMIServer:
    """Serve PMI-1 to the processes ``ranks`` (default: all) of a program of ``size`` processes.

    preput: keys there from the start; ValueError when a value has a newline.  universe_size: default ``size``.
    on_abort is called with an Abort, which also stays in ``self.abort``.  on_error is called with (rank, text) when
    a process breaks the protocol; it gets an answer with rc=-1.  No line makes a method raise.
    """

    def __init__(
        self,
        size: int,
        kvsname: str,
        preput: Mapping[str, str] | None = None,
        universe_size: int | None = None,
        appnum: int = 0,
        ranks: Iterable[int] | None = None,
        kvsname_max: int = 64,
        keylen_max: int = 64,
        vallen_max: int = 1024,
        on_abort: Callable[[Abort], None] | None = None,
        on_error: Callable[[int, str], None] | None = None,
    ) -> None:
        self.size = size
        self.kvsname = kvsname
        self.kvs: dict[str, str] = dict(preput or {})
        if any("\n" in value for value in self.kvs.values()):
            raise ValueError(f"a PMI value must not contain a newline: {self.kvs}")
        self.abort: Abort | None = None
        self.finalized: set[int] = set()
        self._ranks = frozenset(range(size) if ranks is None else ranks)
        self._universe_size = size if universe_size is None else universe_size
        self._appnum = appnum
        self._maxes = {"kvsname_max": kvsname_max, "keylen_max": keylen_max, "vallen_max": vallen_max}
        self._on_abort = on_abort
        self._on_error = on_error
        self._new: dict[str, str] = {}
        self._in_barrier: set[int] = set()
        self._exchanging = False
        self._lost: set[int] = set()
        self._spawning: set[int] = set()
        self._commands: dict[str, Callable[[int, Fields], list[Reply]]] = {
            "init": self._init,
            "get_maxes": self._get_maxes,
            "get_my_kvsname": self._get_my_kvsname,
            "get_universe_size": self._get_universe_size,
            "get_appnum": self._get_appnum,
            "put": self._put,
            "get": self._get,
            "barrier_in": self._barrier_in,
            "finalize": self._finalize,
            "abort": self._abort,
            "publish_name": self._unsupported,
            "unpublish_name": self._unsupported,
            "lookup_name": self._unsupported,
        }

    # --- input ----------------------------------------------------------------------------

    def on_line(self, rank: int, line: str | bytes) -> list[Reply]:
        """Take one line from process ``rank``; return what to write, and to whom, in that order."""
        if rank in self._spawning:
            return self._spawn_line(rank, line)
        cmd = ""
        try:
            fields = parse_line(line)
            cmd = fields.get("cmd", "")
            if "mcmd" in fields:
                self._spawning.add(rank)
                return []
            return self._dispatch(rank, cmd, fields)
        except (WireError, _Refused) as e:
            return self._refuse(rank, _RESPONSES.get(cmd, "error"), str(e))

    def on_disconnect(self, rank: int) -> list[Reply]:
        """Process ``rank`` is gone.  Unless it had finalized, a barrier can end no more: it fails for all."""
        self._spawning.discard(rank)
        if rank in self.finalized:
            return []
        self._lost.add(rank)
        return self._end_barrier(f"process {rank} is gone") if self._in_barrier else []

    # --- exchange with other nodes --------------------------------------------------------

    def take_exchange(self) -> dict[str, str] | None:
        """Once all local processes are in a barrier that others take part in: what they put since the last.

        None at any other time.  The caller must then call complete_exchange().
        """
        complete = self._in_barrier == self._ranks and len(self._ranks) < self.size
        if not complete or self._exchanging:
            return None
        self._exchanging = True
        entries, self._new = self._new, {}
        return entries

    def complete_exchange(self, entries: Mapping[str, str], error: str = "") -> list[Reply]:
        """End the barrier: what all other processes put, or why it failed."""
        self._exchanging = False
        self.kvs.update(entries)
        return self._end_barrier(error)

    # --- commands -------------------------------------------------------------------------

    def _dispatch(self, rank: int, cmd: str, fields: Fields) -> list[Reply]:
        command = self._commands.get(cmd)
        if command is None:
            raise _Refused(f"unknown command '{cmd}'")
        if rank not in self._ranks:
            raise _Refused(f"rank {rank} is not served here")
        if rank in self._in_barrier:
            raise _Refused(f"{cmd} while in a barrier")
        return command(rank, fields)

    def _init(self, rank: int, fields: Fields) -> list[Reply]:
        if not _number(fields, "pmi_version"):
            raise _Refused("PMI version 0 is not supported, expected 1")
        self.finalized.discard(rank)
        return [self._reply(rank, "init", pmi_version=1, pmi_subversion=1)]

    def _get_maxes(self, rank: int, fields: Fields) -> list[Reply]:
        return [self._reply(rank, "get_maxes", **self._maxes)]

    def _get_my_kvsname(self, rank: int, fields: Fields) -> list[Reply]:
        return [self._reply(rank, "get_my_kvsname", kvsname=self.kvsname)]

    def _get_universe_size(self, rank: int, fields: Fields) -> list[Reply]:
        return [self._reply(rank, "get_universe_size", size=self._universe_size)]

    def _get_appnum(self, rank: int, fields: Fields) -> list[Reply]:
        return [self._reply(rank, "get_appnum", appnum=self._appnum)]

    def _put(self, rank: int, fields: Fields) -> list[Reply]:
        key, value = self._key(fields), _field(fields, "value")
        if _size(value) >= self._maxes["vallen_max"]:
            raise _Refused(f"value of key '{key}' is longer than {self._maxes['vallen_max'] - 1} bytes")
        self.kvs[key] = self._new[key] = value
        return [(rank, _STORED)]

    def _get(self, rank: int, fields: Fields) -> list[Reply]:
        key = self._key(fields)
        if key not in self.kvs:
            raise _Refused(f"key '{key}' not found")
        return [(rank, f"{_FOUND}{self.kvs[key]}\n")]

    def _key(self, fields: Fields) -> str:
        kvsname, key = _field(fields, "kvsname"), _field(fields, "key")
        if kvsname != self.kvsname:
            raise _Refused(f"unknown kvsname '{kvsname}'")
        if not 0 < _size(key) < self._maxes["keylen_max"]:
            raise _Refused(f"key must have 1 to {self._maxes['keylen_max'] - 1} bytes")
        return key

    def _barrier_in(self, rank: int, fields: Fields) -> list[Reply]:
        self._in_barrier.add(rank)
        if self._lost:
            return self._end_barrier(f"process {min(self._lost)} is gone")
        whole_program = len(self._ranks) == self.size
        return self._end_barrier("") if whole_program and self._in_barrier == self._ranks else []

    def _end_barrier(self, error: str) -> list[Reply]:
        ranks, self._in_barrier = sorted(self._in_barrier), set()
        outcome = {"rc": -1, "msg": _words(error)} if error else {"rc": 0}
        line = format_line("barrier_out", **outcome)
        return [(rank, line) for rank in ranks]

    def _finalize(self, rank: int, fields: Fields) -> list[Reply]:
        self.finalized.add(rank)
        return [self._reply(rank, "finalize")]

    def _abort(self, rank: int, fields: Fields) -> list[Reply]:
        code = next((name for name in ("exitcode", "exit_code") if name in fields), "")
        message = fields.get("msg") or fields.get("error_msg") or ""
        self.abort = Abort(rank, _number(fields, code) if code else 1, message)
        if self._on_abort is not None:
            self._on_abort(self.abort)
        return [(rank, "\n")]

    def _unsupported(self, rank: int, fields: Fields) -> list[Reply]:
        raise _Refused(f"{fields['cmd']} is not supported")

    def _spawn_line(self, rank: int, line: str | bytes) -> list[Reply]:
        """Skip the lines of a spawn request up to its end; none of them is looked at."""
        text = line.decode("utf-8", "surrogateescape") if isinstance(line, bytes) else line
        if text.strip() != "endcmd":
            return []
        self._spawning.discard(rank)
        return self._refuse(rank, "spawn_result", "spawn is not supported")

    # --- output ---------------------------------------------------------------------------

    def _reply(self, rank: int, cmd: str, **fields: object) -> Reply:
        return rank, format_line(_RESPONSES[cmd], rc=0, **fields)

    def _refuse(self, rank: int, response: str, text: str) -> list[Reply]:
        if self._on_error is not None and response == "error":
            self._on_error(rank, text)
        return [(rank, format_line(response, rc=-1, msg=_words(text)))]


_RESPONSES = {
    "init": "response_to_init",
    "get_maxes": "maxes",
    "get_my_kvsname": "my_kvsname",
    "get_universe_size": "universe_size",
    "get_appnum": "appnum",
    "put": "put_result",
    "get": "get_result",
    "barrier_in": "barrier_out",
    "finalize": "finalize_ack",
    "abort": "error",
    "publish_name": "publish_result",
    "unpublish_name": "unpublish_result",
    "lookup_name": "lookup_result",
}

# Lines that are answered by the thousand, made ready.
_STORED = format_line("put_result", rc=0)
_FOUND = format_line("get_result", rc=0, value="")[:-1]


def _field(fields: Fields, name: str) -> str:
    if name not in fields:
        raise _Refused(f"{fields['cmd']} without '{name}'")
    return fields[name]


def _number(fields: Fields, name: str) -> int:
    text = _field(fields, name)
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) < 10):
        raise _Refused(f"{name}={text} is not a number")
    return int(text)


def _words(text: str) -> str:
    """A message as one word: MPICH's parser takes a blank for the end of a value."""
    return "_".join(text.split())


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))
