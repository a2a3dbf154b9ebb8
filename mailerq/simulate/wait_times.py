"""How long jobs waited: a histogram whose size does not grow.

Pure. Percentiles are right to one part in a hundred.
"""

from __future__ import annotations

from math import log

STEP = log(1.02)
SMALLEST = 0.001  # seconds; less is nothing


class WaitTimes:
    """``count`` times, the longest of them ``longest`` seconds."""

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0.0
        self._buckets: dict[int, int] = {}

    def add(self, seconds: float) -> None:
        """One more."""
        self.count += 1
        self.longest = max(self.longest, seconds)
        bucket = int(log(seconds / SMALLEST) / STEP) + 1 if seconds > SMALLEST else 0
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def add_all(self, other: WaitTimes) -> None:
        """Those of another, too."""
        self.count += other.count
        self.longest = max(self.longest, other.longest)
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count

    def percentile(self, share: float) -> float:
        """Seconds within which that share of all was done; 0 where there is none."""
        left = share * self.count
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return 0.0 if bucket == 0 else min(self.longest, SMALLEST * 1.02 ** (bucket - 0.5))
        return self.longest
