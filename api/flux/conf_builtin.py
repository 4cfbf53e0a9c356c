"""Where this installation keeps its parts (flux-config(1) builtin; manual page ``flux.conf_builtin``)."""

from __future__ import annotations

from flux.installation import builtin_values

__all__ = ["conf_builtin_get"]


def conf_builtin_get(name: str, which: str = "auto") -> str:
    """The value of a name such as "confdir". ValueError when there is none of that name.

    Args:
        which: "auto", "installed" or "intree"; all the same here.
    """
    if which not in ("auto", "installed", "intree"):
        raise ValueError(f"which: expected auto, installed or intree, got '{which}'")
    values = builtin_values()
    if name not in values:
        raise ValueError(f"there is no builtin value '{name}': one of {', '.join(sorted(values))}")
    return values[name]
