"""What the values of submission options mean (flux-submit(1)). Pure but for files that a value names.

ValueError names the option that makes no sense, OSError the file that cannot be read.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = [
    "add_file_entry",
    "attribute_key",
    "dependency",
    "environment",
    "file_option",
    "json_file",
    "key_value",
    "seconds",
    "set_key",
    "taskmap",
]


# -- environment


def environment(rules: Iterable[str] | None, present: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The environment that rules make of the present one, and what of it is left to the job shell.

    Values with mustache templates that a rule has set are the shell's: only it knows what they stand for.
    """
    if not rules:
        return dict(present), {}
    from flux.cli.env_rules import apply_rules

    env = apply_rules(rules, present)
    templates = {name for name, text in env.items() if "{{" in text and text != present.get(name)}
    return env, {name: env.pop(name) for name in templates}


# -- single values


def seconds(value: float | str, unit: float = 1) -> float:
    """A time limit in seconds, 0 for none; text without a unit is in units of that many seconds."""
    if not isinstance(value, str):
        return value
    from flux.util import parse_fsd

    try:
        number = _number(value)
        found = parse_fsd(value) if number is None else number * unit
    except ValueError as exc:
        raise ValueError(f"--time-limit: {exc}") from None
    return 0 if found == float("inf") else found


def _number(text: str) -> float | None:
    """A number without a unit, also one such as 1e3; None for other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def dependency(uri: str) -> dict[str, Any]:
    """SCHEME[:VALUE[?KEY=VAL[&KEY=VAL...]]] as an object (RFC 26)."""
    scheme, _, rest = uri.partition(":")
    if not scheme:
        raise ValueError(f"--dependency: expected SCHEME:VALUE[?KEY=VAL], got '{uri}'")
    value, _, query = rest.partition("?")
    entry: dict[str, Any] = {"scheme": scheme, "value": value}
    for pair in query.split("&") if query else ():
        key, _, text = pair.partition("=")
        entry[key] = _json_or_text(text)
    return entry


def taskmap(text: str) -> dict[str, str]:
    """SCHEME[:VALUE] as the shell option `taskmap`."""
    scheme, _, value = text.partition(":")
    if not scheme:
        raise ValueError(f"--taskmap: expected SCHEME[:VALUE], got '{text}'")
    return {"scheme": scheme, "value": value}


# -- KEY=VAL


def key_value(option: str, setting: str) -> tuple[str, Any]:
    """KEY[=VAL] with VAL as JSON or text, 1 when there is none; ^KEY=FILE takes it from a file of JSON."""
    key, equals, text = setting.partition("=")
    if key.startswith("^"):
        return key[1:], json_file(option, text)
    return key, _json_or_text(text) if equals else 1


def attribute_key(key: str) -> str:
    """The path below `attributes` that KEY of --setattr stands for: "system." is implied, a leading dot ends that."""
    key = key.removeprefix("attributes.")
    return key.lstrip(".") if key.startswith(("system.", "user.", ".")) else f"system.{key}"


def set_key(tree: dict[str, Any], key: str, value: Any, option: str) -> None:
    """Set what a dotted KEY stands for, making the objects on the way."""
    from flux.treedict import set_treedict

    if not all(key.split(".")):
        raise ValueError(f"{option}: expected KEY=VAL with a dotted KEY, got '{key}'")
    try:
        set_treedict(tree, key, value)
    except TypeError:
        raise ValueError(f"{option}: '{key}' is below a value that is no object") from None


def json_file(option: str, path: str) -> Any:
    """What a file of JSON holds."""
    from json import load

    with open(path) as stream:
        try:
            return load(stream)
        except ValueError as exc:
            raise ValueError(f"{option}: {path} is not JSON: {exc}") from None


def _json_or_text(text: str) -> Any:
    from json import loads

    try:
        return loads(text)
    except ValueError:
        return text


# -- files


def file_option(setting: str) -> tuple[str, str, int | None]:
    """[NAME[:PERMS]=]ARG of --add-file: name, content or path, and permissions if given."""
    name, equals, data = setting.partition("=")
    if not equals or "\n" in name:
        name, data = os.path.basename(setting), setting
    elif "\\n" in data and "\n" not in data and not os.path.exists(data):
        data = data.replace("\\n", "\n")
    stem, colon, text = name.rpartition(":")
    if colon and stem and text and not text.strip("01234567"):
        return stem, data, int(text, 8)
    return name, data, None


def add_file_entry(system: dict[str, Any], name: str, data: Any, perms: int | None) -> None:
    """Let the job find a file (RFC 37).

    Args:
        system: the jobspec's attributes.system. data: content with a newline, the path of a file, or an object.
        perms: None for the file's own, or 0600.
    """
    from stat import S_IFREG

    from flux.job._jobspec_build import file_entry

    entry = file_entry(data, 0o600 if perms is None else perms, None)
    if perms is not None:
        entry["mode"] = S_IFREG | perms
    system.setdefault("files", {})[name] = entry
