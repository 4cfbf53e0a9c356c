"""--resources-shape: the resources of a jobspec in short, such as node=2/slot=4/[core=2;gpu] (RFC 46, RFC 14). Pure."""

from __future__ import annotations

import json
import re

from flux_cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["parse_shape", "slot_labels"]

_TOKEN = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|[\[\]{};:/,=]|[^\s\[\]{};:/,="]+)""")
_COUNT = re.compile(r"=(\[[0-9,:+*^-]*\]|[1-9][0-9]*(?:[-+,:*^][0-9:+*^-]*)*)")
_DEFAULT_LABEL = "task"


def parse_shape(text: str) -> list[dict[str, Any]]:
    """The list of resources that a shape stands for. CommandError says at which character it is wrong."""
    parser = _Shape(text)
    resources = parser.list()
    if parser.peek():
        parser.fail(f"unexpected '{parser.peek()}'")
    labels = slot_labels(resources)
    if len(labels) > 1 and None in labels:
        parser.fail("several slots need labels, as in slot=2{name}")
    _label(resources)
    return resources


def slot_labels(resources: list[dict[str, Any]]) -> list[str | None]:
    """Labels of the slots, in order."""
    found: list[str | None] = []
    for vertex in resources:
        if vertex.get("type") == "slot":
            found.append(vertex.get("label"))
        found += slot_labels(vertex.get("with", []))
    return found


def _label(resources: list[dict[str, Any]]) -> None:
    for vertex in resources:
        if vertex["type"] == "slot":
            vertex.setdefault("label", _DEFAULT_LABEL)
        _label(vertex.get("with", []))


class _Shape:
    """Recursive descent by the grammar of RFC 46."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0

    def fail(self, what: str) -> NoReturn:
        raise CommandError(f"--resources-shape={self._text}: {what}, at character {self._place + 1}")

    def peek(self) -> str:
        match = _TOKEN.match(self._text, self._place)
        return match[1] if match else ""

    def take(self, expected: str = "") -> str:
        match = _TOKEN.match(self._text, self._place)
        token = match[1] if match else ""
        if not token or (expected and token != expected):
            self.fail(f"expected '{expected or 'a name'}', got '{token or 'the end'}'")
        self._place = match.end() if match else self._place
        return token

    def list(self) -> list[dict[str, Any]]:
        if self.peek() != "[":
            return [self.vertex()]
        self.take("[")
        found = [self.vertex()]
        while self.peek() == ";":
            self.take(";")
            found.append(self.vertex())
        self.take("]")
        return found

    def vertex(self) -> dict[str, Any]:
        vertex: dict[str, Any] = {"type": self.name(), "count": self.count()}
        if self.peek() == "{":
            vertex |= self.dict(is_slot=vertex["type"] == "slot")
        if self.peek() == "/":
            self.take("/")
            vertex["with"] = self.list()
        elif vertex["type"] == "slot":
            self.fail("a slot holds something: expected '/'")
        return vertex

    def name(self) -> str:
        token = self.take()
        if token in "[]{};:/,=":
            self.fail(f"expected a name, got '{token}'")
        return str(json.loads(token)) if token.startswith('"') else token

    def count(self) -> int | str:
        if self.peek() != "=":
            return 1
        match = _COUNT.match(self._text, self._place)
        if match is None:
            self.fail("expected a count, such as 4, 2-8, 2+ or [0,3-5]")
        self._place = match.end()
        text = match[1].strip("[]")
        return int(text) if text.isdecimal() else text

    def dict(self, is_slot: bool = False) -> dict[str, Any]:
        self.take("{")
        found: dict[str, Any] = {"label": self.name()} if is_slot and self.peek() != "}" else {}
        while self.peek() != "}":
            if found and self.peek() == ",":
                self.take(",")
            found |= self.item()
            if self.peek() not in (",", "}"):
                self.fail("expected ',' or '}'")
        self.take("}")
        return found

    def item(self) -> dict[str, Any]:
        name = self.name()
        if self.peek() == ":":
            self.take(":")
            return {_key(name): self.dict() if self.peek() == "{" else self.value()}
        return {_key(name.lstrip("+-")): not name.startswith("-")}

    def value(self) -> Any:
        token = self.take()
        try:
            return json.loads(token)
        except ValueError:
            return token


def _key(name: str) -> str:
    return "exclusive" if name == "x" else name
