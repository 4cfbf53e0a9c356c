"""A bucket: one object per blob, named by its blobref, and one with the checkpoints. Blocking."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from flux.backing import Blobs
from flux.collecting import CollectingStore, MemoryCollector
from flux.content import digest_of, ref_of
from flux.errors import FluxError

__all__ = ["Bucket"]

T = TypeVar("T")
_UPLOADS = 8
_REMOVALS = 1000
_KEPT_CHECKPOINTS = 5
_MISSING = ("404", "NoSuchKey", "NotFound")
_NO_ROOM = ("507", "QuotaExceeded", "XMinioStorageFull", "InsufficientStorage")


class Bucket(CollectingStore):
    """The objects of a bucket whose keys begin with a prefix.

    Args:
        bucket: name of a bucket that exists.
        hash_name: what blobrefs begin with.
        endpoint: URL of the server, "" for Amazon's. region: "" for the client library's default.

    Raises:
        FluxError: EIO, with the server's words, here and in every method; ENOSPC when a quota is reached.
    """

    def __init__(self, bucket: str, prefix: str, hash_name: str, endpoint: str = "", region: str = "") -> None:
        self.path = f"s3://{bucket}/{prefix}"
        self.bucket = bucket
        self.prefix = prefix
        self.hash_name = hash_name
        self.collector = MemoryCollector(self._digests, self._remove)
        config = Config(max_pool_connections=_UPLOADS, retries={"max_attempts": 3, "mode": "standard"})
        self._client = self._try(
            lambda: boto3.client("s3", endpoint_url=endpoint or None, region_name=region or None, config=config)
        )
        self._try(lambda: self._client.head_bucket(Bucket=bucket), f"there is no bucket {bucket}")
        self._uploads = ThreadPoolExecutor(_UPLOADS, "content-s3")

    def _try(self, call: Callable[[], T], missing: str = "") -> T:
        try:
            return call()
        except (ClientError, BotoCoreError, ValueError) as exc:
            self._fail(exc, missing)

    def _fail(self, exc: Exception, missing: str) -> NoReturn:
        code = exc.response.get("Error", {}).get("Code", "") if isinstance(exc, ClientError) else ""
        if code in _MISSING:
            raise FluxError(errno.ENOENT, missing) from None
        raise FluxError(errno.ENOSPC if code in _NO_ROOM else errno.EIO, f"{self.path}: {exc}") from None

    def _key(self, digest: bytes) -> str:
        return self.prefix + ref_of(digest, self.hash_name)

    def _get(self, key: str, missing: str = "") -> bytes:
        def get() -> bytes:
            data: bytes = self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
            return data

        return self._try(get, missing)

    def _put(self, key: str, data: bytes) -> None:
        self._try(lambda: self._client.put_object(Bucket=self.bucket, Key=key, Body=data))

    def load(self, digest: bytes) -> bytes:
        blob = self._get(self._key(digest))
        self.collector.touch(digest)
        return blob

    def validate(self, digest: bytes) -> None:
        self._try(lambda: self._client.head_object(Bucket=self.bucket, Key=self._key(digest)))

    def store(self, blobs: Blobs) -> None:
        try:
            for _ in self._uploads.map(lambda pair: self._put(self._key(pair[0]), pair[1]), blobs):
                pass
        except FluxError as exc:
            self.full = exc.errno == errno.ENOSPC
            raise
        self.full = False
        for digest, _ in blobs:
            self.collector.touch(digest)
        self.collector.stored += len(blobs)

    def _digests(self) -> Iterator[bytes]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._key(b""))
        following = iter(pages)
        while page := self._try(lambda: next(following, None)):
            for found in page.get("Contents", ()):
                with suppress(FluxError):  # not a blob
                    yield digest_of(found["Key"].removeprefix(self.prefix))

    def _remove(self, digests: list[bytes]) -> None:
        for at in range(0, len(digests), _REMOVALS):
            keys = [{"Key": self._key(digest)} for digest in digests[at : at + _REMOVALS]]
            request = {"Objects": keys, "Quiet": True}
            self._try(lambda request=request: self._client.delete_objects(Bucket=self.bucket, Delete=request))

    # -- checkpoints

    def checkpoints(self) -> list[dict[str, Any]]:
        data = self._get(f"{self.prefix}checkpoints", "there is no checkpoint")
        try:
            return msgspec.json.decode(data, type=list[dict[str, Any]])
        except msgspec.MsgspecError as exc:
            raise FluxError(errno.EIO, f"{self.path}checkpoints is damaged: {exc}") from None

    def put_checkpoint(self, value: dict[str, Any], alone: bool = False) -> None:
        try:
            older = [] if alone else self.checkpoints()
        except FileNotFoundError:
            older = []
        kept = [value, *older][:_KEPT_CHECKPOINTS]
        self._put(f"{self.prefix}checkpoints", msgspec.json.encode(kept))

    def stats(self) -> dict[str, Any]:
        return {"bucket": self.bucket, "prefix": self.prefix}

    def close(self) -> None:
        self._uploads.shutdown()
        self._client.close()
