"""The content-s3 module: service `content-backing` on rank 0, over a bucket of an S3 server."""

from __future__ import annotations

import errno
from collections.abc import Callable

import msgspec

from flux.backing import BackingStore
from flux.collecting import CollectingModule
from flux.errors import FluxError

__all__ = ["ContentS3", "Options"]


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of the content-s3 module. Credentials are found as boto3 finds them: environment, files, host.

    Attributes:
        bucket: name of a bucket that exists.
        prefix: what the key of each object begins with; one for each instance.
        endpoint: URL of the server; default: Amazon's.
        region: of the bucket, where the server has regions.
    """

    bucket: str = ""
    prefix: str = "flux/"
    endpoint: str = ""
    region: str = ""


class ContentS3(CollectingModule):
    """Keep blobs and checkpoints in S3."""

    name = "content-s3"
    options_type = Options

    async def opener(self) -> Callable[[], BackingStore]:
        options = self.options
        if not options.bucket:
            raise FluxError(errno.EINVAL, "content-s3 needs the argument bucket, the name of a bucket")
        try:
            from flux_plugins.content_s3.bucket import Bucket
        except ImportError as exc:
            raise FluxError(errno.ENOSYS, f"content-s3 needs the extra s3 of this distribution: {exc}") from None
        return lambda: Bucket(options.bucket, options.prefix, self.hash_name, options.endpoint, options.region)
