"""What the kernel and its plugins know of each other: the contracts of links, switch, broker and bootstrap.

Plugins import these types and never the kernel; the kernel implements them and imports no plugin.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import asyncio

    from flux.message import Message
    from flux.module import Module

__all__ = ["AttributeTable", "BootInfo", "Bootstrap", "Broker", "Link", "Switchboard"]


class Link(Protocol):
    """Anything that carries messages to and from the switch: a client, a module, a peer broker.

    Attributes:
        uuid: route id of the other end (RFC 3): a lower-case UUID.
        userid, rolemask: credential that is stamped on messages which enter here without one (RFC 12).
        owner: True when the other end is the instance owner, who may set credentials.
    """

    uuid: str
    userid: int
    rolemask: int
    owner: bool

    def send(self, msg: Message) -> None:
        """Take a message for the other end. Never blocks; a full link drops itself, not the message's sender."""


class Switchboard(Protocol):
    """The switch, as transports see it.

    Attributes:
        sequence: of the newest event delivered here.
        on_event: called with each event after its delivery.
    """

    sequence: int
    on_event: list[Callable[[Message], None]]

    def attach(self, link: Link) -> None:
        """Add a link of a client or module; requests it sends are tracked, so that its end is announced."""

    def detach(self, link: Link, errnum: int = errno.EHOSTUNREACH, text: str = "") -> None:
        """Remove a link: its services go, the requests that wait on it are answered, and the services
        that it called get `SERVICE.disconnect`."""

    def attach_parent(self, link: Link) -> None:
        """Set the link to the upstream broker."""

    def attach_child(self, link: Link, ranks: Sequence[int]) -> None:
        """Add the link to a downstream broker.

        A rank that several children list is sent to the one that lists the fewest; what waits on another child for
        an answer of a rank that is behind this one now is answered with EHOSTUNREACH.

        Args:
            ranks: every rank reached through it.
        """

    def receive(self, msg: Message, link: Link) -> None:
        """Route a message that came in on a link. Control messages are the link's own business: not routed."""

    def has_service(self, name: str) -> bool: ...

    def link_to(self, uuid: str) -> Link | None:
        """The link with that route id: for a request's last route, the one that it came in by."""

    def pending(self, link: Link) -> int:
        """Number of requests sent over a link that are not answered yet."""


class AttributeTable(Protocol):
    """The broker's attributes (flux-broker-attributes(7)): strings with flags."""

    def get(self, name: str, default: str | None = None) -> str | None: ...

    def __getitem__(self, name: str) -> str:
        """FluxError ENOENT when unset."""

    def set(self, name: str, value: str | None, *, immutable: bool = False) -> None:
        """Set from inside the broker; unlike the attr service this may set anything."""

    def compute(self, name: str, value: Callable[[], str]) -> None:
        """Show what value() gives whenever the attribute is read, until it is removed."""

    def remove(self, name: str) -> None:
        """Unset; nothing happens when it is not set."""

    def is_immutable(self, name: str) -> bool: ...

    def __iter__(self) -> Iterator[str]: ...

    def cacheable(self) -> dict[str, str]:
        """Immutable attributes that have a value."""

    def on_change(self, name: str, callback: Callable[[str], None]) -> None:
        """Call back with the new value whenever the attribute is set."""


class BootInfo:
    """What a bootstrap method found out.

    Attributes:
        rank, size: this broker's rank and the number of brokers.
        kvsname: name of the PMI key-value space; the job id under Flux.
        attrs: attributes that come from the launcher (instance-level, jobid, broker.mapping, ...).
    """

    def __init__(self, rank: int, size: int, kvsname: str = "", attrs: Mapping[str, str] | None = None) -> None:
        self.rank = rank
        self.size = size
        self.kvsname = kvsname
        self.attrs = dict(attrs or {})


class Bootstrap(ABC):
    """Base of bootstrap methods: how a broker learns its rank and meets its peers. Calls may block.

    Attributes, known after open():
        certificate: CURVE key pair (public, secret; Z85) that all brokers share; None: each makes its own.
        parents: parent by rank, when the method knows the shape of the tree (`tbon.topo` custom).
        ipv6: whether endpoints may be IPv6 addresses.
        static: the place of each broker is known before it runs: a parent may start after its children.
    """

    name: ClassVar[str] = ""
    certificate: tuple[str, str] | None = None
    parents: Mapping[int, int] | None = None
    ipv6: bool = True
    static: bool = False

    @classmethod
    @abstractmethod
    def available(cls, environ: Mapping[str, str], conf: Mapping[str, Any]) -> bool:
        """True when this method can be used in this environment, with this configuration."""

    def __init__(self, environ: Mapping[str, str], conf: Mapping[str, Any]) -> None:
        self.environ = environ
        self.conf = conf

    @abstractmethod
    def open(self) -> BootInfo:
        """Learn rank and size. FluxError when the launcher does not answer."""

    def endpoint(self) -> str | None:
        """Where this broker has to listen for its children; None: anywhere. FluxError when that is not told."""
        return None

    @abstractmethod
    def publish(self, card: dict[str, Any]) -> None:
        """Offer this broker's business card (host, pubkey, uri) to its peers."""

    @abstractmethod
    def barrier(self) -> None:
        """Wait until every broker has got here."""

    @abstractmethod
    def lookup(self, rank: int) -> dict[str, Any]:
        """The business card of a peer, after the barrier. FluxError ENOENT when it has none."""

    @abstractmethod
    def finalize(self) -> None:
        """The launcher is no longer needed."""

    @abstractmethod
    def abort(self, text: str) -> None:
        """Tell the launcher that this broker cannot start."""


class Broker(Protocol):
    """The broker, as modules in its process see it (`self.broker`).

    Attributes:
        rank, size, uuid: of this broker.
        attrs: its attributes. conf: the configuration. switch: the message switch.
        boot: the bootstrap method in use.
        initial_program: the command to run on rank 0, None for an interactive shell.
        booted: set when all plugins of the "boot" stage have started.
    """

    rank: int
    size: int
    uuid: str
    attrs: AttributeTable
    conf: dict[str, Any]
    switch: Switchboard
    boot: Bootstrap
    initial_program: list[str] | None
    booted: asyncio.Event

    def start_services(self) -> Awaitable[None]:
        """Start the plugins of the "run" stage. FluxError when one that is required cannot start."""

    def stop_services(self) -> Awaitable[None]:
        """Stop the plugins of the "run" stage, in reverse order."""

    def exit(self, code: int) -> None:
        """End the broker: boot-stage plugins stop, then the process exits with code."""

    def extend(self, module: Module) -> None:
        """Answer what a module of this process handles for service "broker" as methods of the broker.

        Its handlers answer by their result, not later. `retract` ends it.
        """

    def retract(self, module: Module) -> None:
        """Undo `extend`."""

    def modules(self) -> list[dict[str, Any]]:
        """The loaded modules as `module.list` shows them (RFC 5)."""
