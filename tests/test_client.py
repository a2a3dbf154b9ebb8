"""A connection and its owner: each step of the talk, with each way in which a host can answer it, in memory."""

from __future__ import annotations

import socket
from typing import Any

import attrs
from twisted.internet import error
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailerq.attempt import Outcome, State, Type
from mailerq.interfaces import IConnectionOwner, IMail
from mailerq.settings import Timeouts
from mailerq.smtp.client import has_input
from mailerq.smtp.factory import ConnectOptions, HostFactory
from tests.mx import EXTENSIONS, Mx, Net
from tests.owner import ADDRESS, Mail, Owner, connect, mails, play

BEHAVIOURS: dict[str, Any] = {
    "1xx": "150 Wait",
    "2xx": "250 Fine",
    "3xx": "354 More",
    "4xx+close": ("4xx", "close"),
    "5xx+close": ("5xx", "close"),
    "empty": b"250-\r\n250\r\n",
    "two codes": b"250-a\r\n450 b\r\n",
}
# What the owner is told of the mail "one", and after ";" what follows. Where two lines stand for one behaviour, the
# first is for a host with PIPELINING, the second for one without.
TABLE = """
greeting  2xx        finished one: success 250 2.0.0 accept
greeting  latin1     finished one: success 250 2.0.0 accept
greeting  drip       finished one: success 250 2.0.0 accept
greeting  empty      finished one: success 250 2.0.0 accept
greeting  1xx        failed: noaccess 150 init
greeting  3xx        failed: noaccess 354 init
greeting  4xx        failed: noaccess 450 4.2.0 init
greeting  5xx        failed: noaccess 550 5.1.1 init
greeting  421        failed: noaccess 421 4.3.2 init
greeting  5xx+close  failed: noaccess 550 5.1.1 init
greeting  silence    failed: noaccess init
greeting  close      failed: noaccess init
greeting  reset      failed: noaccess init
greeting  garbage    failed: noaccess init
greeting  two codes  failed: noaccess init
greeting  twice      failed: noaccess 220 init
greeting  endless    failed: overflow init

ehlo      2xx        finished one: success 250 2.0.0 accept
ehlo      drip       finished one: success 250 2.0.0 accept
ehlo      4xx        finished one: success 250 2.0.0 accept
ehlo      5xx        finished one: success 250 2.0.0 accept
ehlo      empty      finished one: success 250 2.0.0 accept
ehlo      1xx        failed: error 150 ehlo
ehlo      3xx        failed: error 354 ehlo
ehlo      garbage    failed: error ehlo
ehlo      two codes  failed: error ehlo
ehlo      twice      failed: error 250 ehlo
ehlo      421        failed: error 421 4.3.2 ehlo
ehlo      silence    failed: timeout ehlo
ehlo      close      failed: lost ehlo
ehlo      reset      failed: lost ehlo
ehlo      5xx+close  failed: lost helo
ehlo      endless    failed: overflow ehlo

mail      2xx        finished one: success 250 2.0.0 accept
mail      latin1     finished one: success 250 2.0.0 accept
mail      drip       finished one: success 250 2.0.0 accept
mail      empty      finished one: success 250 2.0.0 accept
mail      4xx        finished one: error 450 4.2.0 mail from
mail      5xx        finished one: error 550 5.1.1 mail from
mail      421        finished one: error 421 4.3.2 mail from; gone
mail      1xx        finished one: error 150 mail from; gone
mail      3xx        finished one: error 354 mail from; gone
mail      silence    finished one: timeout mail from; gone
mail      close      finished one: lost mail from; gone
mail      reset      finished one: lost mail from; gone
mail      endless    finished one: overflow mail from; gone
mail      garbage    finished one: error mail from; gone
mail      two codes  finished one: error mail from; gone
mail      twice      finished one: error 250 2.1.5 data; gone
mail      twice      finished one: error 250 2.1.0 mail from; gone
mail      4xx+close  finished one: error 450 4.2.0 mail from; gone
mail      4xx+close  finished one: error 450 4.2.0 mail from; gone: idle idle
mail      5xx+close  finished one: error 550 5.1.1 mail from; gone
mail      5xx+close  finished one: error 550 5.1.1 mail from; gone: idle idle

rcpt      2xx        finished one: success 250 2.0.0 accept
rcpt      latin1     finished one: success 250 2.0.0 accept
rcpt      drip       finished one: success 250 2.0.0 accept
rcpt      empty      finished one: success 250 2.0.0 accept
rcpt      4xx        finished one: error 450 4.2.0 rcpt to
rcpt      5xx        finished one: error 550 5.1.1 rcpt to
rcpt      421        finished one: error 421 4.3.2 rcpt to; gone
rcpt      1xx        finished one: error 150 rcpt to; gone
rcpt      3xx        finished one: error 354 rcpt to; gone
rcpt      silence    finished one: timeout rcpt to; gone
rcpt      close      finished one: lost rcpt to; gone
rcpt      endless    finished one: overflow rcpt to; gone
rcpt      garbage    finished one: error rcpt to; gone
rcpt      two codes  finished one: error rcpt to; gone
rcpt      twice      finished one: error 250 2.1.5 data; gone
rcpt      twice      finished one: error 250 2.1.5 rcpt to; gone
rcpt      4xx+close  finished one: error 450 4.2.0 rcpt to; gone
rcpt      4xx+close  finished one: error 450 4.2.0 rcpt to; gone: idle idle
rcpt      5xx+close  finished one: error 550 5.1.1 rcpt to; gone
rcpt      5xx+close  finished one: error 550 5.1.1 rcpt to; gone: idle idle

data      latin1     finished one: success 250 2.0.0 accept
data      drip       finished one: success 250 2.0.0 accept
data      3xx        finished one: success 250 2.0.0 accept
data      4xx        finished one: error 450 4.2.0 data
data      5xx        finished one: error 550 5.1.1 data
data      421        finished one: error 421 4.3.2 data; gone
data      1xx        finished one: error 150 data; gone
data      2xx        finished one: error 250 data; gone
data      silence    finished one: timeout data; gone
data      close      finished one: lost data; gone
data      endless    finished one: overflow data; gone
data      garbage    finished one: error data; gone
data      two codes  finished one: error data; gone
data      twice      finished one: error 354 data; gone
data      4xx+close  finished one: error 450 4.2.0 data; gone: idle idle
data      5xx+close  finished one: error 550 5.1.1 data; gone: idle idle

end       2xx        finished one: success 250 accept
end       latin1     finished one: success 250 accept
end       drip       finished one: success 250 2.0.0 accept
end       empty      finished one: success 250 accept
end       4xx        finished one: error 450 4.2.0 received
end       5xx        finished one: error 550 5.1.1 received
end       421        finished one: error 421 4.3.2 received; gone
end       1xx        finished one: error 150 received?; gone
end       3xx        finished one: error 354 received?; gone
end       silence    finished one: timeout received?; gone
end       close      finished one: lost received?; gone
end       reset      finished one: lost received?; gone
end       endless    finished one: overflow received?; gone
end       garbage    finished one: error received?; gone
end       two codes  finished one: error received?; gone
end       twice      finished one: success 250 2.0.0 accept; gone: idle idle
end       4xx+close  finished one: error 450 4.2.0 received; gone: idle idle
end       5xx+close  finished one: error 550 5.1.1 received; gone: idle idle

rset      2xx        finished one: error 550 5.1.1 rcpt to; finished two: success 250 2.0.0 accept
rset      latin1     finished one: error 550 5.1.1 rcpt to; finished two: success 250 2.0.0 accept
rset      drip       finished one: error 550 5.1.1 rcpt to; finished two: success 250 2.0.0 accept
rset      1xx        finished one: error 550 5.1.1 rcpt to; unsent two; gone
rset      3xx        finished one: error 550 5.1.1 rcpt to; unsent two; gone
rset      4xx        finished one: error 550 5.1.1 rcpt to; unsent two; gone
rset      5xx        finished one: error 550 5.1.1 rcpt to; unsent two; gone
rset      421        finished one: error 550 5.1.1 rcpt to; unsent two; gone
rset      silence    finished one: error 550 5.1.1 rcpt to; unsent two; gone
rset      close      finished one: error 550 5.1.1 rcpt to; unsent two; gone
rset      reset      finished one: error 550 5.1.1 rcpt to; unsent two; gone
rset      endless    finished one: error 550 5.1.1 rcpt to; unsent two; gone
rset      garbage    finished one: error 550 5.1.1 rcpt to; unsent two; gone
rset      two codes  finished one: error 550 5.1.1 rcpt to; unsent two; gone
rset      twice      finished one: error 550 5.1.1 rcpt to; finished two: error 250 2.1.5 data; gone
rset      twice      finished one: error 550 5.1.1 rcpt to; unsent two; gone

idle      silence    finished one: success 250 2.0.0 accept
idle      2xx        finished one: success 250 2.0.0 accept; gone: idle 250 idle
idle      4xx        finished one: success 250 2.0.0 accept; gone: idle 450 4.2.0 idle
idle      421        finished one: success 250 2.0.0 accept; gone: idle 421 4.3.2 idle
idle      close      finished one: success 250 2.0.0 accept; gone: idle idle
idle      reset      finished one: success 250 2.0.0 accept; gone: idle idle
idle      endless    finished one: success 250 2.0.0 accept; gone: idle idle
idle      garbage    finished one: success 250 2.0.0 accept; gone: idle idle
idle      twice      finished one: success 250 2.0.0 accept; gone: idle 250 idle
"""


def rows() -> dict[tuple[str, str], list[list[str]]]:
    found: dict[tuple[str, str], list[list[str]]] = {}
    for line in filter(None, TABLE.splitlines()):
        found.setdefault((line[:10].strip(), line[10:21].strip()), []).append(line[21:].split("; "))
    return found


class TableTests(SynchronousTestCase):
    """The table above."""

    def check(self, column: int, extensions: tuple[str, ...]) -> None:
        wrong = []
        for (step, behaviour), expected in rows().items():
            script = {step: [BEHAVIOURS.get(behaviour, behaviour)]}
            if step == "rset":
                script["rcpt"] = ["5xx"]
            waiting = mails("one", "two") if step == "rset" else mails("one")
            owner, _, connection = play(script, *waiting, seconds=700.0, extensions=extensions)
            told = owner.fates()
            alive = not any(line.startswith(("gone", "failed")) for line in told)
            if told != expected[min(column, len(expected) - 1)] or connection.usable != alive:
                wrong.append(f"{step} {behaviour}: {told}, usable: {connection.usable}")
        self.assertEqual(wrong, [])

    def test_pipelined(self) -> None:
        """Each step, each behaviour, on a host with PIPELINING."""
        self.check(0, EXTENSIONS)

    def test_one_by_one(self) -> None:
        """Each step, each behaviour, on a host without."""
        self.check(1, ())

    def test_without_a_timer_left(self) -> None:
        """Whatever ends a connection, its timers end with it."""
        for step, behaviour in rows():
            net = Net()
            script = {step: [BEHAVIOURS.get(behaviour, behaviour)]}
            _, connection = connect(Owner(*mails("one", "two")), Mx(script=script), net)
            net.run(700)
            connection.abort()
            net.run()
            self.assertEqual(net.getDelayedCalls(), [], (step, behaviour))


class HappyTests(SynchronousTestCase):
    def test_interfaces(self) -> None:
        """The owner and the mail of these tests are what the seams ask for."""
        verifyObject(IConnectionOwner, Owner())
        verifyObject(IMail, Mail())

    def test_pipelining_writes_twice_a_mail_at_most(self) -> None:
        """Three mails over one connection: the next envelope goes out in the write that ends the mail before."""
        owner, mx, connection = play({}, *mails("one", "two", "three"))
        self.assertEqual(len(mx.mails), 3)
        self.assertEqual(connection.transport.writes, 1 + 1 + 3)  # EHLO, first envelope, three messages
        self.assertEqual(connection.sent, 3)
        self.assertEqual(
            owner.told,
            [
                "ready",
                "due one",
                "finished one: success 250 2.0.0 accept",
                "due two",
                "finished two: success 250 2.0.0 accept",
                "due three",
                "finished three: success 250 2.0.0 accept",
            ],
        )

    def test_the_next_mail_is_in_hand(self) -> None:
        """When a mail is finished, ``mail`` is the one that went out behind it, and None after the last."""
        seen = []
        owner = Owner(*mails("one", "two"), on=lambda what, c: seen.append((what, c.mail and c.mail.recipient)))
        connect(owner, Mx())
        self.assertEqual([mail for what, mail in seen if what == "finished"], ["two@example.org", None])

    def test_messages_arrive_byte_for_byte(self) -> None:
        """Dots, line ends of all kinds, an empty message, a long one: what is sent is ``normal`` of what was given."""
        bodies = [b".", b"\r\n.\r\n", b"a\n.b\r..c", b"", b"x" * 200_000 + b"\n.\r\n", b"." * 65536 + b"\n." * 9]
        for extensions in (EXTENSIONS, ()):
            for chop in (0, 1000):
                net, mx = Net(chop), Mx(extensions=extensions)
                connect(Owner(*(Mail(body=body) for body in bodies)), mx, net)
                lines = [body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n") for body in bodies]
                expected = [line.replace(b"\n", b"\r\n") + b"\r\n" if line else b"" for line in lines]
                expected[1] = b"\r\n.\r\n"
                self.assertEqual([mail.message for mail in mx.mails], expected)

    def test_reset_only_after_a_refusal(self) -> None:
        """RSET is sent before the mail after a refused one, and never after a message was answered."""
        for extensions in (EXTENSIONS, ()):
            script = {"rcpt": {"two": "5xx"}, "end": ["accept", "4xx"]}
            _, mx, _ = play(script, *mails("one", "two", "three", "four"), extensions=extensions)
            commands = [line[3:7] for line in mx.talk if line.startswith("C: ")]
            self.assertEqual(commands.count("RSET"), 1)
            self.assertEqual(commands.index("RSET") + 1, [i for i, c in enumerate(commands) if c == "MAIL"][2])
            self.assertEqual(len(mx.mails), 2)

    def test_times(self) -> None:
        """``connected_at`` and ``ready_at`` are times of the reactor's clock."""
        net = Net()
        net.advance(1000)
        _, connection = connect(Owner(), Mx(script={"greeting": "drip"}), net)
        net.run(1)
        assert connection.ready_at is not None
        self.assertEqual(connection.connected_at, 1000)
        self.assertAlmostEqual(connection.ready_at, 1000.0, 1)
        self.assertIsNone(connection.tls_seconds)

    def test_repr(self) -> None:
        """It says to whom, what it waits for, since when; no password."""
        _net, connection = connect(
            Owner(Mail()), Mx(script={"rcpt": "silence"}), mx="mx.test", password="hush", username="me"
        )
        self.assertIn("mx.test[192.0.2.1]:25", repr(connection))
        self.assertNotIn("hush", repr(connection) + repr(connection.options))


class ManyMailsTests(SynchronousTestCase):
    def test_a_refusal_does_no_harm_to_the_next(self) -> None:
        """4xx or 5xx to a message: the mail behind it is delivered."""
        for refusal in ("4xx", "5xx"):
            owner, mx, _ = play({"end": [refusal]}, *mails("one", "two"))
            self.assertEqual(owner.told[-1], "finished two: success 250 2.0.0 accept")
            self.assertEqual(len(mx.mails), 1)

    def test_lost_with_the_first(self) -> None:
        """Lost, silent, 421 or odd at the end of the first mail: the one behind it was not tried."""
        for behaviour, fate in (
            ("close", "lost received?"),
            ("reset", "lost received?"),
            ("silence", "timeout received?"),
            ("421", "error 421 4.3.2 received"),
            ("garbage", "error received?"),
        ):
            owner, _, _ = play({"end": [behaviour]}, *mails("one", "two"), seconds=700.0)
            self.assertEqual(owner.fates(), [f"finished one: {fate}", "unsent two", "gone"])

    def test_one_mail_for_each_connection(self) -> None:
        """A host that closes after each message: the next mail, on its way already, was not tried."""
        for extensions in (EXTENSIONS, ()):
            owner, _, _ = play({"end": [("250 2.0.0 Ok", "close")]}, *mails("one", "two"), extensions=extensions)
            self.assertEqual(owner.fates(), ["finished one: success 250 2.0.0 accept", "unsent two", "gone"])

    def test_421_to_the_next(self) -> None:
        """A 421 to the second mail's MAIL is the second mail's."""
        owner, _, _ = play({"mail": ["accept", "421"]}, *mails("one", "two"))
        self.assertEqual(owner.fates()[1:], ["finished two: error 421 4.3.2 mail from", "gone"])

    def test_354_although_refused(self) -> None:
        """DATA accepted after the recipient was refused: a lone dot, whose answer does not count (RFC 2920 3.1)."""
        for answer in ("accept", "250 Taken", "4xx", "5xx"):
            script = {"rcpt": ["5xx"], "data": ["354 Go"], "end": [answer]}
            owner, mx, _connection = play(script, *mails("one", "two"))
            self.assertEqual(owner.fates()[0], "finished one: error 550 5.1.1 rcpt to")
            self.assertEqual(owner.fates()[1], "finished two: success 250 2.0.0 accept")
            self.assertNotIn("due one", owner.told)
            self.assertIn("C: (0 bytes)", mx.talk)
            self.assertNotIn("C: RSET", mx.talk)

    def test_354_although_refused_then_lost(self) -> None:
        """The refusal counts, whatever becomes of the dot; and nothing is in doubt."""
        for behaviour in ("close", "silence", "421", "garbage"):
            owner, _, _ = play({"rcpt": ["5xx"], "data": ["354 Go"], "end": [behaviour]}, *mails("one"), seconds=700.0)
            self.assertEqual(owner.fates(), ["finished one: error 550 5.1.1 rcpt to", "gone"])

    def test_a_mail_this_host_cannot_get(self) -> None:
        """Too large for the host: 552 without a word to it, and the connection goes on, first, behind or last."""
        large = Mail("large@example.org", b"x" * 2000)
        for order in ((large, *mails("a", "b")), (*mails("a"), large, *mails("b")), (*mails("a", "b"), large)):
            owner, mx, connection = play({}, *order, extensions=("SIZE 1000", "PIPELINING"))
            self.assertEqual(
                [line for line in owner.fates() if "large" in line],
                ["finished large: error 552 5.3.4 mail from"],
            )
            self.assertEqual(len(owner.fates()), 3)
            self.assertEqual(len(mx.mails), 2)
            self.assertTrue(connection.usable)
            self.assertIsNone(connection.mail)

    def test_several_in_a_row_that_cannot_be_sent(self) -> None:
        """None of them is told from within ``give``, none is told twice."""
        large = [Mail(f"large{i}@example.org", b"x" * 2000) for i in range(3)]
        owner, _mx, _ = play({}, *large, *mails("a"), extensions=("SIZE 1000",))
        self.assertEqual([line.split(":")[0] for line in owner.fates()][-1], "finished a")
        self.assertEqual(len(owner.fates()), 4)


class OwnerTests(SynchronousTestCase):
    """What the owner may ask for, at any time. ``Owner.tell`` fails where it is told from within its own call."""

    def test_quit(self) -> None:
        """QUIT is said, its answer awaited, then it is gone."""
        owner = Owner()
        net, connection = connect(owner, mx := Mx())
        connection.quit()
        self.assertFalse(connection.usable)
        self.assertEqual(owner.told, ["ready"])
        net.run()
        self.assertEqual(owner.told, ["ready", "gone"])
        self.assertEqual(mx.talk[-2:], ["C: QUIT", "S: 221 2.0.0 Bye"])

    def test_quit_without_an_answer(self) -> None:
        """Five seconds for the answer, five for the closing, whatever the host does instead."""
        for behaviour in ("silence", "close", "reset", "garbage", "endless", "5xx", "421", "twice"):
            owner = Owner()
            net, connection = connect(owner, Mx(script={"quit": behaviour}))
            connection.quit()
            net.run(11)
            self.assertEqual(owner.told, ["ready", "gone"], behaviour)

    def test_quit_with_a_mail_in_hand(self) -> None:
        """The mail is finished first; no other is asked for."""
        owner = Owner(*mails("one", "two"))
        owner.on = lambda what, connection: connection.quit() if what == "ready" else None
        _net, _connection = connect(owner, mx := Mx())
        self.assertEqual(owner.told, ["ready", "gone"])  # told to quit before it was given one
        owner = Owner(*mails("one", "two"))
        owner.on = lambda what, connection: connection.quit() if what == "due" else None
        connect(owner, mx)
        self.assertEqual(owner.fates()[0], "finished one: success 250 2.0.0 accept")
        self.assertEqual(owner.fates()[-1], "gone")

    def test_abort_at_each_step(self) -> None:
        """Aborted with a mail in hand: it is lost at that step, in doubt after the dot; told later, once."""
        for step, fate in (
            ("mail", "finished one: lost mail from"),
            ("rcpt", "finished one: lost rcpt to"),
            ("data", "finished one: lost data"),
            ("end", "finished one: lost received?"),
        ):
            owner = Owner(*mails("one"))
            net, connection = connect(owner, Mx(script={step: "silence"}))
            owner.depth += 1
            connection.abort()
            owner.depth -= 1
            net.run()
            self.assertEqual(owner.fates(), [fate, "gone"])

    def test_abort_while_setting_up(self) -> None:
        """Aborted before it was ready: it failed, once."""
        for step, fate in (("greeting", "lost init"), ("ehlo", "lost ehlo")):
            owner = Owner()
            net, connection = connect(owner, Mx(script={step: "silence"}))
            connection.abort()
            net.run(100)
            self.assertEqual(owner.told, [f"failed: {fate}"])

    def test_quit_while_setting_up(self) -> None:
        """Told to quit before it was ready: it failed, once."""
        owner = Owner()
        net, connection = connect(owner, Mx(script={"ehlo": "silence"}))
        connection.quit()
        net.run(100)
        self.assertEqual(owner.told, ["failed: lost ehlo"])

    def test_abort_while_asked_for_the_next(self) -> None:
        """Aborted in ``next_mail``: the mail in hand is lost before its dot, the one returned was not tried."""
        owner = Owner(*mails("one"))
        two = Mail("two@example.org")
        owner.next_mail = lambda connection: connection.abort() or two  # type: ignore[method-assign]
        net, _ = connect(owner, mx := Mx())
        net.run()
        self.assertEqual(owner.told, ["ready", "finished one: lost data", "unsent two", "gone"])
        self.assertEqual(mx.mails, [])

    def test_an_owner_that_raises(self) -> None:
        """What it is to be told next is not lost with it."""
        owner = Owner()
        net, connection = connect(owner, Mx())
        owner.unsent = lambda connection, mail: 1 / 0  # type: ignore[method-assign]
        connection.quit()
        connection.give(Mail())
        net.run()
        self.assertEqual(owner.told, ["ready", "gone"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_what_waits_in_a_socket(self) -> None:
        """Bytes, the end and an error are seen; nothing, and a transport without a socket, are not."""

        class Transport:
            socket: Any = None

        self.assertFalse(has_input(Transport()))
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        transport = Transport()
        transport.socket = ours
        self.assertFalse(has_input(transport))
        theirs.send(b"421 Bye")
        self.assertTrue(has_input(transport))
        ours.recv(100)
        theirs.shutdown(socket.SHUT_WR)
        self.assertTrue(has_input(transport))
        ours.close()
        self.assertTrue(has_input(transport))

    def test_abort_while_connecting(self) -> None:
        """Aborted before there was a connection: it failed, and a late connection is not used."""
        owner = Owner()
        net, connection = connect(owner)
        connection.abort()
        self.assertEqual(owner.told, [])
        net.run(100)
        self.assertEqual(owner.told, ["failed: connect connect"])

    def test_abort_idle(self) -> None:
        """Aborted without a mail: gone, without an outcome; twice is no more than once."""
        owner = Owner()
        net, connection = connect(owner, Mx())
        connection.abort()
        connection.abort()
        connection.quit()
        net.run(100)
        self.assertEqual(owner.told, ["ready", "gone"])

    def test_from_within_what_it_is_told(self) -> None:
        """The owner may abort or quit in any call it gets."""
        for what in ("ready", "due", "finished"):
            for act in ("abort", "quit"):
                for extensions in (EXTENSIONS, ()):
                    owner = Owner(*mails("one", "two", "three"))
                    owner.on = lambda said, c, what=what, act=act: getattr(c, act)() if said == what else None
                    net, _ = connect(owner, Mx(extensions=extensions))
                    net.run(700)
                    self.assertEqual(owner.told[-1], "gone", (what, act, extensions))
                    self.assertEqual([line.split()[0] for line in owner.told].count("gone"), 1)

    def test_give_to_what_is_not_usable(self) -> None:
        """A mail given to a connection that is closed or has one is unsent, told later."""
        owner = Owner(*mails("one"))
        net, connection = connect(owner, Mx(script={"mail": "silence"}))
        connection.give(Mail("two@example.org"))
        self.assertNotIn("unsent two", owner.told)
        net.run()
        self.assertIn("unsent two", owner.told)
        connection.abort()
        net.run()
        connection.give(Mail("three@example.org"))
        net.run()
        self.assertIn("unsent three", owner.told)

    def test_give_while_the_end_waits_in_the_socket(self) -> None:
        """The host has closed and we have not read it yet: the mail is not written into the void."""
        owner = Owner()
        net, connection = connect(owner, mx := Mx())
        net.run(10)

        class Ended:
            def recv(self, *arguments: Any) -> bytes:
                return b""

        connection.transport.socket = Ended()
        connection.give(Mail())
        mx.connections[0].transport.loseConnection()
        net.run()
        self.assertEqual(owner.told, ["ready", "unsent one", "gone: idle idle"])

    def test_give_while_something_waits_in_the_socket(self) -> None:
        """Something came that is nothing for us (TLS has such records): the mail goes elsewhere, and we close."""
        owner = Owner()
        net, connection = connect(owner, Mx())
        net.run(10)

        class Waiting:
            def recv(self, *arguments: Any) -> bytes:
                return b"x"

        connection.transport.socket = Waiting()
        connection.give(Mail())
        self.assertFalse(connection.usable)
        net.run(6)
        self.assertEqual(owner.told, ["ready", "unsent one", "gone"])


class DeadlineTests(SynchronousTestCase):
    def told_at(self, script: dict[str, Any], seconds: float, **options: Any) -> list[str]:
        owner, _, _ = play(script, *mails("one"), seconds=seconds, **options)
        return owner.fates()

    def test_each_step_has_its_own(self) -> None:
        """60 s for a reply, 10 minutes for the answer to a message, or what the options say; not a second earlier."""
        for step in ("greeting", "ehlo", "mail", "rcpt", "data"):
            self.assertEqual(self.told_at({step: "silence"}, 59.9), [])
            self.assertEqual(len(self.told_at({step: "silence"}, 66.0)), 1 + (step in ("mail", "rcpt", "data")))
        self.assertEqual(self.told_at({"end": "silence"}, 599.9), [])
        self.assertEqual(self.told_at({"end": "silence"}, 606.0)[0], "finished one: timeout received?")
        quick = Timeouts(connect=1, reply=2, end=3, tls=1)
        self.assertEqual(
            self.told_at({"rcpt": "silence"}, 2.1, timeouts=quick), ["finished one: timeout rcpt to", "gone"]
        )
        self.assertEqual(self.told_at({"end": "silence"}, 2.9, timeouts=quick), [])
        self.assertEqual(len(self.told_at({"end": "silence"}, 3.1, timeouts=quick)), 2)

    def test_half_a_reply_is_no_answer(self) -> None:
        """A host that sends a byte now and then does not get more time."""
        net = Net()
        owner = Owner(*mails("one"))
        connect(owner, mx := Mx(script={"rcpt": b"250-"}), net)
        for _ in range(70):
            net.run(1)
            if mx.connections[0].connected:
                mx.connections[0].transport.write(b"x")
        self.assertEqual(owner.fates()[0], "finished one: timeout rcpt to")

    def test_a_mail_costs_no_timer(self) -> None:
        """A thousand mails, one callLater."""
        net = Net()
        calls = []
        later = net.callLater
        net.callLater = lambda *a, **k: calls.append(a) or later(*a, **k)  # type: ignore[method-assign]
        connect(Owner(*mails(*map(str, range(1000)))), mx := Mx(), net)
        self.assertEqual(len(mx.mails), 1000)
        self.assertLess(len([call for call in calls if call[0] > 0]), 4)

    def test_a_peer_that_does_not_let_us_close(self) -> None:
        """Unsent bytes hold a closing connection for five seconds, no longer."""
        owner = Owner(Mail(body=b"x" * 1000))
        net, connection = connect(owner, mx := Mx(script={"data": "silence"}))
        connection.transport.stuck = True
        connection.transport.write(b"never read")
        mx.connections[0].transport.write(b"what?\r\n")
        net.run(1)
        self.assertEqual(owner.fates(), ["finished one: error data"])
        net.run(5)
        self.assertEqual(owner.fates()[-1], "gone")


class LargeMessageTests(SynchronousTestCase):
    body = b"Subject: large\r\n\r\n" + b"." * 30 + b"\r\n" + b"x" * 998 + b"\r\n.\r\n" * 60000

    def start(self, script: dict[str, Any] | None = None, *more: Mail) -> tuple[Owner, Net, Any, Mx]:
        owner = Owner(Mail(body=self.body), *more)
        net = Net()
        mx = net.add(ADDRESS, Mx(script=script))
        connection = HostFactory(net, owner, None, ConnectOptions(ADDRESS, security="none")).connect()
        owner.on = lambda what, c: None
        return owner, net, connection, mx

    def test_no_more_is_written_than_the_host_takes(self) -> None:
        """A host that stops reading: the message waits in the job, not in the transport's buffer; then it times out,
        without doubt as the dot is not sent."""
        owner, net, connection, mx = self.start()
        mx.script["data"] = lambda line: setattr(connection.transport, "stuck", True) or "accept"
        net.run(1)
        self.assertLess(sum(map(len, connection.transport.out)), 300_000)
        self.assertEqual(connection.state, State.DATA)
        self.assertNotIn("due one", owner.told)
        net.run(70)
        self.assertEqual(owner.fates(), ["finished one: timeout data", "gone"])
        self.assertIsNone(connection.transport.producer)

    def test_as_long_as_it_flows(self) -> None:
        """The deadline starts anew each time the host takes some."""
        owner, net, connection, mx = self.start()
        mx.script["data"] = lambda line: setattr(connection.transport, "stuck", True) or "accept"
        for _ in range(20):
            net.run(50)
            connection.transport.stuck = False
            connection.transport.carry()
            connection.transport.stuck = len(mx.mails) == 0 and bool(connection.transport.out)
        connection.transport.stuck = False
        net.run()
        self.assertEqual(owner.fates(), ["finished one: success 250 2.0.0 accept"])
        self.assertEqual(mx.mails[0].message, self.body)

    def test_the_next_mail_goes_behind_it(self) -> None:
        """The envelope of the next mail is in the write that ends a large message."""
        _owner, net, _connection, mx = self.start(None, *mails("two"))
        net.run()
        self.assertEqual([mail.message for mail in mx.mails], [self.body, Mail().body])

    def test_an_answer_before_the_end(self) -> None:
        """A host that answers while we are still writing: its reply counts, nothing is in doubt, we close."""
        for reply, fate in ((b"552 5.3.4 Too much\r\n", "error 552 5.3.4 data"), (b"250 Ok\r\n", "error 250 data")):
            owner, net, connection, mx = self.start()
            mx.script["data"] = lambda line: setattr(connection.transport, "stuck", True) or "accept"  # noqa: B023
            net.run(1)
            mx.connections[0].transport.write(reply)
            net.run(10)
            self.assertEqual(owner.fates(), [f"finished one: {fate}", "gone"])

    def test_lost_while_writing(self) -> None:
        """Lost before the dot: no doubt."""
        owner, net, connection, mx = self.start()
        mx.script["data"] = lambda line: setattr(connection.transport, "stuck", True) or "accept"
        net.run(1)
        mx.connections[0].transport.abortConnection()
        net.run()
        self.assertEqual(owner.fates(), ["finished one: lost data", "gone"])


class ConnectTests(SynchronousTestCase):
    def fate(self, problem: Any, **options: Any) -> Outcome:
        owner = Owner()
        net, connection = connect(owner, problem, **options)
        net.run(100)
        self.assertEqual(len(owner.told), 1)
        self.assertFalse(connection.usable)
        return owner.outcomes[0]

    def test_types(self) -> None:
        """What the operating system says, and the type it is."""
        for problem, kind in (
            (error.ConnectionRefusedError(), Type.REFUSED),
            (error.TimeoutError(), Type.CONNECT),
            (error.TCPTimedOutError(osError=110), Type.CONNECT),
            (error.NoRouteError(osError=113), Type.CONNECT),
            (error.ConnectError(osError=101, string="Network is unreachable"), Type.CONNECT),
            (error.ConnectError(osError=99, string="no free port"), Type.CONNECT),
            (error.ConnectBindError(99, "Cannot assign requested address"), Type.BIND),
            (error.ConnectBindError(98, "Address already in use"), Type.CONNECT),
            (error.ConnectBindError(-9, "Address family for hostname not supported"), Type.CONNECT),
            (error.ConnectBindError(24, "Too many open files"), Type.CONNECT),
            (RuntimeError("odd"), Type.CONNECT),
        ):
            outcome = self.fate(problem, source="192.0.2.200")
            self.assertEqual((outcome.type, outcome.state), (kind, State.CONNECT), problem)

    def test_reset_at_once(self) -> None:
        """It came about and was reset before we could look: no greeting, ``noaccess``."""
        outcome = self.fate(error.ConnectError(osError=104, string="Connection reset by peer"))
        self.assertEqual((outcome.type, outcome.state), (Type.NOACCESS, State.INIT))

    def test_no_answer(self) -> None:
        """Nobody answers within ``timeouts.connect``: ``connect``."""
        owner = Owner()
        net, _ = connect(owner)
        net.run(29.9)
        self.assertEqual(owner.told, [])
        net.run(0.2)
        self.assertEqual(owner.told, ["failed: connect connect"])
        self.assertIn("30 s", owner.outcomes[0].description)

    def test_where_from_and_where_to(self) -> None:
        """The local address is bound, the peer is known."""
        net, connection = connect(Owner(), Mx(), source="192.0.2.7", mx="mx.test", port=2525)
        self.assertEqual(net.connects[0]["bindAddress"], ("192.0.2.7", 0))
        self.assertEqual(net.connects[0]["port"], 2525)
        peer = connection.peer
        self.assertEqual((peer.source, peer.target, peer.mx), ("192.0.2.7", ADDRESS, "mx.test"))

    def test_quit_where_we_are_not_wanted(self) -> None:
        """A host that greets with 554 gets a QUIT (RFC 5321 3.1) and no waiting for its answer."""
        owner, mx, _ = play({"greeting": "554 Go away"})
        self.assertEqual(mx.talk[-2:], ["C: QUIT", "S: 221 2.0.0 Bye"])
        self.assertEqual(owner.outcomes[0].description, "Go away")


@attrs.define
class _Users:
    owner: Owner
    mx: Mx


class AuthTests(SynchronousTestCase):
    def login(self, script: dict[str, Any] | None = None, password: str = "hush", **options: Any) -> _Users:
        extensions = options.pop("extensions", EXTENSIONS)
        mx = Mx(script=script, users={"me": "hush"}, extensions=extensions)
        owner = Owner(*mails("one"))
        options.setdefault("auth_in_clear", True)
        net, _ = connect(owner, mx, username="me", password=password, **options)
        net.run(70)
        return _Users(owner, mx)

    def test_plain(self) -> None:
        """PLAIN is taken where it is offered."""
        found = self.login()
        self.assertEqual(found.owner.fates(), ["finished one: success 250 2.0.0 accept"])
        self.assertTrue([line for line in found.mx.talk if line.startswith("C: AUTH PLAIN ")])

    def test_login(self) -> None:
        """LOGIN where PLAIN is not."""
        script = {"ehlo": "250 mx.test\n250 auth login\n250 PIPELINING"}
        found = self.login(script)
        self.assertEqual(found.owner.fates(), ["finished one: success 250 2.0.0 accept"])
        self.assertIn("C: AUTH LOGIN", found.mx.talk)

    def test_refused(self) -> None:
        """A wrong password: ``error`` with the host's code, state ``auth``; the password is nowhere."""
        found = self.login(password="wrong-secret")
        self.assertEqual(found.owner.told, ["failed: error 535 5.7.8 auth"])

    def test_repeated_by_the_host(self) -> None:
        """A host that repeats the password does not get it into the results."""
        found = self.login({"auth": "535 5.7.8 hush AG1lAGh1c2g= aHVzaA== is wrong"})
        self.assertEqual(found.owner.outcomes[0].description, "*** *** *** is wrong")

    def test_never_in_clear(self) -> None:
        """Without TLS no password, unless it is allowed."""
        found = self.login(auth_in_clear=False)
        self.assertEqual(found.owner.told, ["failed: error auth"])
        self.assertFalse([line for line in found.mx.talk if "AUTH" in line and line.startswith("C:")])

    def test_not_offered(self) -> None:
        """No mechanism that we know: ``error``, and the description says which there are."""
        found = self.login({"ehlo": "250 mx.test\n250 AUTH CRAM-MD5 GSSAPI"})
        self.assertEqual(found.owner.told, ["failed: error auth"])
        self.assertIn("CRAM-MD5 GSSAPI", found.owner.outcomes[0].description)

    def test_other_answers(self) -> None:
        """What else may come as the answer to AUTH."""
        for behaviour, fate in (
            ("4xx", "error 450 4.2.0 auth"),
            ("421", "error 421 4.3.2 auth"),
            ("334 more", "error 500 5.5.1 auth"),
            (("334 more", "334 more"), "error 334 auth"),
            ("150 Wait", "error 150 auth"),
            ("close", "lost auth"),
            ("silence", "timeout auth"),
            ("garbage", "error auth"),
            ("endless", "overflow auth"),
            ("twice", "error 235 2.7.0 auth"),
        ):
            self.assertEqual(self.login({"auth": behaviour}).owner.told, [f"failed: {fate}"], behaviour)
