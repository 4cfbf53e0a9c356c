"""Running mean and spread of a number, for statistics."""

from __future__ import annotations

import math

__all__ = ["Counter"]


class Counter:
    """Count, minimum, maximum, mean and standard deviation of what was added."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.count = 0
        self.min = self.max = 0
        self._mean = self._squares = 0.0

    def add(self, value: int) -> None:
        self.count += 1
        self.min = value if self.count == 1 else min(self.min, value)
        self.max = max(self.max, value)
        delta = value - self._mean
        self._mean += delta / self.count
        self._squares += delta * (value - self._mean)

    def as_dict(self) -> dict[str, float]:
        spread = math.sqrt(self._squares / self.count) if self.count else 0.0
        return {"count": self.count, "min": self.min, "mean": self._mean, "stddev": spread, "max": self.max}
