"""Writes docs/topics.md, the reference of all requests that the builtin modules answer, from their classes.

python docs/tools/topics.py > docs/topics.md
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from typing import Any

import msgspec

from flux.discovery import index, load_entry
from flux.module.base import ADMIN, ALL, OWNER, USER, Handler, Module
from flux.module.defaults import DEFAULT_HANDLERS
from flux_kernel.services import KernelServices

__all__ = ["handlers_of", "modules", "page"]

HEAD = """# Request topics

This page is generated from the classes of the builtin modules by `docs/tools/topics.py`; what is to be corrected is to
be corrected there.

*Roles* says who may call (RFC 12): the instance *owner*, an *admin*, every *user* of the instance, or *all*. *Answers*
is `one`, `stream` (the streaming flag is required, the stream ends with ENODATA), or `one or stream`, as the flag says.
*Payload* lists the fields of the request's JSON object, `name?` being optional; where the list is not declared as a
type, it is `-`: no payload, one that is no JSON object, or one that the service reads by itself.
"""

_ROLES = {OWNER: "owner", ADMIN: "admin", USER: "user", ALL: "all"}
_ANSWERS = {False: "one", True: "stream", "optional": "one or stream"}
_WORDS: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    bytes: "bytes",
    dict: "object",
    list: "array",
    tuple: "array",
    Any: "any",
    object: "any",
    type(None): "null",
    msgspec.Raw: "any",
}


def modules() -> dict[str, type[Module]]:
    """Every builtin module and transport by its name, the kernel's own first."""
    found: dict[str, type[Module]] = {KernelServices.name: KernelServices}
    installed = index()
    for kind in ("modules", "transports"):
        for name in installed.names(kind):
            entry = installed.find(kind, name)
            if entry is not None and entry.is_builtin:
                found[name] = load_entry(entry)[0]
    return found


def handlers_of(cls: type[Module]) -> dict[str, Handler]:
    """Full topic to handler, in the order of the class."""
    name = cls.name
    found: dict[str, Handler] = {}
    for base in reversed(cls.__mro__):
        for member in vars(base).values():
            for handler in getattr(member, "__dict__", {}).get("__flux_requests__", ()):
                service = handler.service or name
                found[f"{service}.{handler.topic}"] = handler
                if handler.cancel:
                    found.setdefault(f"{service}.{handler.cancel}", _cancel(handler))
    return found


def _cancel(handler: Handler) -> Handler:
    return handler._replace(topic=handler.cancel, allow=ALL, streaming=False, payload=CancelRequest, cancel="")


class CancelRequest(msgspec.Struct):
    matchtag: int


def page() -> str:
    """The whole page, as Markdown."""
    parts = [HEAD, "## Every module\n", _table({f"NAME.{h.topic}": h for h in DEFAULT_HANDLERS})]
    for name, cls in modules().items():
        handlers = handlers_of(cls)
        if handlers:
            where = {"all": "on all ranks", "0": "on rank 0"}.get(cls.ranks, f"on ranks {cls.ranks}")
            parts.append(f"## {name}\n\n{_first_line(cls)} Runs {where}.\n\n{_table(handlers)}")
    return "\n".join(parts)


def _first_line(cls: type[Module]) -> str:
    return (inspect.getdoc(cls) or "").splitlines()[0]


def _table(handlers: dict[str, Handler]) -> str:
    rows = ["| topic | roles | answers | payload |", "|---|---|---|---|"]
    for topic, handler in handlers.items():
        rows.append(f"| {topic} | {_roles(handler.allow)} | {_ANSWERS[handler.streaming]} | {_fields(handler)} |")
    return "\n".join(rows) + "\n"


def _roles(allow: int) -> str:
    return _ROLES.get(allow, f"{allow:#x}")


def _fields(handler: Handler) -> str:
    if handler.payload is None:
        return "-"
    if not issubclass(handler.payload, msgspec.Struct):
        return words(handler.payload)
    fields = msgspec.structs.fields(handler.payload)
    return ", ".join(f"{f.encode_name}{'' if f.required else '?'}: {words(f.type)}" for f in fields) or "none"


def words(kind: Any) -> str:
    """A type as JSON has it: "array of string"."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(words(argument) for argument in arguments))
    if origin is typing.Literal:
        return " or ".join(map(repr, arguments))
    if origin is typing.Annotated:
        return words(arguments[0])
    if origin is list and arguments[0] is not Any:
        return f"array of {words(arguments[0])}"
    base = origin or kind
    return _WORDS.get(base) or ("object" if isinstance(base, type) and not issubclass(base, int) else "integer")


if __name__ == "__main__":
    sys.stdout.write(page())
