"""`flux pmi`: try the PMI that a parallel program was started with (flux-pmi(1))."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import time
from collections.abc import Callable

from flux.errors import FluxError
from flux.idset import IDset
from flux.pmi.client import PMIClient
from flux.pmi.connect import LIBRARIES, connect, has_pmi, library_of
from flux_cli.common import Parser, die, parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.pmi.library import LibraryClient

_METHODS = "simple, libpmi, libpmi:PATH or single"


class Single:
    """What a process that no launcher knows of has: a program of its own."""

    def __init__(self) -> None:
        self.rank, self.size = 0, 1
        self._values: dict[str, str] = {}

    def init(self) -> None:
        pass

    def get_my_kvsname(self) -> str:
        return "single"

    def put(self, key: str, value: str) -> None:
        self._values[key] = value

    def get(self, key: str) -> str:
        if key not in self._values:
            raise FileNotFoundError(f"{key}: key not found")
        return self._values[key]

    def barrier(self) -> None:
        pass

    def finalize(self) -> None:
        pass

    def request_abort(self, exitcode: int, msg: str) -> None:
        die(msg, exitcode)


class Program:
    """The program that this process is one of. Each call tells of itself when it is asked to."""

    def __init__(self, method: str, client: PMIClient | LibraryClient | Single, verbose: bool) -> None:
        self._method, self._client, self._verbose = method, client, verbose
        client.init()
        self.name = client.get_my_kvsname()
        self.rank, self.size = client.rank, client.size
        self._tell(f"initialize: rank={self.rank} size={self.size} name={self.name}")

    def _tell(self, what: str) -> None:
        if self._verbose:
            sys.stderr.write(f"{self._method}: {what}: success\n")

    def barrier(self) -> None:
        self._client.barrier()
        self._tell("barrier")

    def put(self, key: str, value: str) -> None:
        self._client.put(key, value)
        self._tell(f"put {key}={value}")

    def get(self, key: str) -> str:
        value = self._client.get(key)
        self._tell(f"get {key}={value}")
        return value

    def abort(self, text: str) -> None:
        self._client.request_abort(1, text)

    def finalize(self) -> None:
        self._client.finalize()
        self._tell("finalize")

    def completed(self, what: str, seconds: float | None) -> None:
        """Rank 0 says what all have done."""
        if self.rank == 0:
            took = "" if seconds is None else f" in {seconds:.3f}s."
            print(f"{self.name}: completed pmi {what} on {self.size} tasks{took}", flush=True)


def command(argv: list[str]) -> int:
    args = _parser().parse_intermixed_args(argv)
    if args.keys and args.operation != "get":
        die(f"{args.operation} takes no further arguments, got {' '.join(args.keys)}")
    if args.timeout:
        signal.signal(signal.SIGALRM, lambda _signum, _frame: die(f"timed out after {args.timeout:g} s"))
        signal.setitimer(signal.ITIMER_REAL, args.timeout)
    try:
        program = Program(*_client(args.method), args.verbose)
        _OPERATIONS[args.operation](program, args)
        program.finalize()
    except (FluxError, FileNotFoundError, ConnectionError) as exc:
        die(f"{args.operation}: {exc}")
    return 0


def _parser() -> Parser:
    parser = Parser("pmi", "Try the PMI that this process was started with.")
    parser.add_argument("operation", choices=tuple(_OPERATIONS), metavar="OPERATION", help=", ".join(_OPERATIONS))
    parser.add_argument("keys", nargs="*", metavar="KEY", help="get: keys to look up")
    parser.add_argument("--method", metavar="METHOD", default="", help=f"{_METHODS}; default: what the environment has")
    parser.add_argument("-t", "--timeout", type=parse_duration, metavar="FSD", help="end with an error after that time")
    parser.add_argument("-v", "--verbose", action="store_true", help="show each call")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="exchange: how often (1)")
    parser.add_argument("--ranks", type=_ranks, default=IDset("0"), help="get: which ranks print, or all (0)")
    parser.add_argument("--test-count", type=int, default=1, metavar="N", help="barrier: how often (1)")
    parser.add_argument("--test-abort", type=int, metavar="RANK", help="barrier: RANK ends the program instead")
    parser.add_argument("--test-timing", action="store_true", help="barrier: meet once, then tell how long one takes")
    return parser


def _ranks(text: str) -> IDset | None:
    """The ranks; None for all."""
    try:
        return None if text == "all" else IDset(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"expected all, or ranks such as 0-3, got {text!r}: {exc}") from None


def _client(method: str) -> tuple[str, PMIClient | LibraryClient | Single]:
    environ = os.environ
    name, _, path = method.partition(":")
    if not method and has_pmi(environ):
        return "simple" if "PMI_FD" in environ or "PMI_PORT" in environ else "libpmi", connect()
    if method == "simple":
        return method, PMIClient.from_port() if "PMI_PORT" in environ else PMIClient.from_env()
    if name == "libpmi":
        from flux.pmi.library import LibraryClient

        return name, LibraryClient(path or library_of(environ) or LIBRARIES[0])
    if method not in ("", "single"):
        die(f"there is no method {method!r}: it is {_METHODS}")
    return "single", Single()


def _barrier(program: Program, args: argparse.Namespace) -> None:
    if args.test_abort == program.rank:
        program.abort(f"flux-pmi: rank {program.rank} is aborting")
    if args.test_timing:
        program.barrier()
    for _ in range(args.test_count):
        began = time.monotonic()
        program.barrier()
        program.completed("barrier", time.monotonic() - began if args.test_timing else None)


def _exchange(program: Program, args: argparse.Namespace) -> None:
    """Each puts a value that all get, and look at."""
    for turn in range(args.count):
        program.barrier()
        began = time.monotonic()
        program.put(f"flux-pmi.{turn}.{program.rank}", str(program.rank))
        program.barrier()
        for rank in range(program.size):
            value = program.get(f"flux-pmi.{turn}.{rank}")
            if value != str(rank):
                raise FluxError(errno.EPROTO, f"rank {program.rank} got {value!r} from rank {rank}")
        program.barrier()
        program.completed("exchange", time.monotonic() - began)


def _get(program: Program, args: argparse.Namespace) -> None:
    if args.ranks is None or program.rank in args.ranks:
        for key in args.keys:
            print(program.get(key), flush=True)


_OPERATIONS: dict[str, Callable[[Program, argparse.Namespace], None]] = {
    "barrier": _barrier,
    "exchange": _exchange,
    "get": _get,
}
