"""Plugins that find the URI of an instance by something else: `flux uri SCHEME:...` (flux-uri(1), PLUGINS).

A file SCHEME.py with a class derived from `URIResolverPlugin`, as for stock Flux, or an entry point of the group
`flux.resolvers` that names such a class.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, urlparse

from flux.discovery import Entry, load_entry
from flux.installed import entry_points

__all__ = ["URI", "URIResolverPlugin", "URIResolverURI", "find_resolver", "resolver_folders", "resolver_names"]

_FOLDER = "/etc/flux/uri/resolvers"


class URI:
    """The parts of a URI.

    Attributes:
        uri: all of it. scheme, netloc, path, params, query, fragment: as urllib.parse has them.
        query_dict: lists of values by name.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        parts = urlparse(uri)
        self.scheme, self.netloc, self.path, self.params, self.query, self.fragment = parts
        self.query_dict = parse_qs(self.query, keep_blank_values=True)


class URIResolverURI(URI):
    """What a resolver is asked for, such as "site:a/b?wait": what is between scheme and question mark is its path."""

    def __init__(self, uri: str) -> None:
        scheme, _, rest = uri.partition(":")
        path, _, query = rest.partition("?")
        super().__init__(f"{scheme}:?{query}")
        self.uri, self.path = uri, path


class URIResolverPlugin(ABC):
    """Base of resolvers; made without arguments."""

    def __init__(self, *args: Any) -> None:
        super().__init__()

    @abstractmethod
    def describe(self) -> str:
        """What comes after the colon, in a few words."""

    @abstractmethod
    def resolve(self, uri: URIResolverURI) -> str:
        """The URI of the instance meant, a string or a JobURI. ValueError when there is none."""


def resolver_folders() -> list[str]:
    """Where files of resolvers are looked for: those of $FLUX_URI_RESOLVE_PLUGINPATH first."""
    return [*filter(None, os.environ.get("FLUX_URI_RESOLVE_PLUGINPATH", "").split(":")), _FOLDER]


def find_resolver(scheme: str, folders: Sequence[str] = ()) -> URIResolverPlugin | None:
    """The resolver of a scheme; None when no plugin has it.

    Args:
        folders: to look into before the others.

    Raises:
        PluginError: it cannot be imported, or is none.
    """
    for folder in (*folders, *resolver_folders()):
        path = os.path.join(os.path.abspath(folder), f"{scheme}.py")
        if os.path.isfile(path):
            return _made(Entry(scheme, "resolvers", path))
    row = entry_points("resolvers").get(scheme)
    return _made(Entry(*row)) if row else None


def _made(entry: Entry) -> URIResolverPlugin:
    plugin: URIResolverPlugin = load_entry(entry)[0]()
    return plugin


def resolver_names(folders: Sequence[str] = ()) -> list[str]:
    """The schemes of all plugins."""
    return sorted({*_files((*folders, *resolver_folders())), *entry_points("resolvers")})


def _files(folders: Sequence[str]) -> Iterator[str]:
    for folder in folders:
        names = os.listdir(folder) if os.path.isdir(folder) else ()
        yield from (name.removesuffix(".py") for name in names if name.endswith(".py") and not name.startswith("_"))
