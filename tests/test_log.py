"""Where lines about mails go."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailerq.log import MailLog
from mailerq.settings import Log
from mailerq.worker import ALONE, Worker

FIELDS = {"time": "2026-11-24 08:38:51", "event": "retry", "id": "a-1"}


class Lines(SynchronousTestCase):
    """A file of several processes."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.settings = Log(file=str(self.path))

    def test_worker(self) -> None:
        """Each line says which worker wrote it, where there are several."""
        for worker in (ALONE, Worker(0, 2), Worker(1, 2)):
            MailLog(self.settings, worker).write([FIELDS])
        start = "2026-11-24 08:38:51 retry id=a-1"
        self.assertEqual(self.path.read_text().splitlines(), [start, f"{start} worker=0", f"{start} worker=1"])
        self.assertEqual(list(FIELDS), ["time", "event", "id"])

    def test_json(self) -> None:
        """In JSON, too."""
        MailLog(Log(file=str(self.path), format="json"), Worker(1, 2)).write([FIELDS])
        self.assertEqual(json.loads(self.path.read_text())["worker"], 1)

    def test_reopened(self) -> None:
        """After a rotation each opens the file that is there then; no line of another is lost."""
        logs = [MailLog(self.settings, Worker(index, 2)) for index in range(2)]
        aside = self.path.with_suffix(".1")
        self.path.rename(aside)
        for log in logs:
            log.write([FIELDS])
            log.reopen()
            log.write([FIELDS])
        self.assertEqual([len(path.read_text().splitlines()) for path in (aside, self.path)], [2, 2])
