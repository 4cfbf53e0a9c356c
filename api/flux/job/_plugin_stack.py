"""What validators and frobnicators share: plugins by name, with options on one command line (flux-config-ingest(5))."""

from __future__ import annotations

import argparse
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NoReturn

from flux.discovery import PluginError, index, load

__all__ = ["PluginStack"]


class _Parser(argparse.ArgumentParser):
    """A wrong option is a ValueError: who parses may be a service."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


class PluginStack(ABC):
    """Plugins of one kind, in order.

    Args:
        argv: `--plugins=NAME[,NAME...]`, by default `default`, and options of these plugins.
        pluginpath: directories whose NAME.py comes before what is installed.
        parser: gets the options, for a program that has more.

    Attributes:
        args: what was parsed: `plugins`, and what the program's own parser knows.
        plugins: those that are in use, from `start` on.
    """

    kind: ClassVar[str]
    default: ClassVar[Sequence[str]]
    plain: ClassVar[type]
    """Base class of plugins that take the parser."""

    def __init__(self, argv: Sequence[str], pluginpath: Iterable[str] | None = None, parser: Any = None) -> None:
        self.parser: argparse.ArgumentParser = parser or _Parser(add_help=False, allow_abbrev=False)
        self.parser.add_argument(
            "--plugins", "--plugin", action="append", default=[], metavar="LIST", help="which ones, in order"
        )
        self.args: argparse.Namespace
        self.remaining_args: list[str]
        self.args, self.remaining_args = self.parser.parse_known_args(argv)
        named = [name for names in self.args.plugins for name in names.split(",") if name]
        self.names: list[str] = named or list(self.default)
        self.plugins: list[Any] = []
        self._path = list(pluginpath or ())

    def available(self) -> dict[str, str]:
        """What is installed: a line on each, by name."""
        found: dict[str, str] = {}
        for name in index().names(self.kind):
            try:
                doc = load(self.kind, name)[0].__doc__
            except PluginError as exc:
                doc = str(exc)
            found[name] = (doc or "").partition("\n")[0]
        return found

    def start(self, config: Mapping[str, Any] | None = None) -> None:
        """Load and configure the plugins.

        Args:
            config: the instance's configuration; None to ask the instance for it.

        Raises:
            ValueError: there is no such plugin, it cannot be imported, or it takes no such option.
        """
        if config is None:
            from flux.core.handle import Flux

            with Flux() as handle:
                config = handle.rpc("config.get").get()
        self.plugins = [self._make(name) for name in self.names]
        args = self.parser.parse_args(self.remaining_args)
        for plugin in self.plugins:
            self._configure(plugin, args, config)

    def _make(self, name: str) -> Any:
        path = next((p for folder in self._path if os.path.exists(p := os.path.join(folder, f"{name}.py"))), name)
        try:
            found, _origin = load(self.kind, path)
        except PluginError as exc:
            raise ValueError(f"{self.kind.removesuffix('s')} plugin '{name}': {exc}") from None
        return found(self.parser) if issubclass(found, self.plain) else found()

    @abstractmethod
    def _configure(self, plugin: Any, args: argparse.Namespace, config: Mapping[str, Any]) -> None:
        """Give a plugin the options of all and the instance's configuration."""
