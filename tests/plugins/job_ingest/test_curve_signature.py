"""Jobs signed with a user's own key: what is taken, and what is refused."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flux.errors import FluxError
from flux.job import JobspecV1, submit
from flux.job.curve import generate, public_path, sign, verify
from flux.job.signing import sign as sign_job
from flux.job.submit import envelope
from flux.testing import Instance

ME = os.getuid()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "sign"
    generate(str(path))
    return path


def raises(errnum: int, text: str) -> Any:
    def is_it(error: BaseException) -> bool:
        return isinstance(error, OSError) and error.errno == errnum and text in str(error)

    return pytest.raises(OSError, check=is_it)


def test_a_signature_is_of_one_text_with_one_key(key: Path, tmp_path: Path) -> None:
    template = f"{key}.pub"
    signature = sign(b"header.payload", str(key))
    assert "." not in signature
    verify(b"header.payload", signature, ME, template)
    with raises(errno.EPERM, "is not made with the key"):
        verify(b"header.forged", signature, ME, template)
    generate(str(tmp_path / "other"))
    with raises(errno.EPERM, "is not made with the key"):
        verify(b"header.payload", sign(b"header.payload", str(tmp_path / "other")), ME, template)
    with raises(errno.EINVAL, "not base64"):
        verify(b"header.payload", "?", ME, template)


def test_keys_are_made_once_and_kept_from_others(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with raises(errno.EEXIST, "already"):
        generate(str(key))
    public = key.with_name("sign.pub")
    signature = sign(b"text", str(key))
    public.chmod(0o664)
    with raises(errno.EPERM, "nobody else may write to"):
        verify(b"text", signature, ME, str(public))
    public.chmod(0o644)
    public.write_text("ed25519 short\n")
    with raises(errno.EINVAL, "holds no key"):
        verify(b"text", signature, ME, str(public))
    public.unlink()
    os.mkfifo(public, 0o600)
    with raises(errno.EPERM, "must be a file"):
        verify(b"text", signature, ME, str(public))
    public.unlink()
    public.mkdir()
    opened = os.listdir("/proc/self/fd")
    with raises(errno.EISDIR, "Is a directory"):
        verify(b"text", signature, ME, str(public))
    assert os.listdir("/proc/self/fd") == opened, "a descriptor is left"
    public.rmdir()
    with raises(errno.ENOENT, f"the public key of user {ME}"):
        verify(b"text", signature, ME, str(public))
    key.unlink()
    with raises(errno.ENOENT, "flux keygen --sign"):
        sign(b"text", str(key))


def test_a_template_names_the_user() -> None:
    assert public_path(0, "/keys/{uid}/{user}.pub") == Path("/keys/0/root.pub")
    for template in ("/keys/{name}", "/keys/{", "/keys/{0}"):
        with raises(errno.EINVAL, "sign.curve.public-key is a path"):
            public_path(0, template)
    with raises(errno.ENOENT, "no user 4294967290"):
        public_path(4294967290, "/keys/{uid}")


def test_commands_sign_as_the_table_says(key: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    generate()
    assert sign_job(b"{}", ME, {"default-type": "curve"}).count(".") == 2
    with raises(errno.EINVAL, "sign.default-type is one of munge, curve, not 'x'"):
        sign_job(b"{}", ME, {"default-type": "x"})


def test_signed_jobs_are_taken_and_others_refused(instance: Callable[..., Instance], key: Path) -> None:
    handle = instance(size=1).handle()
    jobspec = JobspecV1.from_command(["true"]).dumps().encode()

    def submit_signed(userid: int = ME, age: int = 0, payload: bytes = jobspec, **table: Any) -> int:
        table = {"default-type": "curve", "curve": {"public-key": f"{key}.pub"}, **table}
        handle.rpc("config.load", {"sign": table}).get()
        text = envelope(payload, userid, b"curve", b"curve.time\0i%d\0" % (int(time.time()) - age))
        signed = envelope(jobspec, userid, b"curve", text.partition(b".")[0]) if payload != jobspec else text
        return int(submit(handle, f"{text.decode()}.{sign(signed, str(key))}", pre_signed=True))

    assert submit_signed() > 0
    with raises(errno.EPERM, "is not made with the key"):
        submit_signed(payload=b"{}")
    with raises(errno.EPERM, "older than sign.max-ttl"):
        submit_signed(age=3600, **{"max-ttl": "10m"})
    with raises(errno.EPERM, "from now: the clock of its host is wrong"):
        submit_signed(age=-3600)
    with raises(errno.EINVAL, "sign.max-ttl: invalid Flux standard duration"):
        submit_signed(**{"max-ttl": "soon"})
    with raises(errno.EPERM, "signatures of type curve are not allowed here"):
        submit_signed(**{"allowed-types": ["munge"]})
    with raises(errno.EINVAL, "sign.allowed-types is an array of munge, curve"):
        submit_signed(**{"allowed-types": "curve"})
    with raises(errno.EINVAL, "its header is not version, userid, mechanism and curve.time"):
        text = envelope(jobspec, ME, b"curve")
        submit(handle, f"{text.decode()}.{sign(text, str(key))}", pre_signed=True)


def test_a_command_makes_the_key(instance: Callable[..., Instance], tmp_path: Path) -> None:
    running = instance(size=1)
    path = tmp_path / "mine"
    assert running.run("flux", "keygen", "--sign", str(path)).returncode == 0
    verify(b"text", sign(b"text", str(path)), ME, f"{path}.pub")
    again = running.run("flux", "keygen", "--sign", str(path))
    assert (again.returncode, f"there is a key {path} already" in again.stderr) == (1, True)


def test_without_the_package_there_is_a_reason(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(FluxError, match=r"the extra flux-kernel\[curve\] has it"):
        sign(b"text", str(key))
