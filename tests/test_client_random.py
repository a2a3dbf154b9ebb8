"""A connection and hosts that do anything at any step: what must hold whatever they do."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet import error, reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailerq.settings import Timeouts
from mailerq.smtp.factory import ConnectOptions, HostFactory
from tests.mx import EXTENSIONS, Mx, Net
from tests.owner import Mail, Owner, connect

STEPS = ("greeting", "ehlo", "mail", "rcpt", "data", "end", "rset", "idle", "quit")
ODD = (
    *("4xx", "5xx", "421", "150 Wait", "250 Fine", "354 More", "silence", "close", "reset", "endless", "garbage"),
    *("latin1", "twice", "drip", ("5xx", "close"), ("4xx", "close"), b"250-", b"250 a\r\n250", b"\r\n", b"354\r\n"),
)


class RandomTests(SynchronousTestCase):
    def run_one(self, seed: int) -> None:
        dice = random.Random(seed)
        script: dict[str, Any] = {}
        for step in STEPS:
            if dice.random() < 0.4:
                script[step] = [dice.choice(ODD) if dice.random() < 0.4 else "accept" for _ in range(6)]
        mx = Mx(script=script, extensions=dice.choice((EXTENSIONS, (), ("SIZE 100",), ("PIPELINING",))))
        chop = dice.choice((0, 5, 3000))
        bodies = (
            b"Subject: x\r\n\r\nhello\r\n",
            b"x" * 500,
            b"",
            "Grüße".encode(),
            b"." * (20 if chop == 5 else 200_000),
        )
        waiting = [Mail(f"m{number}@example.org", dice.choice(bodies)) for number in range(5)]
        owner = Owner(*waiting)
        if dice.random() < 0.3:
            when, act = dice.choice(("ready", "due", "finished")), dice.choice(("abort", "quit"))
            owner.on = lambda what, c: getattr(c, act)() if what == when and dice.random() < 0.5 else None
        net, connection = connect(owner, mx, Net(chop))
        net.run(2000)
        if connection.usable:
            self.assertIsNone(connection.mail)
            connection.quit()
            net.run(100)
        self.check(owner, mx, waiting)
        self.assertEqual(net.getDelayedCalls(), [])

    def check(self, owner: Owner, mx: Mx, waiting: list[Mail]) -> None:
        kinds = [line.split()[0].rstrip(":") for line in owner.told]
        self.assertEqual(kinds.count("failed") + kinds.count("gone"), 1)
        self.assertIn(kinds[-1], ("failed", "gone"))
        for mail in waiting:
            name = mail.recipient.partition("@")[0]
            told = [line for line in owner.told if line.startswith((f"finished {name}:", f"unsent {name}"))]
            self.assertEqual(len(told), 0 if mail in owner.waiting else 1, name)
            arrived = sum(found.recipients == [mail.recipient] for found in mx.mails)
            self.assertLessEqual(arrived, 1)
            # Never said to be refused, lost without doubt or not tried. A host that speaks out of turn is believed.
            if arrived and "idle" not in mx.script:
                self.assertTrue("success" in told[0] or told[0].endswith("?"), told)
            if told and "success" in told[0]:
                self.assertIn(f"due {name}", owner.told)

    def test_whatever_the_host_does(self) -> None:
        """Each mail has one end, a mail that the host took is a success or in doubt, no timer is left."""
        for seed in range(800):
            try:
                self.run_one(seed)
            except Exception as wrong:
                raise AssertionError(f"seed {seed}: {wrong}") from wrong


class SocketTests(TestCase):
    """What only the operating system can say."""

    timeout = 10

    async def fate(self, **options: Any) -> str:
        told: Deferred[None] = Deferred()
        owner = Owner(on=lambda what, connection: told.called or told.callback(None))
        options.setdefault("timeouts", Timeouts(connect=1))
        HostFactory(reactor, owner, None, ConnectOptions(**options)).connect()
        await told
        return owner.told[0]

    async def test_refused(self) -> None:
        """Nobody listens there."""
        port = Mx(reactor).listen()
        number = port.getHost().port
        await port.stopListening()
        self.assertEqual(await self.fate(address="127.0.0.1", port=number), "failed: refused connect")

    async def test_not_our_address(self) -> None:
        """An address that this host does not have."""
        self.assertEqual(await self.fate(address="127.0.0.1", port=1, source="192.0.2.1"), "failed: bind connect")

    async def test_our_address_of_another_family(self) -> None:
        """IPv6 cannot reach IPv4; that is nothing final."""
        self.assertEqual(await self.fate(address="127.0.0.1", port=1, source="::1"), "failed: connect connect")

    async def test_from_a_certain_address(self) -> None:
        """All of 127.0.0.0/8 is ours."""
        mx = Mx(reactor)
        port = mx.listen()
        self.addCleanup(port.stopListening)
        self.addCleanup(mx.drop)
        number = port.getHost().port
        self.assertEqual(await self.fate(address="127.0.0.1", port=number, source="127.0.0.9"), "ready")
        self.assertEqual(mx.connections[0].transport.getPeer().host, "127.0.0.9")

    def test_errors_are_those_of_twisted(self) -> None:
        """The classes that ``classify`` knows."""
        self.assertTrue(issubclass(error.TCPTimedOutError, error.ConnectError))
