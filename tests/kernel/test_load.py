"""Many clients at once: every request is answered, and a client that does not read hurts only itself."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from flux.frames import FrameDecoder, encode_frame
from flux.message import REQUEST, Message
from flux.testing import Instance, wait_for

MINIMAL = [f"--plugins={Path(__file__).parent / 'kernel.toml'}"]
CLIENT = (
    "import flux\n"
    "h = flux.Flux()\n"
    "rpcs = [h.rpc('broker.ping', {'seq': i}, nodeid=i % 2) for i in range(200)]\n"
    "print(sum(rpc.get()['seq'] == i for i, rpc in enumerate(rpcs)))\n"
)


def test_ten_thousand_requests_from_fifty_clients_are_all_answered(instance: Callable[..., Instance]) -> None:
    env = instance(size=2, args=MINIMAL).env
    clients = [subprocess.Popen([sys.executable, "-c", CLIENT], env=env, stdout=subprocess.PIPE) for _ in range(50)]
    answers = [client.communicate(timeout=50)[0] for client in clients]
    assert [int(answer) for answer in answers] == [200] * 50


def connect(instance: Instance) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(instance.uri.removeprefix("local://"))
    assert sock.recv(1) == b"\0"
    return sock


def test_a_client_that_does_not_read_is_held_back_and_stalls_nobody(instance: Callable[..., Instance]) -> None:
    running = instance(size=2, args=MINIMAL)
    lazy = connect(running)
    lazy.settimeout(0.5)
    pad = "x" * 60000
    sent = 0
    try:
        for tag in range(1, 5000):
            lazy.sendall(encode_frame(Message(REQUEST, "broker.ping", {"pad": pad}, aux=0, matchtag=tag, routes=[])))
            sent += 1
    except TimeoutError:
        pass
    assert sent < 4999, "the broker must stop reading from a client that takes no answers"
    handle = running.handle()
    assert handle.rpc("broker.ping", {"seq": 1}).get()["seq"] == 1
    lazy.settimeout(60)
    decoder = FrameDecoder()
    answered = 0
    while answered < sent:
        answered += len(decoder.feed(lazy.recv(1 << 20)))
    assert answered == sent
    lazy.close()


def test_garbage_closes_that_link_with_a_log_line(instance: Callable[..., Instance]) -> None:
    running = instance(size=2, args=MINIMAL)
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes.fromhex("1200eeffffffffff"), b"\x12\0\xee\xff\0\0\0\x01\0"):
        sock = connect(running)
        sock.sendall(garbage)
        sock.settimeout(60)
        assert sock.recv(100) == b""
        sock.close()
    result = running.run("flux", "dmesg")
    assert result.stdout.count("was disconnected") >= 3, result.stdout
    assert running.handle().rpc("broker.ping", {}).get()["rank"] == 0
    handle = running.handle()
    wait_for(lambda: handle.rpc("local.stats-get").get()["clients"] <= 6)
