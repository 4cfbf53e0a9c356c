"""Who may connect to an instance, with which roles, and what guests see of others' jobs (flux-config-access(5))."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flux
from flux.errors import FluxError
from flux.message import ROLE_ADMIN, ROLE_LOCAL, ROLE_OWNER, ROLE_USER, Message
from flux.testing import Instance

NOBODY = 65534
MINIMAL = f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"
# another user who can read this project wherever it is, and nothing else that root can
AS_NOBODY = (
    "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search --"
).split()
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may take another user's id")


@pytest.fixture(scope="module")
def minimal() -> Iterator[Instance]:
    """An instance of root, into whose folder others may look."""
    with Instance(size=1, args=[MINIMAL]) as running:
        roles(running.uri)  # imports what nobody may not be able to read
        os.chmod(running.rundir, 0o711)
        yield running


def roles(uri: str) -> list[int]:
    """The user id and the roles that this user's requests have in an instance."""
    with flux.Flux(uri) as handle:
        answer = handle.rpc("broker.ping", {}).get()
    return [answer["userid"], answer["rolemask"]]


def as_nobody(call: Callable[[], Any]) -> Any:
    """What a call gives, or the name of the errno it fails with, in a forked process of another user."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writer, json.dumps(call()).encode())
        except OSError as exc:
            os.write(writer, json.dumps(errno.errorcode[exc.errno or 0]).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    return json.loads(text)


def configure(running: Instance, **access: Any) -> None:
    running.handle().rpc("config.load", {"access": access}).get()


@needs_root
@pytest.mark.parametrize(
    ("access", "expected"),
    [
        ({}, "EPERM"),
        ({"allow-root-owner": True}, "EPERM"),
        ({"allow-guest-user": True}, [NOBODY, ROLE_USER | ROLE_LOCAL]),
        ({"roles": {"admin": {"users": ["nobody"]}}}, "EPERM"),
        (
            {"allow-guest-user": True, "roles": {"admin": {"users": ["no-such-user", "nobody"]}}},
            [NOBODY, ROLE_USER | ROLE_ADMIN | ROLE_LOCAL],
        ),
        (
            {"allow-guest-user": True, "roles": {"admin": {"groups": ["no-such-group", "nogroup"]}}},
            [NOBODY, ROLE_USER | ROLE_ADMIN | ROLE_LOCAL],
        ),
        (
            {"allow-guest-user": True, "roles": {"admin": {"users": ["root"], "groups": ["root"]}}},
            [NOBODY, ROLE_USER | ROLE_LOCAL],
        ),
    ],
)
def test_another_user_gets_the_roles_that_are_configured(
    minimal: Instance, access: dict[str, Any], expected: Any
) -> None:
    configure(minimal, **access)
    assert as_nobody(lambda: roles(minimal.uri)) == expected


def test_access_tables_that_make_no_sense_are_refused(minimal: Instance) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"allow-guests": True}, "unknown field `allow-guests`"),
        ({"allow-guest-user": "yes"}, r"Expected `bool`, got `str` - at `\$.allow-guest-user`"),
        ({"roles": {"king": {}}}, "unknown field `king`"),
        ({"roles": {"admin": {"users": "me"}}}, r"Expected `array`, got `str`"),
    ]
    for access, text in wrong:
        with pytest.raises(FluxError, match=rf"local refuses the configuration: .*\[access\].*{text}") as caught:
            configure(minimal, **access)
        assert caught.value.errno == errno.EINVAL


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not there")
def test_root_is_an_owner_of_anothers_instance_when_configured(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text("[access]\nallow-root-owner = true\n")
    os.chmod(tmp_path, 0o755)
    nobodys = Instance(size=1, args=[MINIMAL, f"--config-path={tmp_path}"])
    # a broker alone: flux start -s looks by access(2), which does not count the capability
    nobodys.command = [*AS_NOBODY, *(word for word in nobodys.command if word != "-s1")]
    with nobodys:
        assert roles(nobodys.uri) == [0, ROLE_OWNER | ROLE_LOCAL]
        assert nobodys.handle().attr_get("security.owner") == str(NOBODY)
        nobodys.handle().attr_set("log-stderr-level", "2")
        configure(nobodys)
        with pytest.raises(PermissionError, match="access refused"):
            roles(nobodys.uri)


# -- what guests see


Ask = Callable[..., Any]


@pytest.fixture
def ask(instance: Callable[..., Instance]) -> Ask:
    """Send a request with a guest's credential over the owner's connection; gives the answer or the errno."""
    handle = instance(size=1).handle()
    start = handle.session.start_rpc
    extra = [0]

    def start_as_guest(rpc: Any, msg: Message) -> None:
        msg.userid, msg.rolemask = NOBODY, ROLE_USER | extra[0]
        start(rpc, msg)

    handle.session.start_rpc = start_as_guest

    def send(topic: str, payload: Any = None, role: int = 0) -> Any:
        extra[0] = role
        try:
            return handle.rpc(topic, payload or {}).get()
        except FluxError as exc:
            return exc.errno

    return send


def test_private_mode_hides_the_jobs_of_others_from_all_but_admins(instance: Callable[..., Instance], ask: Ask) -> None:
    running = instance(size=1)
    jobid = flux.job.submit(running.handle(), flux.job.JobspecV1.from_command(["true"]))
    listed = {"max_entries": 0, "attrs": []}
    one = {"id": int(jobid), "attrs": []}
    statistics = ["job-list.job-stats", "job-list.stats-get", "job-manager.stats-get", "job-manager.getinfo"]

    assert ask("job-list.list-id", one) == {"job": {"id": int(jobid)}}
    assert ask("job-list.list", listed) == {"jobs": [{"id": int(jobid)}]}
    assert ask("job-manager.getattr", {**one, "id": 1}) == errno.EINVAL
    assert errno.EPERM not in [ask(topic) for topic in statistics]

    configure(running, **{"allow-guest-user": True, "private-mode": True})
    assert ask("job-list.list", listed) == {"jobs": []}
    assert ask("job-list.list-id", one) == errno.ENOENT
    assert ask("job-manager.getattr", {**one, "id": 1}) == ask("job-manager.getattr", one) == errno.EPERM
    assert [ask(topic) for topic in statistics] == [errno.EPERM] * len(statistics)

    assert ask("job-list.list", listed, ROLE_ADMIN) == {"jobs": [{"id": int(jobid)}]}
    assert errno.EPERM not in [ask(topic, None, ROLE_ADMIN) for topic in statistics]
    configure(running)
