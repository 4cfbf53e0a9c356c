"""`plugin` of the initrc: loads plugins from Python files, registers those written in Lua."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from flux.discovery import nearest
from flux.hooks.shell import hookimpl
from flux_shell import stack
from flux_shell.core import LOG_WARNING
from flux_shell.sandbox import LuaState, to_data, to_python, told

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["LuaPlugins"]


class _LuaPlugin:
    """Hooks whose implementations are Lua functions."""


class LuaPlugins:
    """What `plugin.load`, `plugin.register` and `plugin.searchpath` do.

    Args:
        searchpath: directories, separated by colons.
    """

    def __init__(self, shell: Shell, state: LuaState, searchpath: str) -> None:
        self._shell = shell
        self._state = state
        self._searchpath = searchpath

    def functions(self) -> dict[str, Callable[..., Any]]:
        return {"load": self._load, "register": self._register, "plugin_get": self._get, "plugin_set": self._set}

    def _get(self, _table: Any, name: str) -> Any:
        return self._searchpath if name == "searchpath" else None

    def _set(self, _table: Any, name: str, value: Any) -> None:
        if name != "searchpath":
            raise ValueError(f"plugin.{name} cannot be set")
        if not isinstance(value, str):
            raise ValueError(f"plugin.searchpath is a string, directories separated by colons, not {told(value)}")
        self._searchpath = value

    # -- files

    def _load(self, arg: Any) -> None:
        asked = {"file": arg} if isinstance(arg, str) else to_python(arg)
        if not isinstance(asked, dict) or not isinstance(asked.get("file"), str):
            raise ValueError("plugin.load needs the name of a file, or { file = NAME, conf = TABLE }")
        _check_keys("plugin.load", asked, ("file", "conf"))
        conf = to_data(asked.get("conf"), "plugin.load: conf")
        for path in self._find(asked["file"]):
            if not path.endswith(".py"):
                raise ValueError(f"plugin.load: {path}: a shell plugin is a .py file")
            stack.load_file(self._shell.stack, path)
            if "conf" in asked:
                plugins = self._shell.stack
                plugins.plugin(plugins.names()[-1]).conf = conf

    def _find(self, pattern: str) -> list[str]:
        folders = [""] if os.path.isabs(pattern) else [folder for folder in self._searchpath.split(":") if folder]
        places = [os.path.join(self._shell.job.cwd, folder, pattern) for folder in folders]
        paths = [path for place in places for path in sorted(glob.glob(place))]
        if not paths and not glob.has_magic(pattern):
            where = "" if os.path.isabs(pattern) else f" on plugin.searchpath ({self._searchpath or 'empty'})"
            raise FileNotFoundError(f"plugin.load: {pattern}: File not found{where}")
        return paths

    # -- functions

    def _register(self, arg: Any) -> None:
        asked = to_python(arg)
        if not isinstance(asked, dict) or not asked.get("name") or not isinstance(asked.get("handlers"), list):
            raise ValueError("plugin.register needs a name and handlers")
        name = str(asked["name"])
        calls: dict[str, list[Callable[..., Any]]] = {}
        patterns: list[tuple[str, Callable[..., Any]]] = []
        for handler in asked["handlers"]:
            if not isinstance(handler, dict) or "topic" not in handler or not callable(handler.get("fn")):
                raise ValueError(f"plugin.register: each handler of {name} needs a topic and a function fn")
            topic, function = str(handler["topic"]), handler["fn"]
            patterns.append((topic, function))
            for hook in self._hooks_for(topic, name):
                calls.setdefault(hook, []).append(function)
        self._shell.topics[name] = [(pattern, self._calling([function])) for pattern, function in patterns]
        if calls:
            stack.register(self._shell.stack, name, self._plugin(calls))

    def _hooks_for(self, topic: str, name: str) -> list[str]:
        """The shell's own hooks that a topic means; other topics are those that plugins call."""
        topics = {stack.topic_name(hook): hook for hook in self._shell.stack.specs}
        found = [hook for known, hook in topics.items() if fnmatchcase(known, topic)]
        if not found and (hint := nearest(topic, topics)):
            text = f"{name}: the shell itself calls no topic {topic}: did you mean {hint}?"
            self._shell.log(LOG_WARNING, text, "lua")
        return found

    def _plugin(self, calls: dict[str, list[Callable[..., Any]]]) -> _LuaPlugin:
        plugin = _LuaPlugin()
        for hook, functions in calls.items():
            call = self._calling(functions)
            topic = stack.topic_name(hook)
            setattr(plugin, hook, hookimpl(specname=hook)(_bound(call, topic)))
        return plugin

    def _calling(self, functions: list[Callable[..., Any]]) -> Callable[[str], None]:
        def call(topic: str) -> None:
            for function in functions:
                self._state.call(function, topic)

        return call


def _check_keys(what: str, asked: dict[Any, Any], known: tuple[str, ...]) -> None:
    for key in asked:
        if key not in known:
            hint = nearest(str(key), known)
            meant = f"did you mean {hint}?" if hint else f"there are {' and '.join(known)}"
            raise ValueError(f"{what} has no key {key}: {meant}")


def _bound(call: Callable[[str], None], topic: str) -> Callable[[], None]:
    def implementation() -> None:
        call(topic)

    return implementation
