"""Change a composition file as a person would: one key, everything else as it was (plugins.toml(5))."""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
import tomllib
from pathlib import Path

import tomlkit

from flux.tomlplaces import locate

STARTER = """\
# Which plugins make up this instance: plugins.toml(5) says what may stand here.
# It begins with the installed default (`flux plugins list` shows the result); state what differs:
#
#   [modules.heartbeat]
#   enabled = false
#
#   [modules.greeter]
#   use = "./greeter.py"
#   ranks = "0"
#   args = { greeting = "hello" }

extends = "default"
"""


def set_enabled(text: str, kind: str, name: str, enabled: bool) -> str:
    """`text` with `enabled` set in [kind.name]; the table is added at the end when there is none."""
    document = tomlkit.parse(text)
    table = document.get(kind, {}).get(name)
    if table is None:
        return f"{text.rstrip()}\n\n[{kind}.{_key(name)}]\nenabled = {json.dumps(enabled)}\n".lstrip()
    if "enabled" not in table:
        # tomlkit would put a new key behind the comments that lead up to the next table
        edited = _insert_below_header(text, kind, name, enabled)
        if edited:
            return edited
    table["enabled"] = enabled
    return tomlkit.dumps(document)


def _insert_below_header(text: str, kind: str, name: str, enabled: bool) -> str:
    """The edited text, "" when the table is not written as `[kind.name]`."""
    lines = text.split("\n")
    line = locate(text).get((kind, name), (0, 0))[0]
    if not line or not re.fullmatch(rf"\s*\[\s*{kind}\s*\.[^\[]*\]\s*(#.*)?", lines[line - 1]):
        return ""
    end = "\r" if lines[line - 1].endswith("\r") else ""
    edited = "\n".join([*lines[:line], f"enabled = {json.dumps(enabled)}{end}", *lines[line:]])
    try:
        correct = tomllib.loads(edited)[kind][name].get("enabled") is enabled
    except ValueError:
        return ""
    return edited if correct else ""


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def write_text(path: Path, text: str) -> None:
    """Replace the file `path`, or the one it links to, atomically; its mode stays. OSError, also for a device."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "there is something that is no file, and is not replaced", str(path))
    mode = path.stat().st_mode & 0o7777 if path.exists() else 0o644
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(fd, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(fd, mode)
            os.fsync(fd)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
