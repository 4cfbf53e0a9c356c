"""The Lua initrc: the functions and tables of flux-shell-initrc(5), over the same API as Python plugins."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flux_shell.initrc import rc_directories, search_path
from flux_shell.lua_plugins import LuaPlugins
from flux_shell.sandbox import PARTS, LuaState, to_data, told

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["run_initrc"]

_PRELUDE = os.path.join(PARTS, "prelude.lua")
_LOG_LEVELS = {"log": 5, "debug": 6, "log_error": 3}


def run_initrc(shell: Shell, path: str) -> None:
    """Run an initrc. ScriptError with Lua's own message, file and line, when it fails; OSError when it is not there."""
    Initrc(shell, path).run()


class Initrc:
    """One Lua state with the shell's functions."""

    def __init__(self, shell: Shell, path: str) -> None:
        self._shell = shell
        self._path = path
        self._running = [os.path.realpath(path)]
        self._state = LuaState()
        self._plugins = LuaPlugins(shell, self._state, search_path(shell.env))
        functions = {
            **self._file_functions(),
            **self._shell_functions(),
            **self._option_functions(),
            **self._task_functions(),
            **self._plugins.functions(),
        }
        host = {name: self._state.answering(function) for name, function in functions.items()}
        self._state.run_file(_PRELUDE, self._state.functions(host), self._state.checker)

    def run(self) -> None:
        self._place_userrc()
        self._state.run_file(self._path)

    def _place_userrc(self) -> None:
        """Start the user's script from the job's directory: the initrc's may have one of the same name."""
        options = self._shell.options
        if isinstance(options.get("userrc"), str):
            options["userrc"] = os.path.join(self._shell.job.cwd, os.path.expanduser(options["userrc"]))

    def _run_file(self, path: str) -> None:
        self._running.append(os.path.realpath(path))
        try:
            self._state.run_file(path)
        finally:
            self._running.pop()

    # -- files

    def _file_functions(self) -> dict[str, Callable[..., Any]]:
        return {
            "find": self._find,
            "source": self._source,
            "rcpath": lambda *_: os.path.dirname(os.path.abspath(self._path)),
            "rc_directories": lambda: self._state.table(rc_directories(self._path, self._shell.env)),
        }

    def _source(self, path: str) -> str | None:
        """Gives what is wrong with the file; a script that fails raises ScriptError."""
        try:
            self._run_file(path)
        except OSError as exc:
            return f"source {path}: {exc.strerror}"
        return None

    def _find(self, pattern: str, required: bool) -> Any:
        """Files that a pattern names in the initrc's directory or else the job's; not the scripts that are running."""
        pattern = os.path.expanduser(pattern)
        bases, pattern = self._bases(pattern)
        wild = glob.has_magic(pattern)
        for base in bases:
            paths = [os.path.join(base, name) for name in sorted(glob.glob(pattern, root_dir=base))]
            if paths:
                return self._state.table(self._without_running(paths, required and not wild))
        if required and not wild:
            raise ValueError(_why_not_found(os.path.join(bases[0], pattern)))
        return self._state.table([])

    def _bases(self, pattern: str) -> tuple[list[str], str]:
        """Directories, whose names are no patterns, and the pattern to look for there."""
        cwd = self._shell.job.cwd
        if cwd and pattern.startswith(cwd.rstrip("/") + "/"):
            return [cwd], pattern[len(cwd.rstrip("/")) :].lstrip("/")
        return [os.path.dirname(self._path), cwd], pattern

    def _without_running(self, paths: list[str], required: bool) -> list[str]:
        others = [path for path in paths if os.path.realpath(path) not in self._running]
        if required and not others:
            raise ValueError(f"source {paths[0]}: the script is running: it would run itself without end")
        return others

    # -- shell

    def _shell_functions(self) -> dict[str, Callable[..., Any]]:
        shell = self._shell
        logs = {name: self._logger(level) for name, level in _LOG_LEVELS.items()}
        return logs | {
            "die": shell.die,
            "getenv": self._getenv,
            "setenv": lambda name, value, overwrite: _set(shell.env, name, value, overwrite),
            "unsetenv": lambda name: _unset(shell.env, name),
            "info": lambda *_: self._state.table(shell.get_info()),
            "rankinfo": self._rankinfo,
        }

    def _logger(self, level: int) -> Callable[[str], None]:
        return lambda text: self._shell.log(level, text)

    def _getenv(self, name: str | None = None) -> Any:
        env = self._shell.env
        return self._state.table(env if name is None else env.get(name))

    def _rankinfo(self, rank: int | None = None) -> Any:
        return self._state.table(self._shell.get_rank_info(self._shell.rank if rank is None else rank))

    def _option_functions(self) -> dict[str, Callable[..., Any]]:
        options = self._shell.options
        return {
            "option_get": self._option_get,
            "option_set": self._option_set,
            "options_copy": lambda: self._state.table(options),
        }

    def _option_get(self, _table: Any, name: str) -> Any:
        if name == "standalone":
            return self._shell.standalone
        if name == "verbose":
            return self._shell.verbose
        return self._state.table(self._shell.options.get(name))

    def _option_set(self, _table: Any, name: Any, value: Any) -> None:
        if not isinstance(name, str):
            raise ValueError(f"shell.options: the name of an option is a string, not {told(name)}")
        if name == "verbose":
            self._shell.log_setlevel(_verbosity(value))
        if value is None:
            self._shell.options.pop(name, None)
        else:
            self._shell.options[name] = to_data(value, f"shell.options.{name}")

    # -- task

    def _task_functions(self) -> dict[str, Callable[..., Any]]:
        return {
            "need_task": self._task,
            "task_info": lambda: self._state.table(self._task("info").info()),
            "task_getenv": lambda name: self._state.table(self._task("getenv").env.get(name)),
            "task_setenv": lambda name, value, overwrite: _set(self._task("setenv").env, name, value, overwrite),
            "task_unsetenv": lambda name: _unset(self._task("unsetenv").env, name),
        }

    def _task(self, name: str) -> Any:
        task = self._shell.current_task
        if task is None:
            raise ValueError(f"task.{name} is only there in task.* callbacks")
        return task


def _why_not_found(path: str) -> str:
    try:
        os.stat(path)
    except OSError as exc:
        return f"source {path}: {exc.strerror}"
    return f"source {path}: it has just appeared"


def _verbosity(value: Any) -> int:
    number = 0 if value is None else value
    if isinstance(number, str) and number.isdecimal():
        return int(number)
    if not isinstance(number, int):
        raise ValueError(f"shell.options.verbose must be an integer, not {told(value)}")
    return int(number)


def _set(env: dict[str, str], name: str, value: str | None, overwrite: Any) -> bool:
    """Set a variable, unless it is there and overwrite is 0 or false; gives what scripts may assert."""
    if not name or "=" in name or "\0" in name:
        raise ValueError(f"{told(name)} is no name of an environment variable")
    if value is None:
        raise ValueError(f"setenv {name}: a value is needed; unsetenv removes a variable")
    if "\0" in value:
        raise ValueError(f"setenv {name}: a value cannot hold a zero byte")
    if overwrite not in (0, False) or name not in env:
        env[name] = value
    return True


def _unset(env: dict[str, str], name: str) -> bool:
    env.pop(name, None)
    return True
