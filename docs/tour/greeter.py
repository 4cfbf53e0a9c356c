"""A first service. Load it into a running instance: flux module load ./greeter.py"""

from flux.message import Message
from flux.module import USER, Module, request


class Greeter(Module):
    """Say hello, and count."""

    name = "greeter"
    count = 0

    @request("hello", allow=USER)
    def hello(self, msg: Message) -> dict[str, str]:
        self.count += 1
        return {"text": f"hello, {msg.payload['who']}"}

    def stats(self) -> dict[str, int]:
        return {"greeted": self.count}
