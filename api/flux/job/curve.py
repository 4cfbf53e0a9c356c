"""Signatures of mechanism "curve": Ed25519 keys of the users, made by `flux keygen --sign`, where no MUNGE runs.

RFC 39 leaves room for such a mechanism and names none; this one is the project's own. The signature is the base64 of an
Ed25519 signature (RFC 8032) of HEADER.PAYLOAD; the header has the key `curve.time`, seconds since the epoch, besides
those of RFC 39. A key file is one line, `ed25519` and the base64 of the 32 bytes. The keys are those of the package
cryptography (extra `curve`), imported when they are first needed.
"""

from __future__ import annotations

import binascii
import errno
import os
import pwd
import stat
from pathlib import Path
from typing import Any

from flux.errors import FluxError

__all__ = ["PUBLIC", "SECRET", "generate", "public_path", "sign", "verify"]

SECRET = "~/.flux/curve/sign"
"""Where a user's secret key is; the public one is beside it, with the suffix .pub."""
PUBLIC = "{home}/.flux/curve/sign.pub"
"""Where the instance looks for a user's public key, unless `sign.curve.public-key` says otherwise."""

_KIND = "ed25519"
_KEY_BYTES = 32


def generate(path: str = SECRET) -> None:
    """Make a pair of keys: the secret one for its owner alone, and PATH.pub.

    Errors: EEXIST when there is a key already: jobs are signed with it; ENOTSUP without the package; those of open(2).
    """
    secret = _keys().Ed25519PrivateKey.generate()
    target = Path(path).expanduser()
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    _write(target, secret.private_bytes_raw(), 0o600)
    _write(target.with_name(f"{target.name}.pub"), secret.public_key().public_bytes_raw(), 0o644)


def sign(text: bytes, path: str = SECRET) -> str:
    """Sign HEADER.PAYLOAD with the secret key of a file.

    FluxError ENOENT with a hint when there is no key; EINVAL when the file holds none; ENOTSUP without the package.
    """
    target = Path(path).expanduser()
    try:
        content = target.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        raise FluxError(errno.ENOENT, f"curve: there is no key {target}: `flux keygen --sign` makes one") from None
    key = _keys().Ed25519PrivateKey.from_private_bytes(_decoded(content, target))
    return binascii.b2a_base64(key.sign(text), newline=False).decode()


def verify(text: bytes, signature: str, userid: int, template: str = PUBLIC) -> None:
    """Check that a user signed HEADER.PAYLOAD.

    Args:
        template: path of the user's public key, where {home}, {user} and {uid} stand for the user's.

    Raises:
        FluxError: EPERM when it was another key, or somebody else may have put the public key there; ENOENT when there
            is none; EINVAL for what is no key or no signature; ENOTSUP without the package.
    """
    path = public_path(userid, template)
    try:
        content = _read_public(path, userid)
    except FluxError:
        raise
    except OSError as exc:
        raise FluxError(
            exc.errno or errno.EIO, f"curve: the public key of user {userid}, {path}: {exc.strerror}"
        ) from None
    keys = _keys()
    try:
        made = binascii.a2b_base64(signature, strict_mode=True)
    except (binascii.Error, ValueError):
        raise FluxError(errno.EINVAL, "curve: the signature is not base64") from None
    try:
        keys.Ed25519PublicKey.from_public_bytes(_decoded(content, path)).verify(made, text)
    except _invalid_signature():
        raise FluxError(errno.EPERM, f"curve: the signature is not made with the key {path}") from None


def public_path(userid: int, template: str) -> Path:
    """Where a user's public key is. FluxError EINVAL for a template that is none, ENOENT for a user unknown here."""
    try:
        user = pwd.getpwuid(userid)
    except KeyError:
        raise FluxError(errno.ENOENT, f"curve: this host has no user {userid}") from None
    try:
        return Path(template.format(home=user.pw_dir, user=user.pw_name, uid=userid))
    except (KeyError, ValueError, IndexError, AttributeError):
        text = f"sign.curve.public-key is a path with {{home}}, {{user}} and {{uid}}, not {template!r}"
        raise FluxError(errno.EINVAL, text) from None


def _read_public(path: Path, userid: int) -> str:
    def at_once(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK)  # the user may have put a FIFO there

    with open(path, encoding="ascii", errors="replace", opener=at_once) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (userid, 0) or found.st_mode & 0o022:
            text = f"curve: {path} must be a file of user {userid} or root that nobody else may write to"
            raise FluxError(errno.EPERM, text)
        return file.read(1024)


def _write(path: Path, key: bytes, mode: int) -> None:
    line = f"{_KIND} {binascii.b2a_base64(key, newline=False).decode()}\n"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise FluxError(errno.EEXIST, f"there is a key {path} already") from None
    with os.fdopen(fd, "w", encoding="ascii") as file:
        os.fchmod(fd, mode)
        file.write(line)


def _decoded(content: str, path: Path) -> bytes:
    words = content.split()
    try:
        key = binascii.a2b_base64(words[1], strict_mode=True) if words[:1] == [_KIND] else b""
    except (IndexError, binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise FluxError(errno.EINVAL, f"curve: {path} holds no key: {_KIND} and the base64 of {_KEY_BYTES} bytes")
    return key


def _keys() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        text = "curve: the package cryptography is not installed: the extra flux-kernel[curve] has it"
        raise FluxError(errno.ENOTSUP, text) from None
    return ed25519


def _invalid_signature() -> type[Exception]:
    from cryptography.exceptions import InvalidSignature

    return InvalidSignature
