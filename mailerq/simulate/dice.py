"""Numbers that look like chance, and are the same for the same question: whether a user is known does not depend on
who was asked about before.

Pure.
"""

from __future__ import annotations

from zlib import crc32

_MASK = (1 << 64) - 1


def mixed(number: int) -> int:
    """64 bits of which each depends on each of ``number`` (the finisher of SplitMix64)."""
    mixing = (number * 0x9E3779B97F4A7C15) & _MASK
    mixing = ((mixing ^ (mixing >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixing = ((mixing ^ (mixing >> 27)) * 0x94D049BB133111EB) & _MASK
    return mixing ^ (mixing >> 31)


def part_of(bits: int) -> float:
    """64 bits as a number from 0 to below 1."""
    return (bits >> 11) / (1 << 53)


def luck(seed: int, what: str) -> float:
    """A number from 0 to below 1 that belongs to ``what``."""
    return part_of(mixed(crc32(what.encode()) ^ (seed << 32)))
