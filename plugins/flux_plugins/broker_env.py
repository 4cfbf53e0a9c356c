"""The broker's environment and what is installed: broker.getenv, broker.setenv and broker.conf-builtin.

The methods belong to the service of the broker itself, which hands them on to this module.
"""

from __future__ import annotations

import errno
import os

import msgspec

from flux.errors import FluxError, ProtocolError
from flux.installation import builtin_values
from flux.message import Message
from flux.module import ALL, Module, request

__all__ = ["BrokerEnv"]


class GetRequest(msgspec.Struct):
    names: list[str]


class SetRequest(msgspec.Struct):
    """env: name to value; None unsets."""

    env: dict[str, str | None]


class BuiltinRequest(msgspec.Struct):
    keys: list[str]


class BrokerEnv(Module):
    """What rc scripts ask of their broker's process; what is set is inherited by all that it starts from then on."""

    name = "broker-env"
    stage = "boot"
    isolatable = False

    def start(self) -> None:
        self.broker.extend(self)

    def stop(self) -> None:
        self.broker.retract(self)

    @request("getenv", service="broker", payload=GetRequest)
    def getenv(self, _msg: Message, req: GetRequest) -> dict[str, dict[str, str]]:
        return {"env": {name: os.environ[name] for name in req.names if name in os.environ}}

    @request("setenv", service="broker", payload=SetRequest)
    def setenv(self, _msg: Message, req: SetRequest) -> None:
        for name, value in req.env.items():
            if not name or "=" in name or "\0" in name + (value or ""):
                raise ProtocolError(f"{name!r} cannot be set: a name has a letter and no =, and nothing has a NUL")
        for name, value in req.env.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    @request("conf-builtin", service="broker", allow=ALL, payload=BuiltinRequest)
    def conf_builtin(self, _msg: Message, req: BuiltinRequest) -> dict[str, dict[str, str]]:
        known = builtin_values()
        for key in req.keys:
            if key not in known:
                raise FluxError(errno.EINVAL, f"{key}: invalid key")
        return {"values": {key: known[key] for key in req.keys}}
