"""Senders are told what becomes of their mail: the real way of a mail, from the job to the bounce that is sent."""

from __future__ import annotations

import json
import os
import random
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailerq.queues.memory import MemoryBroker
from mailerq.settings import parse
from tests.memory_engine import MemoryEngine
from tests.mx import EXTENSIONS, Mx, Net

HOST = "127.1.1.1"
CONFIG: dict[str, Any] = {
    "dns": {"hosts": {"*": f"{HOST}:2525"}},
    "smtp": {"hostname": "out.example", "timeouts": {"reply": "5s", "end": "5s"}},
    "queues": {"dsn": "bounces"},
}
MIME = "From: a@sender.example\r\nSubject: Hello\r\nMessage-ID: <1@sender.example>\r\n\r\nThe body.\r\n"
FAILURE = {"notify": "FAILURE"}
SEEDS = int(os.environ.get("MAILERQ_SEEDS", "3"))


def refusing(line: bytes) -> str:
    """What the host says to whom."""
    return "5xx" if b"<nobody" in line else "4xx" if b"<later" in line else "accept"


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.journal = str(Path(self.mktemp()) / "journal")
        self.net = Net()
        self.mx: Mx = self.net.add(HOST, Mx(script={"rcpt": refusing}))
        self.begin()

    def begin(self, **config: Any) -> None:
        """Another engine; what the one before it left, if it was killed, are its queues and its journal."""
        before = getattr(self, "engine", None)
        settings = parse(json.dumps(CONFIG | config), "test", {})
        self.engine = MemoryEngine(settings, {}, self.journal, self.net)
        if before is not None:
            self.engine.broker.queues = before.broker.queues

    def again(self, **config: Any) -> None:
        """Begin anew, with another configuration."""
        self.engine.kill()
        del self.engine
        self.begin(**config)

    def send(self, name: str = "nobody", dsn: Any = None, seconds: float = 1.0, **properties: Any) -> None:
        job = {"envelope": "a@sender.example", "recipient": f"{name}@host.example", **properties}
        if "key" not in job:
            job.setdefault("mime", MIME)
        if dsn is not None:
            job["dsn"] = dsn
        self.engine.publish(json.dumps(job).encode())
        self.net.run(seconds)

    def take(self, queue: str = "bounces") -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.engine.take_all([queue])]

    def bounce(self) -> Message:
        """The one that was published."""
        (job,) = self.take()
        self.assertEqual((job["envelope"], job["recipient"]), ("", "a@sender.example"))
        return message_from_string(job["mime"])


def fields(bounce: Message) -> dict[str, str]:
    """Those of message/delivery-status, of the message and of its recipient."""
    status: Any = bounce.get_payload(1)
    return {name: value for block in status.get_payload() for name, value in block.items()}


class Asking(Case):
    """What a host is told that offers DSN (RFC 3461)."""

    def lines(self, dsn: Any, **properties: Any) -> list[str]:
        self.mx.extensions = (*EXTENSIONS, "DSN")
        self.send("you", dsn, **properties)
        return [line[3:] for line in self.mx.talk if line.startswith(("C: MAIL", "C: RCPT"))]

    def test_all(self) -> None:
        """RET and ENVID with MAIL, NOTIFY and ORCPT with RCPT; the result says that the host tells."""
        dsn = {"notify": "success,failure", "ret": "full", "envid": "id+1 a", "orcpt": "me=x@first.example"}
        mail, rcpt = self.lines(dsn)
        self.assertEqual(mail, "MAIL FROM:<a@sender.example> SIZE=85 RET=FULL ENVID=id+2B1+20a")
        orcpt = "rfc822;me+3Dx@first.example"
        self.assertEqual(rcpt, f"RCPT TO:<you@host.example> NOTIFY=SUCCESS,FAILURE ORCPT={orcpt}")
        (result,) = self.take("results")
        self.assertIs(result["results"][0]["dsn"], True)
        self.assertEqual(self.take(), [])

    def test_never(self) -> None:
        """A host that is asked to tell nothing does not tell, and the result does not say that it does."""
        self.assertEqual(self.lines({"notify": "never"})[1], "RCPT TO:<you@host.example> NOTIFY=NEVER")
        self.assertNotIn("dsn", self.take("results")[0]["results"][0])

    def test_nothing(self) -> None:
        """Without dsn in the job, nothing is said."""
        mail, rcpt = self.lines(None)
        self.assertEqual((mail, rcpt), ("MAIL FROM:<a@sender.example> SIZE=85", "RCPT TO:<you@host.example>"))
        self.assertNotIn("dsn", self.take("results")[0]["results"][0])

    def test_by_configuration(self) -> None:
        """What the configuration says holds for all that have a sender."""
        self.again(dsn={"notify": "failure", "ret": "full"})
        self.assertEqual(self.lines(None)[1], "RCPT TO:<you@host.example> NOTIFY=FAILURE ORCPT=rfc822;you@host.example")
        self.mx.talk.clear()
        self.assertEqual(self.lines(None, envelope="")[1], "RCPT TO:<you@host.example>")

    def test_not_offered(self) -> None:
        """A host that does not offer DSN is told nothing."""
        self.send("you", FAILURE)
        self.assertIn("C: RCPT TO:<you@host.example>", self.mx.talk)


class Telling(Case):
    """Bounces (RFC 3464)."""

    def test_failure(self) -> None:
        """A mail that failed: a bounce with the host's answer and the message's header."""
        self.send(dsn={"notify": "FAILURE", "envid": "e1"})
        bounce = self.bounce()
        self.assertEqual(bounce.get_content_type(), "multipart/report")
        self.assertEqual(bounce.get_param("report-type"), "delivery-status")
        self.assertEqual(bounce["to"], "<a@sender.example>")
        self.assertEqual(bounce["from"], "Mail Delivery System <mailer-daemon@out.example>")
        self.assertEqual(bounce["auto-submitted"], "auto-replied")
        self.assertEqual(bounce["in-reply-to"], "<1@sender.example>")
        date = "Fri, 15 Jan 2027 08:00:00 +0000"
        self.assertEqual(
            fields(bounce),
            {
                "Reporting-MTA": "dns; out.example",
                "Original-Envelope-Id": "e1",
                "Arrival-Date": date,
                "Original-Recipient": "rfc822; nobody@host.example",
                "Final-Recipient": "rfc822; nobody@host.example",
                "Action": "failed",
                "Status": "5.1.1",
                "Remote-MTA": f"dns; [{HOST}]",
                "Diagnostic-Code": "smtp; 550 5.1.1 Not here",
                "Last-Attempt-Date": date,
            },
        )
        text: Any = bounce.get_payload(0)
        self.assertIn("550 5.1.1 Not here", text.get_payload())
        self.assertIn("Subject:  Hello", text.get_payload())
        header: Any = bounce.get_payload(2)
        self.assertEqual(header.get_content_type(), "text/rfc822-headers")
        self.assertEqual(header.get_payload(), MIME.partition("\r\n\r\n")[0] + "\r\n")
        self.assertEqual([result["results"][0]["code"] for result in self.take("results")], [550])

    def test_full(self) -> None:
        """With RET=FULL the whole message comes back."""
        self.send(dsn={"notify": "failure", "ret": "full"})
        part: Any = self.bounce().get_payload(2)
        self.assertEqual(part.get_content_type(), "message/rfc822")
        self.assertEqual(part.get_payload(0).get_payload(), "The body.\r\n")

    def test_nobody_asked(self) -> None:
        """Nothing is told to those who did not ask, who asked for something else, or who asked for never."""
        for dsn in (None, {}, {"notify": "SUCCESS,DELAY"}, {"notify": "NEVER"}, {"ret": "FULL"}):
            self.send(dsn=dsn)
        self.send("you", FAILURE)
        self.assertEqual(self.take(), [])
        self.assertEqual(len(self.take("results")), 6)

    def test_no_sender(self) -> None:
        """Mail with the null reverse-path, as bounces are, has no bounce."""
        self.again(dsn={"notify": "failure"})
        for envelope in ("", None):
            self.send(dsn=FAILURE, envelope=envelope)
        self.assertEqual(self.take(), [])

    def test_configured(self) -> None:
        """Jobs that say nothing get what the configuration says; never in the job goes before."""
        self.again(dsn={"notify": "failure", "ret": "full", "mta": "mail.example", "from": "Post <post@mail.example>"})
        self.send(dsn={"notify": "never"})
        self.send()
        bounce = self.bounce()
        self.assertEqual(bounce["from"], "Post <post@mail.example>")
        self.assertEqual(fields(bounce)["Reporting-MTA"], "dns; mail.example")
        self.assertEqual(bounce.get_payload(2).get_content_type(), "message/rfc822")  # type: ignore[union-attr]

    def test_older_members(self) -> None:
        """envelope and mta, of an older version, are the author and the host of a bounce."""
        self.send(dsn={"notify": "FAILURE", "envelope": "daemon@sender.example", "mta": "MailerQ"})
        bounce = self.bounce()
        self.assertEqual(bounce["from"], "daemon@sender.example")
        self.assertEqual(fields(bounce)["Reporting-MTA"], "dns; MailerQ")

    def test_success(self) -> None:
        """A host that does not offer DSN has passed it on, as far as anybody knows; one that does tells by itself."""
        self.send("you", {"notify": "success"})
        bounce = self.bounce()
        found = fields(bounce)
        self.assertEqual((found["Action"], found["Status"]), ("relayed", "2.0.0"))
        self.mx.extensions = (*EXTENSIONS, "DSN")
        self.mx.drop()
        self.net.run(1)
        self.send("you", {"notify": "success"})
        self.assertEqual(self.take(), [])

    def test_delay(self) -> None:
        """A mail that is late: its sender is told once, however often it is tried after that."""
        self.again(dsn={"delay-after": "25m"}, delivery={"retry-interval": "10m"})
        self.send("later", {"notify": "delay,failure"}, seconds=60, maxattempts=5)
        for _ in range(2):
            self.assertEqual(self.take(), [])
            self.net.run(600)
        self.assertEqual(self.take(), [])
        self.net.run(600)
        found = fields(self.bounce())
        self.assertEqual((found["Action"], found["Status"]), ("delayed", "4.2.0"))
        self.assertEqual(found["Arrival-Date"], "Fri, 15 Jan 2027 08:00:00 +0000")
        self.assertEqual(found["Will-Retry-Until"], "Sat, 16 Jan 2027 08:00:00 +0000")
        self.net.run(600)
        self.assertEqual(fields(self.bounce())["Action"], "failed")
        (result,) = self.take("results")
        self.assertEqual(len(result["results"]), 5)
        self.assertNotIn("seen", result)

    def test_told_once_though_parked(self) -> None:
        """That its sender was told is not forgotten where it waits for something else in between."""
        self.again(dsn={"delay-after": "1m"}, delivery={"retry-interval": "10m", "max-attempts": 20})
        self.mx.script["greeting"] = "421"
        self.send("later", {"notify": "DELAY"}, seconds=7200)
        self.assertEqual(len(self.take()), 1)

    def test_own_queue(self) -> None:
        """The job's own queues.dsn goes before; where it has queues without dsn, there is no bounce."""
        self.send(dsn=FAILURE, queues={"dsn": "mine"})
        self.send(dsn=FAILURE, queues={"results": "results"})
        self.send(dsn=FAILURE, queues={"dsn": None})
        self.assertEqual((len(self.take("mine")), self.take()), (1, []))

    def test_off(self) -> None:
        """With queues.dsn null there are none."""
        self.again(queues={"dsn": None})
        self.send(dsn=FAILURE)
        self.assertEqual((self.take("bounces"), len(self.take("results"))), ([], 1))

    def test_expired(self) -> None:
        """Of a mail whose time is over, the bounce says what its last attempt came to."""
        before = [{"attempt": 1, "type": "error", "code": 451, "description": "Not now"}, {"type": "idle"}]
        self.send(dsn=FAILURE, maxdelivertime="2026-01-01 00:00:00", results=before)
        found = fields(self.bounce())
        self.assertEqual(found["Status"], "4.4.7")
        self.assertIn("the last attempt: 451 Not now", found["Diagnostic-Code"].replace("\r\n", ""))
        self.send(dsn=FAILURE, maxdelivertime="2026-01-01 00:00:00", results=[{"type": "error", "code": "x"}])
        self.assertIn("was to be delivered before", fields(self.bounce())["Diagnostic-Code"])

    def test_unusable(self) -> None:
        """A job that cannot be used has a result, and no bounce."""
        self.send(dsn=FAILURE, priority="high")
        self.assertEqual((self.take(), len(self.take("results"))), ([], 1))


class Outbox(Case):
    """Bounces that go to the outbox, as they do unless it is configured otherwise."""

    def setUp(self) -> None:
        super().setUp()
        self.again(queues={})

    def test_sent(self) -> None:
        """The bounce is sent to the sender, with the null reverse-path, and has a result of its own."""
        self.send(dsn=FAILURE)
        (mail,) = self.mx.mails
        self.assertEqual((mail.sender, mail.recipients), ("", ["a@sender.example"]))
        failed, sent = self.take("results")
        self.assertEqual((failed["results"][0]["type"], sent["results"][0]["type"]), ("error", "success"))
        self.assertEqual(sent["bounce"], {"action": "failed", "recipient": "nobody@host.example"})
        self.assertNotIn("seen", sent)

    def test_no_loop(self) -> None:
        """A bounce that fails ends there, whatever the configuration asks for."""
        self.again(queues={}, dsn={"notify": "failure, delay, success", "delay-after": "1s"})
        self.mx.script["rcpt"] = "5xx"
        self.send(seconds=60)
        self.assertEqual(len(self.take("results")), 2)
        self.assertEqual(sum("RCPT" in line for line in self.mx.talk), 2)

    def test_together(self) -> None:
        """Result and bounce are one settlement."""
        with patch.object(MemoryBroker, "_settle") as settle:
            self.send(dsn=FAILURE)
        (call,) = settle.call_args_list
        self.assertEqual([one.queue for one in call.args[1]], ["results", "failure", "outbox"])

    def test_killed(self) -> None:
        """After a crash before it was settled, the same bounce is published again, byte for byte, hours later."""
        with patch.object(MemoryBroker, "_settle") as settle:
            self.send(dsn={"notify": "failure", "envid": "e"})
        first = settle.call_args.args[1]
        self.engine.kill()
        self.net.rightNow += 7200
        with patch.object(MemoryBroker, "_settle") as settle:
            self.begin(queues={})
            self.net.run(1)
        again = settle.call_args.args[1]
        self.assertEqual(
            [(one.queue, one.body, one.message_id) for one in first],
            [(one.queue, one.body, one.message_id) for one in again],
        )

    def test_second_copy(self) -> None:
        """A bounce that lies in the outbox twice is sent once."""

        class Brittle(MemoryBroker):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments)
                self.transactional = False

        self.engine.kill()
        self.engine = MemoryEngine(
            parse(json.dumps(CONFIG | {"queues": {}}), "x", {}), {}, self.journal, self.net, Brittle
        )
        with patch.object(MemoryBroker, "_settle") as settle:
            self.send(dsn=FAILURE)
        bounce = settle.call_args.args[1][-1]
        for _ in range(2):
            self.engine.broker.publish([bounce], lambda done: None)
            self.net.run(1)
        self.assertEqual(len(self.mx.mails), 1)


class Killed(Case):
    """The process is killed at any time, over and over."""

    def test_one_each(self) -> None:
        """Each mail has one result, each that failed one bounce, and each that was late was told of once."""
        for seed in range(SEEDS):
            dice = random.Random(seed)
            config: dict[str, Any] = {"delivery": {"retry-interval": "40s"}, "dsn": {"delay-after": "100s"}}
            self.again(**config)
            names = [f"{dice.choice(('nobody', 'later', 'you'))}.{number}" for number in range(8)]
            for name in names:
                self.send(name, {"notify": "failure,delay"}, seconds=dice.random(), maxattempts=5)
            for _ in range(5):
                self.net.run(dice.random() * 60)
                self.engine.kill()
                self.begin(**config)
            self.net.run(600)
            told = [(job["bounce"]["action"], name_of(job["bounce"]["recipient"])) for job in self.take()]
            late = [name for name in names if name.startswith("later")]
            failed = [name for name in names if not name.startswith("you")]
            expected = [("failed", name) for name in failed] + [("delayed", name) for name in late]
            self.assertEqual(sorted(told), sorted(expected), f"seed {seed}")
            self.assertEqual(sorted(name_of(job["recipient"]) for job in self.take("results")), sorted(names))


def name_of(address: str) -> str:
    """What is before the ``@``."""
    return address.partition("@")[0]


class Stored(Case):
    """Mails whose body is in the store."""

    def setUp(self) -> None:
        super().setUp()
        self.again(store={"address": "memory:"})
        assert self.engine.store is not None
        self.engine.store.put("k", MIME.encode(), None)

    def test_header(self) -> None:
        """The header comes from the store."""
        self.send(dsn=FAILURE, key="k")
        self.assertIn("Subject: Hello", self.bounce().as_string())

    def test_away(self) -> None:
        """While the store is away there is a bounce without a header, and the result is not kept back."""
        assert self.engine.store is not None
        answers = [succeed(MIME.encode()), fail(ConnectionError("away"))]
        self.engine.store.get = lambda key: answers.pop(0)  # type: ignore[method-assign]
        self.send(dsn=FAILURE, key="k")
        self.assertEqual(len(self.bounce().get_payload()), 2)
        self.assertEqual(len(self.take("results")), 1)

    def test_nothing_there(self) -> None:
        """A body that is not there is told, too."""
        self.send("you", FAILURE, key="other")
        found = fields(self.bounce())
        self.assertEqual((found["Status"], found["Diagnostic-Code"][:9]), ("5.3.0", "x-mailerq"))

    def test_described(self) -> None:
        """Of a message that was to be made of a description, From, To and Subject come back, wherever it is."""
        described = {
            "from": {"name": "Müller", "address": "a@b.c"},
            "to": ["d@e.f", "g@h.i"],
            "subject": "Grüße",
            "x": 1,
        }
        assert self.engine.store is not None
        self.engine.store.put("d", json.dumps(described).encode(), None)
        for where in ({"mime": described}, {"key": "d"}):
            self.send(dsn={"notify": "failure", "ret": "full"}, seconds=700, maxattempts=1, **where)
            part: Any = self.bounce().get_payload(2)
            self.assertEqual(part.get_content_type(), "text/rfc822-headers")
            expected = (
                "From: =?utf-8?q?M=C3=BCller?= <a@b.c>\r\nTo: d@e.f, g@h.i\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\r\n"
            )
            self.assertEqual(part.get_payload(), expected)
