"""The Lua initrc: the functions and tables of flux-shell(1), SHELL INITRC, over the same API as Python plugins."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import lupa
from lupa import LuaRuntime

from flux.hooks.shell import hookimpl
from flux_shell import stack

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["run_initrc"]

_LOG_LEVELS = {"log": 6, "debug": 7, "log_error": 3}

_PRELUDE = """
local host = ...
local function virtual(get, set)
  return setmetatable({}, {__index = function(_, k) return get(k) end,
                           __newindex = function(_, k, v) set(k, v) end})
end
plugin = virtual(host.plugin_get, host.plugin_set)
shell = virtual(host.shell_get, host.shell_set)
task = virtual(host.task_get, host.task_set)
source = function(pattern) host.source(pattern, true) end
source_if_exists = function(pattern) host.source(pattern, false) end
host.keep('options', virtual(host.option_get, host.option_set))
"""


def run_initrc(shell: Shell, path: str) -> None:
    """Run an initrc. ValueError with Lua's own message, file and line, when it fails."""
    Initrc(shell, path).run()


class _LuaPlugin:
    """Hooks whose implementations are Lua functions; filled by `plugin.register`."""

    def __init__(self) -> None:
        self.functions: dict[str, list[Callable[..., Any]]] = {}


class Initrc:
    """One Lua state with the shell's functions."""

    def __init__(self, shell: Shell, path: str) -> None:
        self._shell = shell
        self._path = path
        self._searchpath = os.environ.get("FLUX_SHELL_PLUGINPATH", "")
        self._kept: dict[str, Any] = {}
        self._lua = LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
        host = {
            "plugin_get": self._plugin_get,
            "plugin_set": self._plugin_set,
            "shell_get": self._shell_get,
            "shell_set": _read_only("shell"),
            "task_get": self._task_get,
            "task_set": _read_only("task"),
            "option_get": self._option_get,
            "option_set": self._option_set,
            "source": self._source,
            "keep": self._kept.__setitem__,
        }
        self._lua.execute(_PRELUDE, self._lua.table_from(host))

    def run(self) -> None:
        self._source(self._path, True)

    def _source(self, pattern: str, required: bool) -> None:
        full = os.path.join(os.path.dirname(self._path), pattern)
        paths = sorted(glob.glob(full))
        if not paths and required and not glob.has_magic(pattern):
            raise ValueError(f"{full}: No such file or directory")
        for path in paths:
            with open(path, encoding="utf-8") as file:
                text = file.read()
            self._execute(text, path)

    def _execute(self, text: str, path: str) -> None:
        load = self._lua.eval("function(text, name) return load(text, name) end")
        chunk = load(text, f"@{path}")
        if isinstance(chunk, tuple):
            raise ValueError(str(chunk[1]))
        try:
            chunk()
        except lupa.LuaError as exc:
            raise ValueError(str(exc).splitlines()[0]) from None

    # -- plugin

    def _plugin_get(self, name: str) -> Any:
        return {"searchpath": self._searchpath, "load": self._load, "register": self._register}.get(name)

    def _plugin_set(self, name: str, value: Any) -> None:
        if name != "searchpath":
            raise ValueError(f"plugin.{name} cannot be set")
        self._searchpath = str(value)

    def _load(self, arg: Any) -> None:
        pattern = arg if isinstance(arg, str) else arg["file"]
        conf = None if isinstance(arg, str) else arg["conf"]
        directories = [""] if os.path.isabs(pattern) else [d for d in self._searchpath.split(":") if d]
        paths = [path for d in directories for path in sorted(glob.glob(os.path.join(d, pattern)))]
        if not paths and not glob.has_magic(pattern):
            raise ValueError(f"plugin.load: {pattern} is not on plugin.searchpath ({self._searchpath or 'empty'})")
        for path in paths:
            if not path.endswith(".py"):
                raise ValueError(f"plugin.load: {path}: only .py files can be loaded")
            stack.load_file(self._shell.stack, path)
            if conf is not None:
                self._shell.options.setdefault("conf", {})[os.path.basename(path)] = _to_python(conf)

    def _register(self, arg: Any) -> None:
        name = arg["name"]
        if not name or arg["handlers"] is None:
            raise ValueError("plugin.register needs a name and handlers")
        plugin = _LuaPlugin()
        specs = self._shell.stack.specs
        for handler in arg["handlers"].values():
            matching = [hook for hook in specs if fnmatchcase(stack.topic_name(hook), handler["topic"])]
            if not matching:
                matching = [stack.hook_name(handler["topic"])]
            for hook in matching:
                self._add(plugin, hook, handler["fn"], hook in specs)
        stack.register(self._shell.stack, name, plugin)

    def _add(self, plugin: _LuaPlugin, hook: str, function: Callable[..., Any], known: bool) -> None:
        functions = plugin.functions.setdefault(hook, [])
        functions.append(function)
        if len(functions) > 1:
            return
        topic = stack.topic_name(hook)

        def call() -> None:
            for function in functions:
                try:
                    function(topic)
                except lupa.LuaError as exc:
                    raise ValueError(str(exc).splitlines()[0]) from None

        setattr(plugin, hook, hookimpl(specname=hook, optionalhook=not known)(call))

    # -- shell

    def _shell_get(self, name: str) -> Any:
        if name in _LOG_LEVELS:
            return lambda text: self._shell.log(_LOG_LEVELS[name], str(text), "lua")
        table: dict[str, Callable[[], Any]] = {
            "rcpath": lambda: os.path.dirname(os.path.abspath(self._path)),
            "options": lambda: self._kept["options"],
            "getenv": lambda: self._getenv,
            "setenv": lambda: self._setenv,
            "unsetenv": lambda: lambda var: self._shell.env.pop(var, None) and None,
            "info": lambda: self._to_lua(self._info()),
            "rankinfo": lambda: self._rankinfo(None),
            "get_rankinfo": lambda: self._rankinfo,
            "die": lambda: lambda text: self._shell.die(str(text)),
        }
        return table[name]() if name in table else None

    def _getenv(self, name: str | None = None) -> Any:
        return self._to_lua(self._shell.env) if name is None else self._shell.env.get(name)

    def _setenv(self, name: str, value: Any, overwrite: Any = 1) -> None:
        _set(self._shell.env, name, value, overwrite)

    def _info(self) -> dict[str, Any]:
        shell = self._shell
        return {
            "jobid": shell.jobid,
            "rank": shell.rank,
            "size": shell.size,
            "ntasks": shell.job.ntasks,
            "service": shell.service,
            "options": {"verbose": shell.verbose, "standalone": shell.standalone},
            "jobspec": shell.job.jobspec,
            "R": shell.job.r,
        }

    def _rankinfo(self, rank: int | None = None) -> Any:
        rank = self._shell.rank if rank is None else int(rank)
        if not 0 <= rank < self._shell.size:
            raise ValueError(f"there is no shell rank {rank}: the job has {self._shell.size} shells")
        node = self._shell.job.nodes[rank]
        resources = {name: ids for name, ids in (("core", node.cores), ("gpu", node.gpus)) if ids}
        counts = self._shell.job.counts[rank]
        return self._to_lua({"broker_rank": node.rank, "ntasks": counts, "resources": resources})

    def _option_get(self, name: str) -> Any:
        if name == "standalone":
            return self._shell.standalone
        if name == "verbose":
            return self._shell.verbose
        return self._to_lua(self._shell.options.get(name))

    def _option_set(self, name: str, value: Any) -> None:
        if name == "verbose":
            self._shell.verbose = int(value)
        self._shell.options[name] = _to_python(value)

    # -- task

    def _task_get(self, name: str) -> Any:
        task = self._shell.current_task
        if task is None:
            raise ValueError(f"task.{name} is only there in task.* callbacks")
        table: dict[str, Callable[[], Any]] = {
            "info": lambda: self._to_lua(task.info()),
            "getenv": lambda: task.env.get,
            "setenv": lambda: lambda var, value, overwrite=1: _set(task.env, var, value, overwrite),
            "unsetenv": lambda: lambda var: task.env.pop(var, None) and None,
        }
        return table[name]() if name in table else None

    def _to_lua(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self._lua.table_from({key: self._to_lua(item) for key, item in value.items()})
        if isinstance(value, (list, tuple)):
            return self._lua.table_from([self._to_lua(item) for item in value])
        return value


def _set(env: dict[str, str], name: str, value: Any, overwrite: Any) -> None:
    if (overwrite not in (0, False)) or name not in env:
        env[name] = str(value)


def _read_only(table: str) -> Callable[[str, Any], None]:
    def refuse(name: str, _value: Any) -> None:
        raise ValueError(f"{table}.{name} cannot be set")

    return refuse


def _to_python(value: Any) -> Any:
    if lupa.lua_type(value) != "table":
        return value
    items = {key: _to_python(item) for key, item in value.items()}
    if items and list(items) == list(range(1, len(items) + 1)):
        return list(items.values())
    return items
