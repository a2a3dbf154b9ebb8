"""Every row of the contract, in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import TestCase

from tests.memory_engine import play
from tests.row import Row
from tests.rows import ROWS


class RowTests(TestCase):
    """One test for each row; its sentence is the promise."""


def _test(number: int, row: Row) -> Callable[[Any], None]:
    def test(self: TestCase) -> None:
        problems = play(row, number).problems()
        if problems:
            self.fail(f"{row.sentence}\n" + "\n".join(problems))

    test.__doc__ = row.sentence
    return test


for _number, _row in enumerate(ROWS, 1):
    if _row.in_memory:
        setattr(RowTests, f"test_{_number:03}", _test(_number, _row))
