"""``smtp.max-connections``: the connections of all sites together. Whoever waits for room gets it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailerq.settings import parse
from tests.memory_engine import MemoryEngine
from tests.mx import Mx, Net


class RoomTests(SynchronousTestCase):
    def start(self, most: int, sites: int, limits: dict[str, Any], **hosts: Any) -> None:
        """An engine, and so many sites of one host each."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        settings = {
            "smtp": {"max-connections": most, "tls": "none"},
            "limits": [{"domain": "*", **limits}],
        }
        self.net = Net()
        zone = {f"d{number}.test": [f"A 127.0.0.{number + 1}"] for number in range(sites)}
        journal = str(Path(folder.name) / "journal")
        self.engine = MemoryEngine(parse(json.dumps(settings), "room", {}), zone, journal, self.net)
        self.addCleanup(self.engine.journal.close)
        self.hosts = [self.net.add(f"127.0.0.{number + 1}", Mx(**hosts)) for number in range(sites)]

    def publish(self, site: int, number: int = 1) -> None:
        for _ in range(number):
            job = {"envelope": "a@b.example", "recipient": f"r@d{site}.test", "mime": "x"}
            self.engine.publish(json.dumps(job).encode())

    def taken(self) -> list[int]:
        """How many mails each host has."""
        return [len(host.mails) for host in self.hosts]

    def test_room_that_one_does_not_need_any_more(self) -> None:
        """Where one site has waited for room, and needs none when it comes, the next gets it."""
        self.start(2, 3, {"connection-max-idle": "1s"}, script={"end": "drip"})
        self.publish(0, 12)  # one connection, and one more for its sake as soon as there is room
        self.publish(1)
        self.net.run(0.2)
        self.publish(2)
        self.net.run(10)
        self.assertEqual(self.taken(), [12, 1, 1])

    def test_idle_connections_make_room(self) -> None:
        """A connection that is only kept in case of more mail is closed when another site needs room."""
        self.start(1, 2, {"connection-max-idle": "1h"})
        self.publish(0)
        self.net.run(1)
        self.publish(1)
        self.net.run(1)
        self.assertEqual(self.taken(), [1, 1])

    def test_a_connection_does_not_become_idle_where_others_wait(self) -> None:
        """Nor is it kept at all."""
        self.start(1, 3, {"connection-max-idle": "1h"})
        for site in range(3):
            self.publish(site)
        self.net.run(1)
        self.assertEqual(self.taken(), [1, 1, 1])

    def test_busy_sites_make_room(self) -> None:
        """A site that always has mail does not keep all room to itself."""
        self.start(2, 3, {"connection-max-idle": "1s"}, script={"end": "drip"})
        self.publish(0, 500)
        self.net.run(0.1)
        self.publish(1)
        self.publish(2)
        self.net.run(2)
        self.assertEqual(self.taken()[1:], [1, 1])
        self.assertLess(self.taken()[0], 500)
        self.net.run(60)
        self.assertEqual(self.taken(), [500, 1, 1])

    def test_never_more(self) -> None:
        """However many wait."""
        self.start(3, 8, {"connection-max-idle": "1s"}, script={"end": "drip"})
        for site in range(8):
            self.publish(site, 30)
        most = 0
        for _ in range(400):
            self.net.run(0.01)
            most = max(most, sum(host.open for host in self.hosts))
        self.net.run(60)
        self.assertEqual(self.taken(), [30] * 8)
        self.assertEqual(most, 3)
