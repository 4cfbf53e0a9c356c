"""The content cache's book-keeping: nothing dirty is ever forgotten."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flux_plugins.content.cache import OVERHEAD, ContentCache

digests = st.binary(min_size=1, max_size=1)


class CacheAgainstModel(RuleBasedStateMachine):
    """Blobs come, are written back, are purged; a model knows which must be here and which are dirty."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = ContentCache()
        self.dirty: dict[bytes, bytes] = {}
        self.seen: dict[bytes, bytes] = {}

    @rule(digest=digests, dirty=st.booleans())
    def add(self, digest: bytes, dirty: bool) -> None:
        blob = digest * 10
        if self.cache.add(digest, blob, dirty) and dirty:
            self.dirty[digest] = blob
        self.seen[digest] = blob

    @rule(limit=st.integers(1, 4))
    def write_back(self, limit: int) -> None:
        taken = self.cache.take_dirty(limit)
        assert len(taken) == min(limit, len(self.dirty))
        self.cache.clean([digest for digest, _ in taken])
        for digest, blob in taken:
            assert self.dirty.pop(digest) == blob

    @rule(seconds=st.integers(0, 20))
    def time_passes(self, seconds: int) -> None:
        self.cache.now += seconds

    @rule(size=st.integers(0, 100), age=st.integers(0, 10))
    def purge(self, size: int, age: int) -> None:
        young = {d for d, e in self.cache.entries.items() if e.used > self.cache.now - age}
        self.cache.purge(size, age)
        assert young <= self.cache.entries.keys()

    @rule()
    def drop(self) -> None:
        self.cache.drop()
        assert self.cache.entries.keys() == self.dirty.keys()

    @invariant()
    def dirty_blobs_are_here(self) -> None:
        assert self.cache.dirty == len(self.dirty)
        for digest, blob in self.dirty.items():
            assert self.cache.entries[digest].blob == blob
        for digest, entry in self.cache.entries.items():
            assert entry.blob == self.seen[digest]
            assert entry.dirty == (digest in self.dirty)
        assert self.cache.size == sum(len(entry.blob) for entry in self.cache.entries.values())
        clean = [entry for entry in self.cache.entries.values() if not entry.dirty]
        assert self.cache.clean_cost == sum(len(entry.blob) + OVERHEAD for entry in clean)


TestCacheAgainstModel = CacheAgainstModel.TestCase


def test_purge_stops_at_the_target_and_takes_the_oldest_first():
    cache = ContentCache()
    for i in range(10):
        cache.add(bytes([i]), b"x" * 10, dirty=False)
    cache.now = 100
    assert cache.purge(5 * (10 + OVERHEAD), 10) == 5
    assert sorted(cache.entries) == [bytes([i]) for i in range(5, 10)]


def test_what_was_used_lately_goes_last():
    cache = ContentCache()
    for i in range(3):
        cache.add(bytes([i]), b"x", dirty=False)
    cache.now = 1
    cache.get(b"\0")
    assert cache.purge(2 * (1 + OVERHEAD), 0) == 1
    assert sorted(cache.entries) == [b"\0", b"\2"]
