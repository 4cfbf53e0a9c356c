"""The `flux` command: find a sub-command and run it (flux(1)).

Every use of Flux from a shell begins here, so this file and what it imports load nothing that the one
sub-command does not need. Sub-commands that are entry points run in this process, others are executed.
"""

from __future__ import annotations

import gc
import os
import sys

from flux_cli import environment, lookup
from flux_cli.errors import CommandError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

USAGE = "Usage: flux [OPTIONS] CMD [CMD-OPTIONS]"
OPTIONS = """\
  -h, --help     show this help and the list of commands
  -p, --parent   connect to the parent of the instance (may be repeated)
  -r, --root     connect to the outermost of the instances around it
  -v, --verbose  show the environment of CMD and where it was searched
  -V, --version  as flux version"""

_GC_THRESHOLD = 50_000  # imports make no cycles to be found, and few commands make more objects than they do
INTERRUPTED = 130
BROKEN_PIPE = 141

_SHORT = {"h": "help", "p": "parent", "r": "root", "v": "verbose", "V": "version"}


def main() -> int:
    """The console script: run `flux` with the arguments of this process, and end it."""
    gc.set_threshold(_GC_THRESHOLD)
    _replace_closed_streams()
    _print_any_text()
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        return _end_interrupted()
    _leave(code)
    return code


def _replace_closed_streams() -> None:
    """Input that the caller closed is empty, output goes nowhere; Python has None for each.

    In this order each takes its own descriptor again: a socket that took it would be read as stdin.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - stays open until the end


def _print_any_text() -> None:
    """What the locale's encoding lacks is printed as "?"; of an argument that is no text, its bytes."""
    out = sys.stdout
    if out.errors in ("strict", "surrogateescape"):  # else PYTHONIOENCODING says what is wanted
        out.reconfigure(errors="surrogateescape" if out.encoding.lower().startswith("utf") else "replace")


def run(argv: list[str]) -> int:
    """Run `flux ARGV...` and give its exit code; KeyboardInterrupt goes on to the caller."""
    return guarded("flux", lambda: _flux(argv))


def _end_interrupted() -> int:
    """End by SIGINT itself: only then a shell ends the loop or the script around the command as well."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _end_at_exit()
    os.kill(os.getpid(), signal.SIGINT)
    return INTERRUPTED


def _leave(code: int) -> None:
    """End the process at once: tearing down the interpreter takes as long as many a command.

    Returns, and leaves the end to the interpreter, while other threads run.
    """
    threading = sys.modules.get("threading")
    if threading is not None and threading.active_count() > 1:
        return
    if _end_at_exit():
        os._exit(code)


def _end_at_exit() -> bool:
    """What is done at exit. False when output could not be written."""
    import atexit

    atexit._run_exitfuncs()
    return all([_flushed(sys.stdout), _flushed(sys.stderr)])


def _flushed(stream: TextIO | None) -> bool:
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        return False  # closed, or nobody reads: the interpreter knows how to say so
    return True


def guarded(name: str, run: lookup.Runner) -> int:
    """Call run() and turn what ends it early into a line on stderr and an exit code.

    Args:
        name: who says so: the line begins with "NAME: ".
    """
    try:
        code = run()
        sys.stdout.flush()
    except CommandError as exc:
        if isinstance(exc, UsageError) and exc.usage:
            _complain(exc.usage)
        return _fail(name, str(exc), exc.code)
    except OSError as exc:
        return _os_error(name, exc)
    except UnicodeDecodeError as exc:
        return _fail(name, f"what it reads is not text in {exc.encoding}: {exc.reason} at byte {exc.start}")
    except UnicodeEncodeError as exc:
        near = exc.object[max(0, exc.start - 20) : exc.end + 20]
        return _fail(name, f"{near!a} is not text in {exc.encoding}: {exc.reason}")
    return code or 0


def _os_error(name: str, exc: OSError) -> int:
    from flux.errors import FluxError

    if isinstance(exc, FluxError):
        return _fail(name, str(exc))
    if isinstance(exc, BrokenPipeError):
        _give_up(1)
        return BROKEN_PIPE
    return _fail(name, f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror or str(exc))


def _fail(name: str, text: str, code: int = 1) -> int:
    _complain(f"{name}: {text}")
    return code


def _complain(text: str) -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _give_up(1)
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _give_up(2)


def _give_up(fd: int) -> None:
    """What is still buffered for it has nowhere to go; without this the interpreter complains at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), fd)


def _flux(argv: list[str]) -> int:
    options, rest = _split(argv)
    environment.prepare(os.environ)
    if "help" in options:
        return _run("help", [], options)
    if "root" in options:
        while environment.enter_parent(os.environ):
            pass
    for _ in range(0 if "root" in options else options.count("parent")):
        environment.enter_parent(os.environ)
    if "version" in options:
        return _run("version", [], options)
    if not rest:
        raise UsageError("which command? `flux help` lists them", USAGE)
    return _run(rest[0], rest[1:], options)


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """flux's own options, by long name, and what follows them."""
    options: list[str] = []
    for i, word in enumerate(argv):
        if word == "--":
            return options, argv[i + 1 :]
        if not word.startswith("-") or word == "-":
            return options, argv[i:]
        options += _option(word)
    return options, []


def _option(word: str) -> list[str]:
    names = [word[2:]] if word.startswith("--") else [_SHORT.get(letter, "") for letter in word[1:]]
    if not set(names) <= set(_SHORT.values()):
        raise UsageError(f"there is no option {word}", f"{USAGE}\n{OPTIONS}")
    return names


def _run(name: str, argv: list[str], options: list[str]) -> int:
    trace = _show if "verbose" in options else None
    if trace:
        for variable in environment.VARIABLES:
            trace(f"{variable}={os.environ.get(variable, '')}")
    command = lookup.find(name, trace)
    label = "flux" if "/" in name else f"flux-{name}"
    return guarded(label, lambda: command.run(argv))


def _show(text: str) -> None:
    print(f"flux: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
