"""Inputs of flux bulksubmit, and the options and commands that they are put into (flux-bulksubmit(1)).

A template is for `str.format`: {} or {0} stands for an input, {1} for one of a second list, {seq} and {seq1} for the
number of the job, {.NAME} for a part of an input or what --define makes of it.
"""

from __future__ import annotations

import os
import sys

from flux_cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    Define = Mapping[str, Callable[[str], Any]]

__all__ = ["Input", "combinations", "compile_definitions", "fill", "fill_words", "separator", "split_command"]

_DELIMITER = ":::"
_LIST_MARK = "\0"  # between words that one placeholder stands for; no argument can hold it

_PARTS: dict[str, Callable[[str], str]] = {
    "%": lambda text: os.path.splitext(text)[0],
    "/": os.path.basename,
    "//": os.path.dirname,
    "/%": lambda text: os.path.basename(os.path.splitext(text)[0]),
}


class Input:
    """One input, of which a template may want a part."""

    def __init__(self, text: str, define: Define) -> None:
        self._text = text
        self._define = define

    def __str__(self) -> str:
        return self._text

    def __format__(self, spec: str) -> str:
        return format(self._text, spec)

    def __getattr__(self, name: str) -> Any:
        if name in _PARTS:
            return _PARTS[name](self._text)
        if name not in self._define:
            known = ", ".join([*_PARTS, *self._define])
            raise CommandError(f"unknown input string method '.{name}': there are {known}, and those of --define")
        try:
            made = self._define[name](self._text)
        except Exception as exc:
            raise CommandError(f"--define={name}: {type(exc).__name__} for '{self._text}': {exc}") from None
        return _LIST_MARK.join(map(str, made)) if isinstance(made, list) else made


def compile_definitions(definitions: Sequence[str]) -> dict[str, Callable[[str], Any]]:
    """--define=NAME=CODE: Python expressions in x, by name. CommandError for what is no expression."""
    import math
    import random
    import re

    names = {"math": math, "os": os, "random": random, "re": re}
    made: dict[str, Callable[[str], Any]] = {}
    for definition in definitions:
        name, equals, text = definition.partition("=")
        if not equals or not name:
            raise CommandError(f"--define={definition}: expected NAME=CODE")
        try:
            code = compile(text, name, "eval")
        except SyntaxError as exc:
            raise CommandError(f"--define={definition}: no Python expression: {exc.msg}") from None
        made[name] = lambda x, code=code: eval(code, {**names, "x": x})
    return made


# -- templates


def fill(template: str, inputs: Sequence[Input], names: Mapping[str, Any]) -> str:
    """A template with its placeholders filled. {{...}} is left as it is: it is for the job shell.

    Raises:
        CommandError: there is no such input.
    """
    kept = template.replace("{{", "{{{{").replace("}}", "}}}}")
    try:
        return kept.format(*inputs, **names)
    except (IndexError, KeyError, ValueError) as exc:
        what = f"there is no input {{{exc.args[0]}}}" if isinstance(exc, KeyError) else str(exc)
        if isinstance(exc, IndexError):
            what = f"there are only {len(inputs)} lists of inputs"
        raise CommandError(f"invalid replacement string '{template}': {what}") from None


def fill_words(words: Sequence[str], inputs: Sequence[Input], names: Mapping[str, Any]) -> list[str]:
    """The same for a command; a placeholder that stands for a list gives several words."""
    filled = [fill(word, inputs, names).split(_LIST_MARK) for word in words]
    return [part for parts in filled for part in parts]


# -- inputs


def separator(text: str) -> str | None:
    """--sep as str.split() takes it. CommandError when it is nothing, or has an escape that is none."""
    if text.lower() == "none":
        return None
    if not text:
        raise CommandError("--sep takes what separates inputs, or none for white space")
    try:
        return text.encode("latin-1", "backslashreplace").decode("unicode_escape")
    except UnicodeDecodeError as exc:
        raise CommandError(f"--sep={text}: {exc.reason}") from None


def split_command(words: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """A command, and its lists of inputs, each begun by the delimiter that stands before it."""
    lists: list[list[str]] = [[]]
    for word in words:
        if word.startswith(_DELIMITER):
            lists.append([])
        lists[-1].append(word)
    return lists[0] or ["{}"], lists[1:]


def combinations(lists: Sequence[Sequence[str]], sep: str | None) -> Iterator[list[str]]:
    """Each combination of inputs; without lists, each part of stdin. Linked lists go along, again and again.

    Raises:
        CommandError: a delimiter that makes no sense. OSError: a file that cannot be read.
    """
    from itertools import cycle, product

    read = [_list(words, sep) for words in lists] or [(False, _split(sys.stdin.read(), sep))]
    own = [inputs for linked, inputs in read if not linked]
    if not own:
        own, read = [_split(sys.stdin.read(), sep)], [(False, []), *read]
    links = [(place, cycle(inputs)) for place, (linked, inputs) in enumerate(read) if linked and inputs]
    for combination in product(*own):
        row = list(combination)
        for place, inputs in links:
            row.insert(place, next(inputs))
        yield row


def _list(words: Sequence[str], sep: str | None) -> tuple[bool, list[str]]:
    """Is it linked to the list before it, and its inputs."""
    mark = words[0].removeprefix(_DELIMITER)
    if mark not in ("", "+", ":", ":+"):
        raise CommandError(f"'{words[0]}': expected :::, :::+, ::::, or ::::+ before inputs")
    if not mark.startswith(":"):
        return mark == "+", list(words[1:])
    if len(words) != 2:
        raise CommandError(f"{words[0]} takes one file, - for stdin")
    return mark == ":+", _split(_read(words[1]), sep)


def _read(path: str) -> str:
    if path == "-":
        return sys.stdin.read()
    with open(path) as stream:
        return stream.read()


def _split(text: str, sep: str | None) -> list[str]:
    return [part for part in text.split(sep) if part]
