"""--requires: constraints as people write them (RFC 35) to constraints as jobspecs hold them (RFC 31).

expr = term ("or"|"|"|"||" term)*;  term = factor (["and"|"&"|"&&"] factor)*
factor = ("not"|"-") factor | "(" expr ")" | [OPERATOR:]VALUE
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["parse_requires"]

_TOKEN = re.compile(r"""\s*(\(|\)|\|\|?|&&?|-(?=[\w(])|(?:[^\s()|&"']|"[^"]*"|'[^']*')+)""")
_OPERATORS = {
    "host": "hostlist",
    "hosts": "hostlist",
    "hostlist": "hostlist",
    "rank": "ranks",
    "ranks": "ranks",
    "property": "properties",
    "properties": "properties",
}


def parse_requires(texts: Sequence[str]) -> dict[str, Any]:
    """The constraint that satisfies all of the texts. ValueError shows what is wrong in one."""
    constraints = [_Parser(text).parse() for text in texts]
    return constraints[0] if len(constraints) == 1 else {"and": constraints}


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._tokenize(text)

    def _tokenize(self, text: str) -> list[str]:
        tokens, position = [], 0
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if match is None:
                raise self._error(f"'{text[position:].strip()}' is not understood")
            tokens.append(match[1])
            position = match.end()
        return tokens

    def _error(self, what: str) -> ValueError:
        return ValueError(f"--requires '{self._text}': {what}")

    def _next(self, *words: str) -> bool:
        if self._tokens and self._tokens[0] in words:
            del self._tokens[0]
            return True
        return False

    def parse(self) -> dict[str, Any]:
        found = self._expression()
        if self._tokens:
            raise self._error(f"unexpected '{self._tokens[0]}'")
        return found

    def _expression(self) -> dict[str, Any]:
        terms = [self._term()]
        while self._next("or", "|", "||"):
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else {"or": terms}

    def _term(self) -> dict[str, Any]:
        factors = [self._factor()]
        while self._next("and", "&", "&&") or (self._tokens and self._tokens[0] not in (")", "or", "|", "||")):
            factors.append(self._factor())
        return factors[0] if len(factors) == 1 else {"and": factors}

    def _factor(self) -> dict[str, Any]:
        if not self._tokens:
            raise self._error("something is missing at the end")
        if self._next("not", "-"):
            return {"not": [self._factor()]}
        if self._next("("):
            found = self._expression()
            if not self._next(")"):
                raise self._error("a ')' is missing")
            return found
        return self._leaf(self._tokens.pop(0))

    def _leaf(self, token: str) -> dict[str, Any]:
        name, colon, value = token.partition(":")
        if not colon:
            name, value = "properties", token
        operator = _OPERATORS.get(name, name)
        value = value.replace('"', "").replace("'", "")
        if not value or operator in (")", "|", "||", "&", "&&"):
            raise self._error(f"'{token}' is no constraint")
        return {operator: value.split(",") if operator == "properties" else [value]}
