"""CURVE certificates: the key pair that the brokers of a configured instance share (flux-keygen(1)).

A certificate is a file in the ZeroMQ Property Language (ZeroMQ RFC 4) with the sections "metadata" and "curve".
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from flux.errors import FluxError

__all__ = ["Certificate", "read_certificate", "write_certificate"]

_KEY_LENGTH = 40
_VALUE = r"""(?:=\s*(?P<value>"[^"]*"|'[^']*'|[^#]*))"""
_LINE = re.compile(rf"(?P<indent>\s*)(?P<name>[A-Za-z0-9$_@.&+/-]+)\s*{_VALUE}?(?:#.*)?")
_HEAD = "# CURVE certificate of a Flux instance. It holds a secret key: keep it to the instance owner."


class Certificate(NamedTuple):
    """A key pair in Z85 text, and what is noted with it."""

    public: str
    secret: str
    metadata: Mapping[str, str] = {}


def write_certificate(path: str, certificate: Certificate) -> None:
    """Write a certificate that only its owner can read; a file of that name is replaced.

    OSError when it cannot be, and for a name of what is no file, such as a device.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise FluxError(errno.EEXIST, "there is something that is no file, and is not replaced")
    temporary = f"{path}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(_text(certificate))
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def _text(certificate: Certificate) -> str:
    noted = "".join(f'    {name} = "{value}"\n' for name, value in certificate.metadata.items())
    keys = f'    public-key = "{certificate.public}"\n    secret-key = "{certificate.secret}"\n'
    return f"{_HEAD}\n\nmetadata\n{noted}curve\n{keys}"


def read_certificate(path: str) -> Certificate:
    """Read a certificate of our own.

    Raises:
        FluxError: naming the file; EPERM when it is another user's or others may read it, EINVAL when it is no
            certificate, or why it cannot be opened.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            _check_owner(path, os.fstat(stream.fileno()))
            text = stream.read()
    except UnicodeDecodeError:
        raise FluxError(errno.EINVAL, f"certificate {path} is not text") from None
    except FluxError:
        raise
    except OSError as exc:
        raise FluxError(exc.errno or errno.EIO, f"certificate {path}: {exc.strerror}") from None
    sections = _sections(path, text)
    keys = sections.get("curve", {})
    return Certificate(_key(path, keys, "public-key"), _key(path, keys, "secret-key"), sections.get("metadata", {}))


def _check_owner(path: str, info: os.stat_result) -> None:
    if info.st_uid != os.geteuid():
        raise FluxError(errno.EPERM, f"certificate {path} belongs to user {info.st_uid}, not to user {os.geteuid()}")
    if info.st_mode & 0o077:
        mode = f"{info.st_mode & 0o777:04o}"
        raise FluxError(errno.EPERM, f"certificate {path} has mode {mode}: others may read it, it should be 0600")


def _sections(path: str, text: str) -> dict[str, dict[str, str]]:
    sections: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise FluxError(errno.EINVAL, f"certificate {path}:{number}: expected NAME or NAME = VALUE")
        if not found["indent"]:
            section = sections.setdefault(found["name"], {})
        elif found["value"] is not None:
            section[found["name"]] = _unquoted(found["value"])
    return sections


def _unquoted(value: str) -> str:
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value.strip()


def _key(path: str, keys: Mapping[str, str], name: str) -> str:
    key = keys.get(name, "")
    if len(key) != _KEY_LENGTH:
        raise FluxError(errno.EINVAL, f"certificate {path}: section curve has no {name} of {_KEY_LENGTH} characters")
    return key
