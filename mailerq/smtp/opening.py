"""From the greeting to where mails can be sent: EHLO or HELO, STARTTLS, AUTH."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.interfaces import IHandshakeListener
from zope.interface import implementer

from mailerq.attempt import Peer, Type
from mailerq.reply import Reply
from mailerq.smtp import auth, tls_layer, tracker, wire
from mailerq.smtp.connection import Connection, Phase, quoted
from mailerq.smtp.extensions import NONE, parse_extensions
from mailerq.smtp.outlet import Outlet
from mailerq.smtp.tls import ClientTls


@implementer(IHandshakeListener)
class Opening(Connection):
    """What is done for the answers to the first commands, by ``Do``; ends with ``owner.ready`` or ``owner.failed``."""

    _auth: Iterator[bytes] = iter(())

    def do_ehlo(self, reply: Reply) -> None:
        self._ehlo()

    def _ehlo(self) -> None:
        self._tracker.due.append(tracker.EHLO)
        self._reader.lines = ()
        self._write(wire.ehlo(self.options.hostname))

    def do_helo(self, reply: Reply) -> None:
        self._tracker.due.append(tracker.HELO)
        self._write(wire.helo(self.options.hostname))

    def do_offers(self, reply: Reply) -> None:
        """EHLO (or HELO) is accepted: TLS if it is wanted and not there, then AUTH if it is wanted."""
        extended = self._tracker.step is tracker.EHLO
        self.extensions = parse_extensions(self._reader.lines) if extended else NONE
        security = self.options.security
        if self._tls is None and security != "none":
            if self.extensions.starttls:
                self._tracker.due.append(tracker.STARTTLS)
                self._write(wire.STARTTLS)
                return
            if security != "opportunistic":
                text = "TLS is required, and the host does not offer it"
                self._end(tracker.STARTTLS, Type.TLS, text, polite=True)
                return
        if self.options.username is None:
            self._ready()
            return
        try:
            self._auth = auth.exchange(self.options, self.extensions, secure=self._tls is not None)
            self.do_challenge(reply)
        except auth.NoAuth as problem:
            self._end(tracker.AUTH, Type.ERROR, str(problem), polite=True)

    def do_tls(self, reply: Reply) -> None:
        self._tracker.due.append(tracker.HANDSHAKE)
        self._since = self.reactor.seconds()
        self.extensions = NONE
        try:
            self._tls = ClientTls(self.options)
            if isinstance(self._outlet, Outlet):
                self._outlet = tls_layer.begin(self, self._tls, self._outlet, self.reactor)
            else:
                self.transport.startTLS(self._tls)
        except Exception as problem:  # a trust root that cannot be read, a transport without TLS
            self._end(tracker.HANDSHAKE, Type.TLS, f"TLS could not be begun: {type(problem).__name__}: {problem}")

    def handshakeCompleted(self) -> None:
        """TLS stands: look at the certificate, then begin anew with EHLO (RFC 3207 section 4.2)."""
        if self._phase is not Phase.SETUP or self._tls is None:
            return
        self.tls_seconds = self.reactor.seconds() - self._since
        cipher, certificate = self._tls.facts()
        self.peer = Peer(self.peer.source, self.peer.target, self.peer.mx, cipher, certificate)
        if self.options.security == "verified" and not certificate["verified"]:
            text = f"the certificate is not to be trusted: {certificate.get('problem')}"
            self._end(tracker.HANDSHAKE, Type.TLS, text, polite=True)
            return
        self._tracker.due.clear()
        self._ehlo()
        self._await()

    def do_challenge(self, reply: Reply) -> None:
        line: Any = next(self._auth, None)
        if line is None:
            self._end(tracker.AUTH, Type.ERROR, "AUTH: the host asks for more than a name and a password", reply)
            return
        self._tracker.due.append(tracker.AUTH)
        self._write(line)

    def do_authenticated(self, reply: Reply) -> None:
        self._ready()

    def _ready(self) -> None:
        self._phase = Phase.READY
        self._tracker.step = tracker.RECEIVED
        self.ready_at = self.reactor.seconds()
        self._await()
        self.voice.tell(self.owner.ready, self)

    def do_refused(self, reply: Reply) -> None:
        step = self._tracker.step
        if reply.code < 400:
            text = f"this does not answer {step.says}: {quoted(reply)}"
        else:
            text = reply.text or f"{reply.code} to {step.says}, without a text"
        self._end(step, step.refused, text, reply, polite=True)
