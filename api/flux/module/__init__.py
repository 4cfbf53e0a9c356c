"""How a service is written (RFC 5): a `Module` subclass with decorated methods.

    from flux.module import Module, request, USER

    class Greeter(Module):
        name = "greeter"

        @request("hello", allow=USER)
        def hello(self, msg):
            return {"text": f"hello, {msg.payload['who']}"}

The same class runs inside the broker or, with `isolated`, in a process of its own.
"""

from flux.module.base import (
    ADMIN,
    ALL,
    DEFERRED,
    OWNER,
    USER,
    Module,
    Transport,
    event,
    request,
)
from flux.module.subscribers import Subscribers

__all__ = [
    "ADMIN",
    "ALL",
    "DEFERRED",
    "OWNER",
    "USER",
    "Module",
    "Subscribers",
    "Transport",
    "event",
    "request",
]
