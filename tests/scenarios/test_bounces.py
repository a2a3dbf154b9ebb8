"""Who is told of a mail, with a real Postfix on the other side: it is asked to tell, and takes in what we tell."""

from __future__ import annotations

import json
from email import message_from_bytes
from email.message import Message
from typing import Any

from flufl.bounce import scan_message
from twisted.trial.unittest import SkipTest, TestCase

from tests.postfix import Postfix, postfix_program
from tests.rabbit import free_ports
from tests.scenarios.harness import Engine, sleep, until

MIME = "From: a@kept.example\r\nTo: b@kept.example\r\nSubject: Grüße\r\nMessage-ID: <1@kept.example>\r\n\r\nHello.\r\n"


class Bounces(TestCase):
    """A whole engine, and Postfix."""

    timeout = 120
    broker = "sqlite"

    async def setUp(self) -> None:
        if postfix_program() is None:
            raise SkipTest("Postfix has to be installed, and started by root")
        self.postfix = Postfix()
        self.addCleanup(self.postfix.stop)
        self.postfix.start()
        hosts = {"kept.example": f"127.0.0.1:{self.postfix.port}", "gone.example": f"127.9.9.9:{free_ports(1)[0]}"}
        smtp = {"hostname": "out.example"}
        self.engine = Engine({"dns": {"hosts": hosts}, "smtp": smtp}, self.broker, "bounces.")
        self.addCleanup(self.engine.remove)
        self.engine.start()
        await self.engine.running()
        await self.engine.connect()

    async def send(self, count: int, recipient: str, envelope: str, **properties: Any) -> list[dict[str, Any]]:
        """The results, of which there are ``count``."""
        job = {"envelope": f"{envelope}@kept.example", "recipient": recipient, "mime": MIME, **properties}
        await self.engine.publish([json.dumps(job).encode()])
        results: list[dict[str, Any]] = []
        for _ in range(300):
            results += [json.loads(body) for body in await self.engine.take("results")]
            if len(results) >= count:
                break
            await sleep(0.1)
        self.assertEqual(len(results), count, self.postfix.log())
        return results

    async def received(self, name: str) -> Message:
        """The message that Postfix has taken for ``name@kept.example``."""
        await until(lambda: self.postfix.received(name) is not None, 30, f"mail for {name}")
        content = self.postfix.received(name)
        assert content is not None
        return message_from_bytes(content)

    async def test_told_by_the_host(self) -> None:
        """Postfix offers DSN: it is asked to tell of a success, and does, by the names it was given."""
        dsn = {"notify": "SUCCESS", "envid": "our+id 1", "orcpt": "first+a@first.example"}
        (result,) = await self.send(1, "b@kept.example", "asker", mime=MIME.replace("Grüße", "Hello"), dsn=dsn)
        self.assertIs(result["results"][0]["dsn"], True)
        found = await self.received("asker")
        status: Any = found.get_payload(1)
        whole, recipient = status.get_payload()
        self.assertEqual(whole["original-envelope-id"], "our+id 1")
        self.assertEqual(recipient["original-recipient"], "rfc822;first+a@first.example")
        self.assertEqual((await self.received("b"))["subject"], "Hello")

    async def test_told_by_us(self) -> None:
        """A mail that cannot be delivered: its sender has the bounce, as it was made, and there are two results."""
        dsn = {"notify": "FAILURE", "ret": "FULL"}
        results = await self.send(2, "b@gone.example", "unlucky", dsn=dsn, maxattempts=1)
        self.assertEqual([result["results"][-1]["type"] for result in results], ["refused", "success"])
        found = await self.received("unlucky")
        self.assertEqual(scan_message(found), {b"b@gone.example"})
        kinds = [part.get_content_type() for part in found.get_payload()]  # type: ignore[union-attr]
        self.assertEqual(kinds, ["text/plain", "message/delivery-status", "message/global"])
        self.assertIn("Subject: Grüße\nMessage-ID".encode(), self.postfix.received("unlucky") or b"")


class BouncesOverRabbit(Bounces):
    """The same over RabbitMQ."""

    broker = "rabbit"
