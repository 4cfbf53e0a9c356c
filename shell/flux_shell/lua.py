"""The Lua initrc: the functions and tables of flux-shell-initrc(5), over the same API as Python plugins."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flux_shell.core import ShellFatal, Terminated
from flux_shell.initrc import rc_directories, search_path
from flux_shell.lua_plugins import LuaPlugins
from flux_shell.sandbox import LuaState, ScriptError, answering, to_python

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["run_initrc"]

_PRELUDE = os.path.join(os.path.dirname(__file__), "rc", "prelude.lua")
_PASSING = (ShellFatal, Terminated)
_LOG_LEVELS = {"log": 5, "debug": 6, "log_error": 3}


def run_initrc(shell: Shell, path: str) -> None:
    """Run an initrc. ScriptError with Lua's own message, file and line, when it fails; OSError when it is not there."""
    Initrc(shell, path).run()


class Initrc:
    """One Lua state with the shell's functions."""

    def __init__(self, shell: Shell, path: str) -> None:
        self._shell = shell
        self._path = path
        self._state = LuaState()
        self._plugins = LuaPlugins(shell, self._state, search_path(shell.env))
        functions = {
            **self._file_functions(),
            **self._shell_functions(),
            **self._option_functions(),
            **self._task_functions(),
            **self._plugins.functions(),
        }
        host = {name: answering(function, _PASSING) for name, function in functions.items()}
        self._state.run_file(_PRELUDE, self._state.functions(host))

    def run(self) -> None:
        self._state.run_file(self._path)

    # -- files

    def _file_functions(self) -> dict[str, Callable[..., Any]]:
        return {
            "find": self._find,
            "source": self._source,
            "rcpath": lambda *_: os.path.dirname(os.path.abspath(self._path)),
            "rc_directories": lambda: self._state.table(rc_directories(self._path, self._shell.env)),
        }

    def _source(self, path: str) -> None:
        try:
            self._state.run_file(path)
        except OSError as exc:
            raise ScriptError(f"{path}: {exc.strerror}") from None

    def _find(self, pattern: Any, required: bool) -> Any:
        """Files that a pattern names in the initrc's directory or else the job's; not the initrc itself."""
        pattern = os.path.expanduser(str(pattern))
        bases = (os.path.dirname(self._path), self._shell.job.cwd)
        for base in bases:
            paths = sorted(glob.glob(os.path.join(base, pattern)))
            if paths:
                return self._state.table([path for path in paths if path != self._path])
        if required and not glob.has_magic(pattern):
            raise FileNotFoundError(f"source {os.path.join(bases[0], pattern)}: No such file or directory")
        return self._state.table([])

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

    def _logger(self, level: int) -> Callable[[Any], None]:
        return lambda text: self._shell.log(level, "nil" if text is None else str(text))

    def _getenv(self, name: str | None = None) -> Any:
        return self._state.table(self._shell.env) if name is None else self._shell.env.get(name)

    def _rankinfo(self, rank: Any = None) -> Any:
        return self._state.table(self._shell.get_rank_info(self._shell.rank if rank is None else int(rank)))

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

    def _option_set(self, _table: Any, name: str, value: Any) -> None:
        if name == "verbose":
            self._shell.log_setlevel(int(value))
        if value is None:
            self._shell.options.pop(name, None)
        else:
            self._shell.options[name] = to_python(value)

    # -- task

    def _task_functions(self) -> dict[str, Callable[..., Any]]:
        return {
            "need_task": self._task,
            "task_info": lambda: self._state.table(self._task("info").info()),
            "task_getenv": lambda name: self._task("getenv").env.get(name),
            "task_setenv": lambda name, value, overwrite: _set(self._task("setenv").env, name, value, overwrite),
            "task_unsetenv": lambda name: _unset(self._task("unsetenv").env, name),
        }

    def _task(self, name: str) -> Any:
        task = self._shell.current_task
        if task is None:
            raise ValueError(f"task.{name} is only there in task.* callbacks")
        return task


def _set(env: dict[str, str], name: Any, value: Any, overwrite: Any) -> bool:
    """Set a variable, unless it is there and overwrite is 0 or false; gives what scripts may assert."""
    if not isinstance(name, str) or not name or "=" in name:
        raise ValueError(f"{name!r} is no name of an environment variable")
    if value is None:
        raise ValueError(f"setenv {name}: a value is needed; unsetenv removes a variable")
    if overwrite not in (0, False) or name not in env:
        env[name] = str(value)
    return True


def _unset(env: dict[str, str], name: Any) -> bool:
    env.pop(name, None)
    return True
