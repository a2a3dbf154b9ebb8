"""The demonstration: its scripts, its hosts, and that it would notice what is wrong."""

from __future__ import annotations

import io
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import State, Type
from mailerq.demo import report
from mailerq.demo.check import differences
from mailerq.demo.hosts import Host, Session
from mailerq.demo.plan import SCRIPTS, Order, orders
from mailerq.demo.script import ACCEPT, Say, Script, fate

GREY = Script("grey.example", "", 1, (Say(State.RCPT, "451 4.7.1 later"), ACCEPT))


class Fates(SynchronousTestCase):
    """What must come of a job follows from the script alone."""

    def kinds(self, *tries: Say, most: int = 6) -> list[str]:
        found = fate(Script("a.example", "", 1, tries), most)
        return [entry.type.value for entry in found.entries] + ["delivered" if found.delivered else "failed"]

    def test_later(self) -> None:
        """A 4xx is tried again."""
        self.assertEqual(self.kinds(*GREY.tries), ["error", "success", "delivered"])

    def test_refused(self) -> None:
        """A 5xx is final."""
        self.assertEqual(self.kinds(Say(State.RCPT, "550 no"), ACCEPT), ["error", "failed"])

    def test_limit(self) -> None:
        """The last try that is allowed is final."""
        self.assertEqual(self.kinds(Say(State.RCPT, "452 full"), most=3), ["error"] * 3 + ["failed"])

    def test_doubt(self) -> None:
        """Hung up at the final dot is in doubt; before, it is not."""
        found = fate(Script("a.example", "", 1, (Say(State.RECEIVED, None), Say(State.RCPT, None), ACCEPT)), 6)
        self.assertEqual([entry.in_doubt for entry in found.entries], [True, False, False])
        self.assertEqual(found.entries[0].type, Type.LOST)


class Hosts(SynchronousTestCase):
    """A host speaks SMTP as its script says."""

    def connect(self, host: Host) -> tuple[Session, StringTransportWithDisconnection]:
        session = host.buildProtocol(None)
        transport = StringTransportWithDisconnection()
        transport.protocol = session
        session.makeConnection(transport)
        return session, transport

    def say(self, host: Host, *lines: str) -> list[str]:
        """The codes of the replies to ``lines``, and ``closed`` where the connection is."""
        session, transport = self.connect(host)
        session.dataReceived("".join(f"{line}\r\n" for line in lines).encode())
        codes = [line[:3] for line in transport.value().decode().splitlines() if line[3:4] == " "]
        return codes + ([] if transport.connected else ["closed"])

    MAIL = ("EHLO me", "MAIL FROM:<a@b.example>", "RCPT TO:<one@grey.example>")

    def test_grey(self) -> None:
        """The second try of a recipient is taken, and the message kept without doubled dots."""
        host = Host(Clock(), GREY)
        self.assertEqual(self.say(host, *self.MAIL), ["220", "250", "250", "451"])
        second = self.say(host, *self.MAIL, "DATA", "one", "..two", ".", "QUIT")
        self.assertEqual(second, ["220", "250", "250", "250", "354", "250", "221", "closed"])
        self.assertEqual(host.kept, {"one@grey.example": [b"one\r\n.two\r\n"]})

    def test_hang_up(self) -> None:
        """Where it is to hang up, it closes without an answer, and keeps nothing."""
        host = Host(Clock(), Script("a.example", "", 1, (Say(State.RECEIVED, None),)))
        self.assertEqual(self.say(host, *self.MAIL, "DATA", "one", ".")[-2:], ["354", "closed"])
        self.assertEqual(host.kept, {})

    def test_slow(self) -> None:
        """A slow host answers after its delay."""
        clock = Clock()
        _, transport = self.connect(Host(clock, Script("a.example", "", 1, delay=0.3)))
        self.assertEqual(transport.value(), b"")
        clock.advance(0.3)
        self.assertEqual(transport.value()[:4], b"220 ")


def result_of(order: Order) -> dict[str, Any]:
    """The result that an order has to have."""
    entries = []
    for entry in order.fate.entries:
        fields: dict[str, Any] = {"type": entry.type.value, "state": entry.state.value}
        fields |= {"code": entry.code} if entry.code else {}
        entries.append(fields | ({"in-doubt": True} if entry.in_doubt else {}))
    return {"order": order.number, "domain": order.script.domain, "results": entries}


class Checks(SynchronousTestCase):
    """All is well only if all is."""

    def setUp(self) -> None:
        self.orders = orders()
        self.results = {order.number: [result_of(order)] for order in self.orders}
        self.kept = {order.job["recipient"]: [order.message] for order in self.orders if order.fate.delivered}
        delivered = len(self.kept)
        retries = sum(len(order.fate.entries) - 1 for order in self.orders)
        self.queues = {"success": delivered, "failure": len(self.orders) - delivered, "retry": retries}

    def wrong(self) -> list[str]:
        return differences(self.orders, self.results, self.kept, self.queues)

    def test_well(self) -> None:
        """A thousand jobs, each with what its script says."""
        self.assertEqual(len(self.orders), 1000)
        self.assertEqual(self.wrong(), [])

    def test_no_result(self) -> None:
        """A job without a result is named."""
        del self.results[7]
        self.assertIn("0 results instead of one", "".join(self.wrong()))

    def test_two_results(self) -> None:
        """So is one with two."""
        self.results[7] *= 2
        self.assertIn("2 results instead of one", "".join(self.wrong()))

    def test_other_result(self) -> None:
        """And one with another result."""
        self.results[7][0]["results"][0]["code"] = 299
        self.assertIn("299", "".join(self.wrong()))

    def test_message(self) -> None:
        """A message that arrived twice, or changed, is noticed."""
        recipient = next(iter(self.kept))
        self.kept[recipient] *= 2
        self.assertEqual(len(self.wrong()), 1)
        self.kept[recipient] = [b"other"]
        self.assertEqual(len(self.wrong()), 1)

    def test_queues(self) -> None:
        """Something left in the outbox, or missing in a result queue, is noticed."""
        self.queues |= {"outbox": 1, "retry": 0}
        self.assertEqual(len(self.wrong()), 2)

    def test_tables(self) -> None:
        """The tables count all results."""
        found = [results[0] for results in self.results.values()]
        self.assertIn("1000", report.by_type(found).splitlines()[-1])
        domains = report.by_domain(SCRIPTS, found, dict.fromkeys(self.results, 1.0))
        self.assertEqual(len(domains.splitlines()), 2 + len(SCRIPTS))
        self.assertEqual(report.examples(self.orders, self.results).count('"order"'), 2)


class Progress(SynchronousTestCase):
    """The line of progress."""

    def test_plain(self) -> None:
        """Without a terminal: a line every two seconds, and the last."""
        out = io.StringIO()
        progress = report.Progress(out, 10)
        for seconds in (0.0, 1.0, 2.0, 2.5):
            progress.show(seconds, 1, 0, 0)
        progress.show(3.0, 10, 0, 0, last=True)
        self.assertEqual(len(out.getvalue().splitlines()), 3)
