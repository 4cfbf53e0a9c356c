"""Job ids: integers that print and parse in every FLUID encoding (RFC 19; manual page ``flux.job.JobID``)."""

from __future__ import annotations

from flux.job import fluid

__all__ = ["JobID", "id_encode", "id_parse"]


class JobID(int):
    """A job id: an int, made from an int or from any FLUID encoding, shown in F58.

    Raises ValueError when the text is no job id, OverflowError when the integer is not 64 bits unsigned.
    """

    orig: str
    """The text (or the decimal form of the integer) that the id was made from."""

    def __new__(cls, value: int | str) -> JobID:
        jobid = super().__new__(cls, fluid.decode(value) if isinstance(value, str) else value)
        fluid.encode(jobid, "dec")  # refuses what is not 64 bits
        jobid.orig = value if isinstance(value, str) else str(int(value))
        return jobid

    def encode(self, encoding: str = "dec") -> str:
        """Return the id in ``encoding``: dec, hex, dothex, kvs, f58, f58plain, words or emoji."""
        return fluid.encode(self, encoding)

    @property
    def dec(self) -> str:
        """Decimal."""
        return self.encode("dec")

    @property
    def hex(self) -> str:
        """Hexadecimal with prefix 0x."""
        return self.encode("hex")

    @property
    def dothex(self) -> str:
        """Four groups of four hexadecimal digits joined by dots."""
        return self.encode("dothex")

    @property
    def kvs(self) -> str:
        """The KVS directory of the job."""
        return self.encode("kvs")

    @property
    def f58(self) -> str:
        """Base58 with prefix ƒ (f where the environment cannot show it)."""
        return self.encode("f58")

    @property
    def f58plain(self) -> str:
        """Base58 with prefix f."""
        return self.encode("f58plain")

    @property
    def words(self) -> str:
        """Six pronounceable words, joined by dashes."""
        return self.encode("words")

    @property
    def emoji(self) -> str:
        """At most seven emoji."""
        return self.encode("emoji")

    def __str__(self) -> str:
        return self.f58

    def __repr__(self) -> str:
        return f"JobID({int(self)})"

    def __getnewargs__(self) -> tuple[int]:
        return (int(self),)


def id_parse(jobid_str: str) -> int:
    """Return the integer that ``jobid_str`` (any FLUID encoding) stands for; ValueError when none."""
    return fluid.decode(jobid_str)


def id_encode(jobid: int, encoding: str = "f58") -> str:
    """Return ``jobid`` in ``encoding``; ValueError when there is no such encoding."""
    return fluid.encode(jobid, encoding)
