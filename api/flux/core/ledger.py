"""Who waits on what: requests in flight over a link, and the services that a client has called."""

from __future__ import annotations

from collections.abc import Container, Iterator

from flux.message import FLAG_NORESPONSE, FLAG_STREAMING, FLAG_UPSTREAM, Message

__all__ = ["CallLedger", "PendingLedger"]


class PendingLedger:
    """Requests sent over a link that have not been answered, so that its end can answer them."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: dict[tuple[tuple[str, ...], int, str], tuple[Message, int]] = {}

    def sent(self, msg: Message) -> None:
        """A request goes out over the link."""
        if msg.matchtag and not msg.flags & FLAG_NORESPONSE and msg.routes:
            # the link may add hops of its own to the stack: remember how deep it is here
            # the whole way it came: a client whose request was answered for may use its tag again, on another way
            self._pending[tuple(msg.routes), msg.matchtag, msg.topic] = (msg, len(msg.routes))

    def answered(self, msg: Message) -> bool:
        """A response came in over the link; False when nobody waits for it."""
        if not msg.routes or not msg.matchtag:
            return True
        key = (tuple(msg.routes), msg.matchtag, msg.topic)
        if msg.aux or not msg.flags & FLAG_STREAMING:
            return self._pending.pop(key, None) is not None
        return key in self._pending

    def drain(self, ranks: Container[int] | None = None) -> list[Message]:
        """Empty responses to everything that still waits, or to what was sent to these ranks; forgets them."""
        drained, self._pending = self._pending, {}
        if ranks is not None:
            self._pending = {key: entry for key, entry in drained.items() if entry[0].aux not in ranks}
            drained = {key: entry for key, entry in drained.items() if key not in self._pending}
        return [_response(msg, depth) for msg, depth in drained.values()]

    def forget_sender(self, sender: str) -> None:
        """A client went away: nobody waits for its answers any more."""
        for key in [key for key in self._pending if key[0][0] == sender]:
            del self._pending[key]

    def __len__(self) -> int:
        return len(self._pending)


class CallLedger:
    """The services that a client has sent requests to, for `SERVICE.disconnect` at its end (RFC 6)."""

    __slots__ = ("_calls", "_seen")

    def __init__(self) -> None:
        self._seen: set[tuple[str, int, int]] = set()
        self._calls: dict[tuple[str, int, int], Message] = {}

    def sent(self, msg: Message) -> None:
        """The client sent a request."""
        if msg.flags & FLAG_NORESPONSE:
            return
        seen = (msg.topic, msg.aux, msg.flags & FLAG_UPSTREAM)
        if seen in self._seen:
            return
        self._seen.add(seen)
        prefix = msg.topic.rpartition(".")[0]
        self._calls.setdefault((prefix, *seen[1:]), _disconnect_request(msg, prefix))

    def disconnects(self) -> Iterator[Message]:
        """One disconnect request for each service called."""
        calls, self._calls = self._calls, {}
        yield from calls.values()


def _response(msg: Message, depth: int) -> Message:
    response = msg.respond()
    assert response.routes is not None
    del response.routes[depth:]
    return response


def _disconnect_request(msg: Message, prefix: str) -> Message:
    return Message(
        msg.type,
        f"{prefix}.disconnect" if prefix else "disconnect",
        flags=(msg.flags & FLAG_UPSTREAM) | FLAG_NORESPONSE,
        userid=msg.userid,
        rolemask=msg.rolemask,
        aux=msg.aux,
        routes=list(msg.routes or ()),
    )
