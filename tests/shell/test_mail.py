"""Letters between shells: each is read once and in order, however they arrive."""

from __future__ import annotations

import random

from flux.message import REQUEST, Message
from flux_shell.mail import Inbox


def letter(sender: int, number: int) -> Message:
    return Message(REQUEST, "shell.write", {"mail": [sender, number]}, aux=0, routes=[])


def test_letters_of_each_sender_are_read_once_and_in_order() -> None:
    for seed in range(50):
        chance = random.Random(seed)
        inbox, read, repeated = Inbox(), [], 0
        arrivals = [(sender, number) for sender in (1, 2) for number in range(1, 20)]
        arrivals += chance.choices(arrivals, k=15)
        chance.shuffle(arrivals)
        for sender, number in arrivals:
            ready, is_repeated = inbox.take(letter(sender, number), sender, number)
            read += [tuple(msg.payload["mail"]) for msg in ready]
            repeated += is_repeated
        assert [number for sender, number in read if sender == 1] == list(range(1, 20))
        assert [number for sender, number in read if sender == 2] == list(range(1, 20))
        assert repeated <= 15
