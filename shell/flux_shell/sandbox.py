"""Lua states for scripts: bounded in instructions, time and memory, and never with Python in reach."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from typing import Any

from lupa import lua54

__all__ = ["PARTS", "LuaState", "ScriptError", "answering", "to_data", "to_python", "told"]

PARTS = os.path.join(os.path.dirname(__file__), "lua_parts")
"""Scripts that make what others see. In a folder of their own, where no script sources them by accident."""

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

_DEEPEST = 100
"""Levels of tables in a value."""


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
        self._flush = self._part("files")
        self.checker = self._part("arguments")
        """For scripts of the host: see arguments.lua."""
        if limited:
            self._arm, self._sethook = self._lua.execute(_SETUP, INSTRUCTIONS, SECONDS)
        else:
            self._lua.execute("package.loaded.python, python = nil, nil")
            self._arm = self._sethook = lambda: None
        self._depth = 0
        self._files: list[str] = []
        self._passed: BaseException | None = None

    def _part(self, name: str) -> Any:
        with open(os.path.join(PARTS, f"{name}.lua"), "rb") as file:
            return self._lua.execute(file.read())

    def define(self, name: str, value: Any) -> None:
        """Set a global variable; mappings and sequences as Lua tables."""
        self._lua.globals()[name] = self.table(value)

    def run_file(self, path: str, *args: Any) -> None:
        """Run a file. ScriptError; OSError when it cannot be read."""
        with open(path, "rb") as file:
            self.run_text(_without_head(file.read()), path, *args)

    def run_text(self, text: str | bytes, name: str, *args: Any) -> None:
        """Run a script, in any encoding. ScriptError. name: of the file, for errors."""
        self._files.append(name)
        chunk = self._load(text, f"@{name}")
        if isinstance(chunk, tuple):
            raise ScriptError(self._with_whole_path(str(chunk[1])))
        self.call(chunk, *args)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a Lua function within the limits, which hold for all that it calls in turn. ScriptError."""
        if self._depth:
            return self._translated(function, args)
        self._arm()
        self._depth = 1
        try:
            return self._translated(function, args)
        finally:
            self._depth = 0
            self._sethook()
            self._write_out()
            self._pass_on()

    def _translated(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        try:
            return function(*args)
        except lua54.LuaMemoryError:
            raise ScriptError(f"{self._files[-1]}: scripts take more than {MEMORY >> 20} MiB of memory") from None
        except lua54.LuaError as exc:
            raise self._script_error(str(exc)) from None
        except UnicodeDecodeError as exc:  # the text of a Lua error
            raise self._script_error(exc.object.decode(errors="backslashreplace")) from None

    def _write_out(self) -> None:
        with contextlib.suppress(lua54.LuaError):
            self._flush()

    def _pass_on(self) -> None:
        """Raise what was to end the call, though a script's pcall has caught it."""
        passed, self._passed = self._passed, None
        if passed is not None:
            raise passed from passed.__cause__

    def answering(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """As `answering`; what is no Exception ends the outermost call, whatever the script does about it."""
        answered = answering(function)

        def noted(*args: Any) -> Any:
            try:
                return answered(*args)
            except BaseException as exc:
                self._passed = self._passed or exc
                raise

        return noted

    def table(self, value: Any) -> Any:
        """The value with mappings and sequences as Lua tables; what Lua has no type for as a string."""
        if isinstance(value, dict):
            return self._lua.table_from({self.table(key): self.table(item) for key, item in value.items()})
        if isinstance(value, (list, tuple)):
            return self._lua.table_from([self.table(item) for item in value])
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return _lua_text(str(value))

    def functions(self, functions: dict[str, Callable[..., Any]]) -> Any:
        """A Lua table of Python functions."""
        return self._lua.table_from(functions)

    def _script_error(self, text: str) -> ScriptError:
        """Of the error's first line: a traceback follows it."""
        first = next(iter(text.splitlines()), "")
        return ScriptError(self._with_whole_path(first or f"{self._files[-1]}: the error is no text"))

    def _with_whole_path(self, text: str) -> str:
        """Lua shortens long file names to "...END"."""

        def whole(match: re.Match[str]) -> str:
            return next((path for path in self._files if path.endswith(match[1])), match[0])

        return re.sub(r"\.\.\.([^\s:]+)(?=:\d+:)", whole, text)


def to_python(value: Any, depth: int = 0) -> Any:
    """A Lua table as a list when its keys are 1 to n, else as a dict; other values as they are."""
    if lua54.lua_type(value) != "table":
        return value
    if depth > _DEEPEST:
        raise ValueError(f"a table is nested more than {_DEEPEST} deep, or in itself")
    items = {key: to_python(item, depth + 1) for key, item in value.items()}
    if items and list(items) == list(range(1, len(items) + 1)) and not isinstance(next(iter(items)), bool):
        return list(items.values())
    return items


def to_data(value: Any, what: str) -> Any:
    """The same for what leaves Lua as data: keys are strings, and no value is a function. ValueError.

    Args:
        what: the value is, for errors.
    """
    return _plain(to_python(value), what)


def _plain(value: Any, what: str) -> Any:
    if isinstance(value, list):
        return [_plain(item, what) for item in value]
    if isinstance(value, dict):
        return {_key(key, what): _plain(item, what) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"{what}: a {lua54.lua_type(value) or type(value).__name__} is no data")


def _key(key: Any, what: str) -> str:
    if isinstance(key, str) or (isinstance(key, int) and not isinstance(key, bool)):
        return str(key)
    raise ValueError(f"{what}: a key of a table is a string or an integer, not {told(key)}")


def told(value: Any) -> str:
    """A Lua value, for errors."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    return f'"{value}"' if isinstance(value, str) else f"a {lua54.lua_type(value) or 'value'}"


def answering(function: Callable[..., Any]) -> Callable[..., Any]:
    """For Lua: the function answers (True, value) or (False, text of the error)."""

    def answer(*args: Any) -> tuple[bool, Any]:
        try:
            return True, function(*args)
        except UnicodeDecodeError:
            return False, "a string is no text in UTF-8"
        except Exception as exc:
            return False, _lua_text(str(exc) or type(exc).__name__)

    return answer


def _lua_text(text: str) -> str | bytes:
    """What is no UTF-8, such as a variable of the environment, is for Lua its bytes."""
    if text.isascii():
        return text
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace")


def _without_head(text: bytes) -> bytes:
    """A script without its byte order mark, and with an empty first line for "#!...": lines keep their numbers."""
    text = text.removeprefix(b"\xef\xbb\xbf")
    if not text.startswith(b"#"):
        return text
    _first, newline, rest = text.partition(b"\n")
    return newline + rest


def _refuse(_obj: Any, name: Any, _is_setting: bool) -> None:
    raise AttributeError(f"there is no field {name!r}")
