"""`flux lua`: run a Lua script that talks to the instance (flux-lua(1))."""

from __future__ import annotations

import argparse
import contextlib
import signal
from collections.abc import Iterator

from flux_cli.common import Parser, die

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux_shell.sandbox import LuaState


def command(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    from flux_cli.lua_bindings import LuaBindings
    from flux_shell.sandbox import LuaState, ScriptError

    state = LuaState(limited=False)
    bindings = LuaBindings(state)
    try:
        _run(state, args)
    except ScriptError as exc:
        die(str(exc))
    except OSError as exc:
        die(f"{args.file}: {exc.strerror}")
    finally:
        bindings.close()
    return 0


def _run(state: LuaState, args: argparse.Namespace) -> None:
    with _interruptible():
        if args.execute is not None:
            state.define("arg", [name for name in (args.file, *args.args) if name is not None])
            state.run_text(args.execute, "(command line)")
        elif args.file is None:
            die("a FILE to run is needed, or -e CODE")
        else:
            state.define("arg", args.args)
            state.run_file(args.file)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let an interrupt end the process: a handler in Python would wait for the script to return."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # it is ignored, as in the background
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _parser() -> Parser:
    parser = Parser("lua", "Run a script in Lua that talks to the instance.")
    parser.add_argument("-e", "--execute", metavar="CODE", help="run CODE instead of a file")
    parser.add_argument("file", metavar="FILE", nargs="?", help="script to run")
    parser.add_argument(
        "args", metavar="ARG", nargs=argparse.REMAINDER, help="arguments of the script, in its table arg"
    )
    return parser
