"""Lua states for scripts: bounded in instructions, time and memory, and never with Python in reach."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lupa import lua54

__all__ = ["LuaState", "ScriptError", "answering", "to_python"]

INSTRUCTIONS = 50_000_000
SECONDS = 10.0
MEMORY = 256 << 20
"""What one call of a script may take: instructions, seconds of processor time; and bytes of the whole state."""

_SETUP = """
local most, seconds = ...
local sethook, getinfo, clock = debug.sethook, debug.getinfo, os.clock
local create, resume, step = coroutine.create, coroutine.resume, 10000
local used, deadline = 0, 0
local text  -- of the first error: it tells where the script was, the next ones who called it
local function check ()
  used = used + step
  if used > most or clock () > deadline then
    sethook (check, "", 1)  -- whatever catches the error meets the next one
    local at = getinfo (2, "Sl")
    text = text or ("%s:%d: the script takes more than %d instructions or %g seconds"):format (
      at.short_src, at.currentline, most, seconds)
    error (text, 0)
  end
end
local function watched (body)
  local thread = create (body)
  sethook (thread, check, "", step)
  return thread
end
local function finish (done, ...)
  if done then return ... end
  error ((...), 0)
end
coroutine.create = watched
coroutine.wrap = function (body)
  local thread = watched (body)
  return function (...) return finish (resume (thread, ...)) end
end
debug = { traceback = debug.traceback }
package.loaded.debug, package.loaded.python, python = debug, nil, nil
package.cpath, package.loadlib, os.exit = "", nil, nil
unpack, loadstring = table.unpack, load
return function () used, deadline, text = 0, clock () + seconds, nil; sethook (check, "", step) end, sethook
"""


class ScriptError(ValueError):
    """A script failed; the text is Lua's, with file and line."""


class LuaState:
    """One Lua 5.4 state, without `python`.

    Args:
        limited: keep to the limits, without `debug` (but `debug.traceback`), `os.exit` and modules written in C.
    """

    def __init__(self, limited: bool = True) -> None:
        self._lua = lua54.LuaRuntime(
            unpack_returned_tuples=True,
            register_eval=False,
            register_builtins=False,
            attribute_filter=_refuse,
            max_memory=MEMORY if limited else None,
        )
        self._load = self._lua.eval("load")
        if limited:
            self._arm, self._sethook = self._lua.execute(_SETUP, INSTRUCTIONS, SECONDS)
        else:
            self._lua.execute("package.loaded.python, python = nil, nil")
            self._arm = self._sethook = lambda: None
        self._depth = 0
        self._files: list[str] = []

    def define(self, name: str, value: Any) -> None:
        """Set a global variable; mappings and sequences as Lua tables."""
        self._lua.globals()[name] = self.table(value)

    def run_file(self, path: str, *args: Any) -> None:
        """Run a file. ScriptError; OSError when it cannot be read."""
        with open(path, "rb") as file:
            self.run_text(file.read(), path, *args)

    def run_text(self, text: str | bytes, name: str, *args: Any) -> None:
        """Run a script, in any encoding. ScriptError. name: of the file, for errors."""
        self._files.append(name)
        chunk = self._load(text, f"@{name}")
        if isinstance(chunk, tuple):
            raise ScriptError(self._with_whole_path(str(chunk[1])))
        self.call(chunk, *args)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a Lua function within the limits, which hold for all that it calls in turn. ScriptError."""
        if not self._depth:
            self._arm()
        self._depth += 1
        try:
            return function(*args)
        except lua54.LuaMemoryError:
            raise ScriptError(f"{self._files[-1]}: scripts take more than {MEMORY >> 20} MiB of memory") from None
        except lua54.LuaError as exc:
            raise ScriptError(self._with_whole_path(_first_line(exc) or self._wordless())) from None
        finally:
            self._depth -= 1
            if not self._depth:
                self._sethook()

    def table(self, value: Any) -> Any:
        """The value with mappings and sequences as Lua tables; what Lua has no type for as a string."""
        if isinstance(value, dict):
            return self._lua.table_from({key: self.table(item) for key, item in value.items()})
        if isinstance(value, (list, tuple)):
            return self._lua.table_from([self.table(item) for item in value])
        return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)

    def functions(self, functions: dict[str, Callable[..., Any]]) -> Any:
        """A Lua table of Python functions."""
        return self._lua.table_from(functions)

    def _wordless(self) -> str:
        return f"{self._files[-1]}: the error is no text"

    def _with_whole_path(self, text: str) -> str:
        """Lua shortens long file names to "...END"."""

        def whole(match: re.Match[str]) -> str:
            return next((path for path in self._files if path.endswith(match[1])), match[0])

        return re.sub(r"\.\.\.([^\s:]+)(?=:\d+:)", whole, text)


def to_python(value: Any) -> Any:
    """A Lua table as a list when its keys are 1 to n, else as a dict; other values as they are."""
    if lua54.lua_type(value) != "table":
        return value
    items = {key: to_python(item) for key, item in value.items()}
    if items and list(items) == list(range(1, len(items) + 1)):
        return list(items.values())
    return items


def answering(function: Callable[..., Any], passing: tuple[type[Exception], ...] = ()) -> Callable[..., Any]:
    """For Lua: the function answers (True, value) or (False, text of the error). passing: errors that end the call."""

    def answer(*args: Any) -> tuple[bool, Any]:
        try:
            return True, function(*args)
        except passing:
            raise
        except Exception as exc:
            return False, str(exc) or type(exc).__name__

    return answer


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).splitlines()), "")


def _refuse(_obj: Any, name: Any, _is_setting: bool) -> None:
    raise AttributeError(f"there is no field {name!r}")
