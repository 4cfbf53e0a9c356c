"""What a guest, a user who does not own the instance, may ask of it (RFC 12)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flux
from flux.errors import FluxError
from flux.message import ROLE_USER, Message
from flux.testing import Instance

NOBODY = 65534
MINIMAL = f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"
OPEN = (
    "attr.get attr.list broker.ping broker.stats-get broker.rusage service.add service.remove event.publish "
    "module.list state-machine.get state-machine.wait config.get groups.get groups.stats-get overlay.health "
    "overlay.topology overlay.stats-get kvs.lookup kvs.lookup-plus kvs.commit kvs.getroot kvs.wait-version "
    "kvs.stats-get kvs.ping kvs.rusage job-ingest.submit job-manager.urgency job-manager.getattr job-manager.getinfo "
    "job-manager.raise job-manager.raiseall job-manager.kill job-manager.killall job-manager.memo job-manager.update "
    "job-manager.queue-list job-manager.queue-status job-manager.stats-get job-info.lookup job-list.list "
    "job-list.list-id job-list.job-stats resource.status resource.sched-status resource.topo-get"
).split()
CLOSED = (
    "attr.set attr.rm log.append log.clear config.load config.reload config.follow content.load content.store "
    "content.flush kvs.namespace-create kvs.namespace-remove rexec.exec rexec.list rexec.kill cron.create cron.list "
    "job-manager.wait job-manager.list job-manager.drain job-manager.idle job-manager.purge job-manager.jobtap "
    "job-manager.queue-enable job-manager.queue-start resource.drain resource.undrain resource.get module.load "
    "module.remove module.reload shutdown.start state-machine.post state-machine.monitor state-machine.config-reload"
).split()


@pytest.fixture
def ask_as_guest(instance: Callable[..., Instance]) -> Callable[[str], int]:
    """Send an empty request with a guest's credential over the owner's connection; gives the errno, 0 for success."""
    handle = instance(size=1).handle()
    start = handle.session.start_rpc

    def start_as_guest(rpc: Any, msg: Message) -> None:
        msg.userid, msg.rolemask = NOBODY, ROLE_USER
        start(rpc, msg)

    handle.session.start_rpc = start_as_guest

    def ask(topic: str) -> int:
        try:
            handle.rpc(topic, {}).get()
        except FluxError as exc:
            return exc.errno
        return 0

    return ask


@pytest.mark.parametrize("topic", CLOSED)
def test_owners_requests_are_refused(ask_as_guest: Callable[[str], int], topic: str) -> None:
    assert ask_as_guest(topic) == errno.EPERM


@pytest.mark.parametrize("topic", OPEN)
def test_users_requests_pass_the_role_check(ask_as_guest: Callable[[str], int], topic: str) -> None:
    assert ask_as_guest(topic) not in (errno.EPERM, errno.ENOSYS)


@pytest.fixture
def ask_as_nobody(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Start an instance with a configuration, and ask for its state from a process of another user."""
    if os.getuid() != 0:
        pytest.skip("only root may take another user's id")
    running: list[Instance] = []

    def ask(conf: str) -> str:
        (tmp_path / "site.toml").write_text(conf)
        started = Instance(size=1, args=[MINIMAL, f"--config-path={tmp_path}"]).start()
        running.append(started)
        state(started.uri)  # imports what nobody may not be able to read
        os.chmod(started.rundir, 0o711)
        return as_nobody(lambda: state(started.uri))

    yield ask
    for started in running:
        started.stop()


def state(uri: str) -> str:
    with flux.Flux(uri) as handle:
        return str(handle.rpc("state-machine.get").get()["state"])


def as_nobody(call: Callable[[], str]) -> str:
    """What a call gives, or the name of the errno it fails with, in a forked process of another user."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writer, call().encode())
        except OSError as exc:
            os.write(writer, errno.errorcode[exc.errno or 0].encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    return text


def test_another_user_is_refused_by_default(ask_as_nobody: Callable[[str], str]) -> None:
    assert ask_as_nobody("") in ("EPERM", "EACCES")


def test_another_user_is_let_in_when_configured(ask_as_nobody: Callable[[str], str]) -> None:
    assert ask_as_nobody("[access]\nallow-guest-user = true\n") == "run"
