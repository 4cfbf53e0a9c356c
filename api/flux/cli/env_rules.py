"""The environment of a job, from rules (flux-run(1), ENV RULES). Pure: mappings in, a dict out.

A rule is "-PATTERN" (remove), "^FILE" (read rules), "VAR=VAL" (set, with $var expanded) or "PATTERN" (copy from the
process environment what is not there). A pattern is a glob, or a regular expression when it begins with "/".
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["apply_rules"]

_MAX_DEPTH = 16


def apply_rules(rules: Iterable[str], process_env: Mapping[str, str]) -> dict[str, str]:
    """The environment that rules make, one after the other, of a copy of process_env.

    Raises:
        ValueError: a rule is malformed, a variable that it uses is not set, or a file cannot be read.
    """
    env = dict(process_env)
    for rule in rules:
        _apply(rule, env, process_env, 0)
    return env


def _apply(rule: str, env: dict[str, str], process_env: Mapping[str, str], depth: int) -> None:
    if rule.startswith("-"):
        matches = _matcher(rule[1:])
        for name in [name for name in env if matches(name)]:
            del env[name]
    elif rule.startswith("^"):
        _apply_file(rule[1:], env, process_env, depth)
    elif "=" in rule and not rule.startswith("/"):
        name, _, value = rule.partition("=")
        if not name:
            raise ValueError(f"environment rule '{rule}': a name is expected before =")
        env[name] = _expand(rule, value, {**process_env, **env})
    else:
        matches = _matcher(rule)
        for name, value in process_env.items():
            if name not in env and matches(name):
                env[name] = value


def _apply_file(path: str, env: dict[str, str], process_env: Mapping[str, str], depth: int) -> None:
    if depth >= _MAX_DEPTH:
        raise ValueError(f"environment rule '^{path}': files of rules are nested more than {_MAX_DEPTH} deep")
    with open(os.path.expanduser(path), encoding="utf-8", errors="surrogateescape") as lines:  # values are bytes
        for line in lines:
            if line.strip():
                _apply(line.strip(), env, process_env, depth + 1)


def _matcher(pattern: str) -> Callable[[str], object]:
    if not pattern.startswith("/"):
        from fnmatch import fnmatchcase

        return lambda name: fnmatchcase(name, pattern)
    import re

    text = pattern[1:].removesuffix("/")
    try:
        return re.compile(text).search
    except re.error as exc:
        raise ValueError(f"environment rule '{pattern}' is no regular expression: {exc}") from None


def _expand(rule: str, value: str, variables: Mapping[str, str]) -> str:
    if "$" not in value:
        return value
    from string import Template

    try:
        return Template(value).substitute(variables)
    except KeyError as exc:
        raise ValueError(f"environment rule '{rule}': variable {exc.args[0]} is not set") from None
    except ValueError:
        raise ValueError(f"environment rule '{rule}': expected $var, ${{var}} or $$ after $") from None
