"""A module that cannot start."""

from flux.module import Module


class Broken(Module):
    name = "broken"

    def start(self):
        raise RuntimeError("no coffee")
