"""Writes docs/guides/hooks.md, the reference of all hooks and contracts, from their specifications in `flux.hooks`.

python docs/tools/hooks.py > docs/guides/hooks.md
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from flux.hooks import jobtap, kernel, rc, shell
from flux.hooks.host import ErrorPolicy, PluginHost, Spec

__all__ = ["HOSTS", "contracts", "page", "undocumented"]

HOSTS = {"Job policies": jobtap, "Shell plugins": shell, "Life cycle": rc}
"""Heading to the module that specifies its hooks."""

CONTRACTS = {"Job policies": jobtap, "Shell plugins": shell, "Kernel": kernel}

HEAD = """# Hooks and contracts

This page is generated from `flux.hooks` by `docs/tools/hooks.py`; what is to be corrected is to be corrected there.

An implementation is a function marked `@hookimpl` that bears the name of its hook and takes any of its arguments, by
their names. A misspelt hook or argument is refused when the plugin is loaded.
"""

_ON_ERROR = {
    ErrorPolicy.REFUSE: "refuses the request at hand with its text; plugins after this one are not called.",
    ErrorPolicy.EXCEPTION: "raises a fatal exception of type `jobtap` on the job; plugins after this one are called.",
    ErrorPolicy.LOG: "is logged; plugins after this one are called.",
}
_FATAL = {
    jobtap: "the policy is not loaded.",
    shell: "the job gets a fatal exception that names the plugin.",
    rc: "ends the broker with exit code 1; plugins after this one are not called.",
}
_SECTIONS = {"Args": "Arguments", "Returns": "Result", "Raises": "Errors", "Attributes": "Attributes"}
_NAMED = ("Args", "Attributes")


def page() -> str:
    """The whole page, as Markdown."""
    parts = [HEAD]
    for heading, module in HOSTS.items():
        parts.append(f"## {heading}\n\n{_prose(module.__doc__)}")
        parts += [_hook(module, name, spec) for name, spec in specs(module).items()]
    for heading, module in CONTRACTS.items():
        parts.append(f"## Contracts: {heading.lower()}\n")
        parts += [_contract(found) for found in contracts(module)]
    return "\n".join(parts).rstrip("\n") + "\n"


def specs(module: ModuleType) -> dict[str, Spec]:
    """The hooks that a module of `flux.hooks` specifies, in the order of the file."""
    return PluginHost("docs", module).specs


def contracts(module: ModuleType) -> Iterator[type[Any]]:
    """The public classes of a module of `flux.hooks`."""
    for name in module.__all__:
        found = getattr(module, name)
        if inspect.isclass(found) and found.__module__ == module.__name__:
            yield found


def undocumented() -> list[str]:
    """Hooks and contracts that lack a docstring."""
    hooks = [(f"{m.__name__}.{name}", getattr(m, name)) for m in HOSTS.values() for name in specs(m)]
    classes = [(f"{m.__name__}.{c.__name__}", c) for m in CONTRACTS.values() for c in contracts(m)]
    return [name for name, found in [*hooks, *classes] if len((found.__doc__ or "").split()) < 3]


def _hook(module: ModuleType, name: str, spec: Spec) -> str:
    function = getattr(module, name)
    lines = [f"### {name}", "", f"    {_signature(name, function)}", "", _prose(function.__doc__)]
    if spec.first_result:
        lines.append("The first result that is not None decides; plugins after that one are not called.\n")
    lines.append(f"*Error:* {_ON_ERROR.get(spec.policy) or _FATAL[module]}\n")
    return "\n".join(lines)


def _contract(found: type[Any]) -> str:
    lines = [f"### {found.__name__}", "", _prose(found.__doc__)]
    for name, member in vars(found).items():
        if not name.startswith("_") and callable(_unwrap(member)):
            function = _unwrap(member)
            text = _prose(function.__doc__).strip()
            lines.append(f"`{_signature(name, function)}`\n" + (f": {_indent(text)}\n" if text else ""))
    return "\n".join(lines)


def _unwrap(member: Any) -> Any:
    return member.__func__ if isinstance(member, (classmethod, staticmethod)) else member


def _signature(name: str, function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    kept = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    text = f"{name}{signature.replace(parameters=kept)}"
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", text)  # annotations are strings there


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" if line else "" for line in text.splitlines()).strip()


def _prose(docstring: str | None) -> str:
    """A docstring as Markdown: its sections become paragraphs, their entries a list."""
    lines = []
    section = ""
    for line in inspect.cleandoc(docstring or "").splitlines():
        word = line.removesuffix(":")
        if line.endswith(":") and word in _SECTIONS:
            section = word
            lines.append(f"*{_SECTIONS[word]}:*\n")
        elif section and line.startswith("    "):
            lines += _entries(line[4:]) if section in _NAMED else [f"  {line.strip()}"]
        else:
            section = section if not line else ""
            lines.append(line)
    return "\n".join(lines) + "\n"


def _entries(line: str) -> list[str]:
    """One line of arguments or attributes, which may hold several: "a: this. b: that."."""
    parts = [re.match(r"(\w+(?:, \w+)*): (.*)", part) for part in re.split(r"(?<=\.) (?=\w+: )", line)]
    return [f"- `{part[1]}`: {part[2]}" for part in parts if part] or [f"  {line.strip()}"]


if __name__ == "__main__":
    sys.stdout.write(page())
