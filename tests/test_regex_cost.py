"""How long a regular expression may take."""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.patterns import LONGEST
from mailerq.regex_cost import MOST, steps

SLOW = (
    *("(a+)+b", "(a*)*b", "(?:a|b+)+c", "((ab)*c)*d", "(a{1,99})*b", "(?=(a+)+)b", "((a+)?)*b", "(a{1,3})+b"),
    *(".*a.*b.*c", ".*a.*b.*c.*d", "[a-z]+[a-z]+[a-z]+!", "(a|b|ab)*c", "(a|a){1,63}b", "(a{1,63}){1,63}b"),
    *("(?:a?){40}a{40}", r"(a+)\1b", "(a+?)+?b", "(?:(a)|(?(1)b|ab))+c", "a{1,63}a{1,63}a{1,63}a{1,63}a{1,63}!"),
)
QUICK = (
    *("S3[0-9]{3}", "rate.*limit", "rate.*limit.*exceeded", r"^\S+ is listed", "(too many|too much) .*mail"),
    *(r"\bS\d{3,4}\b", "(spam|junk).*(block|reject)", "[a-z]+!", "(?:foo|bar)+x", "^.*a.*b", "x.*y", "(?!a)b", ""),
    *(r"(\d{1,3}\.){3}\d{1,3}", "[0-9]+ messages? (per|in) [0-9]+", "(?>a+)b", "a++b", "(?i:A)b", "(?P<x>a)(?P=x)"),
)


def hostile(pattern: str) -> Iterator[str]:
    """Texts that are made of the signs and words of a pattern, and fit nearly."""
    dice = random.Random(1)
    words = [word for word in re.split(r"[^a-zA-Z0-9 ]+", pattern) if word] or ["a"]
    for word in ("a", "ab", "a1 ", "x", "0", "1.", *words):
        yield (word * LONGEST)[:LONGEST]
    yield "".join((word * LONGEST)[: LONGEST // len(words)] for word in words)
    if len(words) > 1:
        yield "".join((word * LONGEST)[: LONGEST // (len(words) - 1)] for word in words[:-1])
    for _ in range(3):
        yield "".join(dice.choice(words) for _ in range(LONGEST))[:LONGEST]


class Cost(SynchronousTestCase):
    """The bound."""

    def test_slow(self) -> None:
        """What could take for ever is above it."""
        for pattern in SLOW:
            self.assertGreater(steps(pattern, LONGEST), MOST, pattern)

    def test_quick(self) -> None:
        """What people write is below it."""
        for pattern in QUICK:
            self.assertLess(steps(pattern, LONGEST), MOST, pattern)

    def test_it_holds(self) -> None:
        """What is below it does not take long for texts that are made for it."""
        for pattern in QUICK:
            self.assertLess(self.slowest(pattern), 1.0, pattern)

    def test_longer_texts(self) -> None:
        """A longer text takes more steps."""
        self.assertLess(steps("a.*b", 100), steps("a.*b", 1000))

    @given(st.text("ab.*+?()|[]{}1,^$\\", max_size=14))
    @settings(deadline=None, max_examples=300)
    def test_any(self, pattern: str) -> None:
        """Whatever is a regular expression has a bound, and none that is below it takes long."""
        with contextlib.suppress(re.error, OverflowError):
            if steps(pattern, LONGEST) <= MOST:
                self.assertLess(self.slowest(pattern), 5.0, pattern)

    def slowest(self, pattern: str) -> float:
        """Seconds for the worst of many texts."""
        regex = re.compile(pattern, re.IGNORECASE)
        worst = 0.0
        for text in hostile(pattern):
            began = time.process_time()
            regex.search(text)
            worst = max(worst, time.process_time() - began)
        return worst
