"""STARTTLS, over real sockets of this machine."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from mailerq.attempt import Type
from mailerq.settings import Timeouts
from mailerq.smtp.client import SmtpClient
from mailerq.smtp.factory import ConnectOptions, HostFactory
from tests.certificates import make
from tests.mx import Mx
from tests.owner import Mail, Owner, mails

QUICK = Timeouts(connect=5, reply=5, end=5, tls=0.3)


class TlsCase(TestCase):
    """A host on a real socket, and the connection to it; ``waiting`` are delivered, then it quits."""

    timeout = 20

    async def deliver(self, script: dict[str, Any] | None = None, *waiting: Mail, **options: Any) -> SmtpClient:
        host = {key: options.pop(key) for key in ("certificate", "extensions", "users") if key in options}
        self.mx = Mx(reactor, script=script, **host)
        port = self.mx.listen()
        self.addCleanup(port.stopListening)
        self.addCleanup(self.mx.drop)
        over: Deferred[None] = Deferred()

        def told(what: str, connection: Any) -> None:
            if what in ("failed", "gone"):
                over.callback(None)
            elif what in ("ready", "finished") and not self.owner.waiting and connection.mail is None:
                connection.quit()

        self.owner = Owner(*waiting, on=told)
        self.owner.ready = lambda c: told("ready", c) if not waiting else self.owner.give(c)  # type: ignore[method-assign]
        options = {"mx": "mx.test", "timeouts": QUICK, **options}
        made = ConnectOptions("127.0.0.1", port.getHost().port, **options)
        connection = HostFactory(reactor, self.owner, None, made).connect()
        await over
        while connection._phase.value != "closed":
            await self.turn()
        return connection

    def turn(self) -> Deferred[None]:
        later: Deferred[None] = Deferred()
        reactor.callLater(0.01, later.callback, None)  # type: ignore[attr-defined]
        return later

    def failure(self, kind: str, *words: str) -> None:
        """It failed with ``kind``, and the description holds all ``words``."""
        (line,) = self.owner.told
        self.assertEqual(line, f"failed: {kind}")
        for word in words:
            self.assertIn(word, self.owner.outcomes[0].description)


class GoodTests(TlsCase):
    async def test_opportunistic_with_any_certificate(self) -> None:
        """A self-signed certificate is no obstacle, and is told as what it is."""
        connection = await self.deliver(None, *mails("one", "two"), certificate=make("mx.test"))
        self.assertEqual(len(self.mx.mails), 2)
        self.assertTrue(all(mail.secure for mail in self.mx.mails))
        cipher, certificate = connection.peer.cipher, connection.peer.certificate
        assert cipher is not None and certificate is not None
        self.assertEqual(cipher["version"], "TLSv1.3")
        self.assertGreaterEqual(cipher["bits"], 128)
        self.assertEqual(certificate["subject"], "CN=mx.test")
        self.assertEqual(certificate["issuer"], "CN=mx.test")
        self.assertEqual(certificate["altnames"], ["mx.test"])
        self.assertRegex(certificate["notafter"], r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$")
        self.assertEqual((certificate["verified"], certificate["problem"]), (False, "self-signed certificate"))
        assert connection.tls_seconds is not None
        self.assertTrue(0 < connection.tls_seconds < 5)

    async def test_verified(self) -> None:
        """A certificate of a trusted CA with the name of the MX: verified, no problem."""
        ca = make("ca.test", ca=True)
        connection = await self.deliver(
            None, Mail(), certificate=make("mx.test", issuer=ca), trust=ca.trust(), security="verified"
        )
        self.assertEqual(self.owner.fates()[0], "finished one: success 250 2.0.0 accept")
        assert connection.peer.certificate is not None
        self.assertTrue(connection.peer.certificate["verified"])
        self.assertNotIn("problem", connection.peer.certificate)

    async def test_verified_by_another_name(self) -> None:
        """One of ``tls_names`` is enough; a star in the certificate stands for one label."""
        ca = make("ca.test", ca=True)
        await self.deliver(
            None,
            Mail(),
            certificate=make("*.example.net", issuer=ca),
            trust=ca.trust(),
            security="verified",
            tls_names=("a.b.example.net", "mx1.example.net"),
        )
        self.assertEqual(self.owner.fates()[0], "finished one: success 250 2.0.0 accept")

    async def test_verified_by_address(self) -> None:
        """A host without a name is known by its address, if the certificate carries that."""
        ca = make("ca.test", ca=True)
        options: dict[str, Any] = {"trust": ca.trust(), "security": "verified", "mx": None}
        connection = await self.deliver(None, Mail(), certificate=make("127.0.0.1", issuer=ca), **options)
        self.assertEqual(self.owner.fates()[0], "finished one: success 250 2.0.0 accept")
        assert connection.peer.certificate is not None
        self.assertEqual(connection.peer.certificate["altnames"], ["127.0.0.1"])
        await self.deliver(None, Mail(), certificate=make("127.0.0.2", issuer=ca), **options)
        self.failure("tls starttls", "not for 127.0.0.1")

    async def test_what_is_offered_under_tls_counts(self) -> None:
        """The answer to the second EHLO replaces the first (RFC 3207 4.2); keywords in any case."""
        offers = ["250-mx.test\n250-SIZE 1\n250 starttls", "250-mx.test\n250-pipelining\n250 Size 5000"]
        connection = await self.deliver({"ehlo": offers}, Mail(), certificate=make("mx.test"))
        self.assertEqual(self.owner.fates()[0], "finished one: success 250 2.0.0 accept")
        extensions = connection.extensions
        self.assertEqual((extensions.size, extensions.pipelining, extensions.starttls), (5000, True, False))

    async def test_large_messages(self) -> None:
        """A message of many slices passes, and the next one behind it."""
        large = Mail("large@example.org", b"Subject: x\r\n\r\n" + b"." * 70 + b"\r\n" * 200_000)
        await self.deliver(None, large, *mails("two"), certificate=make("mx.test"))
        self.assertEqual([mail.message for mail in self.mx.mails], [large.body, Mail().body])

    async def test_auth(self) -> None:
        """Under TLS the password is sent."""
        await self.deliver(
            None, Mail(), certificate=make("mx.test"), users={"me": "hush"}, username="me", password="hush"
        )
        self.assertEqual(self.owner.fates()[0], "finished one: success 250 2.0.0 accept")

    async def test_clear(self) -> None:
        """``none`` never asks for TLS, ``opportunistic`` only where it is offered."""
        for certificate, security in ((make("mx.test"), "none"), (None, "opportunistic")):
            connection = await self.deliver(None, Mail(), certificate=certificate, security=security)
            self.assertEqual(self.owner.fates()[0], "finished one: success 250 2.0.0 accept")
            self.assertFalse(self.mx.mails[0].secure)
            self.assertIsNone(connection.peer.cipher)
            self.assertIsNone(connection.tls_seconds)


class NotVerifiedTests(TlsCase):
    async def test_self_signed(self) -> None:
        """A certificate that nobody vouches for."""
        await self.deliver(certificate=make("mx.test"), security="verified")
        self.failure("tls starttls", "self-signed certificate")

    async def test_another_name(self) -> None:
        """A good certificate for somebody else."""
        ca = make("ca.test", ca=True)
        await self.deliver(certificate=make("other.test", issuer=ca), trust=ca.trust(), security="verified")
        self.failure("tls starttls", "not for mx.test")

    async def test_expired(self) -> None:
        """A certificate of yesterday."""
        ca = make("ca.test", ca=True)
        await self.deliver(certificate=make("mx.test", issuer=ca, days=-1), trust=ca.trust(), security="verified")
        self.failure("tls starttls", "expired")

    async def test_unknown_issuer(self) -> None:
        """A certificate of a CA that is not ours."""
        certificate = make("mx.test", issuer=make("ca.test", ca=True))
        await self.deliver(certificate=certificate, trust=make("ours.test", ca=True).trust(), security="verified")
        self.failure("tls starttls", "issuer is not trusted")

    async def test_none_of_them_matters_if_only_required(self) -> None:
        """``required`` encrypts towards anybody, and tells what is wrong."""
        connection = await self.deliver(None, Mail(), certificate=make("other.test", days=-1), security="required")
        self.assertEqual(self.owner.fates()[0], "finished one: success 250 2.0.0 accept")
        assert connection.peer.certificate is not None
        self.assertFalse(connection.peer.certificate["verified"])


class NoTlsTests(TlsCase):
    async def test_required_and_not_offered(self) -> None:
        """Nothing is sent in clear; also where only HELO is understood."""
        for script in ({}, {"ehlo": "5xx"}):
            for security in ("required", "verified"):
                await self.deliver(script, Mail(), security=security)
                self.failure("tls starttls", "does not offer")
                self.assertNotIn("MAIL", " ".join(self.mx.talk))

    async def test_offered_and_refused(self) -> None:
        """A refusal of STARTTLS, of any kind, or no answer to it."""
        for behaviour, kind in (
            ("4xx", "tls 450 4.2.0 starttls"),
            ("5xx", "tls 550 5.1.1 starttls"),
            ("454 4.7.0 Not available", "tls 454 4.7.0 starttls"),
            ("150 Wait", "tls 150 starttls"),
            ("garbage", "tls starttls"),
            ("close", "tls starttls"),
            ("421", "error 421 4.3.2 starttls"),
            ("endless", "overflow starttls"),
        ):
            await self.deliver({"starttls": behaviour}, Mail(), certificate=make("mx.test"))
            self.failure(kind)

    async def test_bytes_before_the_handshake(self) -> None:
        """What comes in clear behind the 220 is never taken for something said under TLS (CVE-2011-0411)."""
        for behind in (b"250 injected\r\n", b"250-inj", b"\x16"):
            await self.deliver({"starttls": b"220 Go\r\n" + behind}, Mail(), certificate=make("mx.test"))
            self.failure("tls starttls", "before TLS began")

    async def test_no_handshake(self) -> None:
        """220, and then words, or the end."""
        for behaviour in (("220 Go", "close"), ("220 Go", "reset")):
            await self.deliver({"starttls": behaviour}, Mail(), certificate=make("mx.test"))
            self.assertEqual(self.owner.outcomes[0].type, Type.TLS)
        await self.deliver({"starttls": "220 Go"}, Mail(), certificate=make("mx.test"))
        self.failure("tls starttls", "handshake")

    async def test_stalled(self) -> None:
        """220, and then nothing: ``timeouts.tls``."""
        await self.deliver({"starttls": ("220 Go", "silence")}, Mail(), certificate=make("mx.test"))
        self.failure("tls starttls", "the TLS handshake", "0.3 s")

    async def test_a_trust_root_that_is_none(self) -> None:
        """A mistake in our own settings is an outcome too."""
        await self.deliver(None, Mail(), certificate=make("mx.test"), trust=object())
        self.failure("tls starttls", "could not be begun")

    async def test_lost_after_the_handshake(self) -> None:
        """Closed under TLS in mid-talk: ``lost``, as in clear."""
        await self.deliver({"rcpt": "close"}, *mails("one"), certificate=make("mx.test"))
        self.assertEqual(self.owner.fates(), ["finished one: lost rcpt to", "gone"])
