"""How a command stops: one line for the user and an exit code. Kept free of imports, `flux` needs it at once."""

from __future__ import annotations


class CommandError(Exception):
    """What a command cannot do; `flux` prints it as "flux-NAME: text".

    Args:
        text: for the user.
        code: exit code, 1 to 255.
    """

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


class UsageError(CommandError):
    """A command line that makes no sense; the usage is shown as well."""

    def __init__(self, text: str, usage: str = "", code: int = 1) -> None:
        super().__init__(text, code)
        self.usage = usage
