"""An owner of connections that writes down what it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from zope.interface import implementer

from mailerq.attempt import Outcome
from mailerq.interfaces import IConnectionOwner, IMail
from mailerq.smtp.client import SmtpClient
from mailerq.smtp.factory import ConnectOptions, HostFactory
from tests.mx import Mx, Net

ADDRESS = "192.0.2.1"


@implementer(IMail)
@attrs.define(eq=False)
class Mail:
    """A mail by its recipient."""

    recipient: str = "one@example.org"
    body: bytes = b"Subject: hello\r\n\r\nHello.\r\n"
    sender: str = "sender@example.com"
    dsn: Any = None


def mails(*names: str) -> list[Mail]:
    return [Mail(f"{name}@example.org") for name in names]


@implementer(IConnectionOwner)
class Owner:
    """Gives ``waiting`` mails one after the other; ``told`` is what it was told, a line each:

    ``finished one: error 550 5.1.1 rcpt to`` (``?`` behind it: in doubt), ``failed: noaccess init``, ``gone``,
    ``gone: idle idle``, ``unsent two``, ``ready``, ``due one``. ``outcomes`` are those told, in order. ``on`` is
    called with what happened and the connection, before anything is given.
    """

    def __init__(self, *waiting: Mail, on: Callable[[str, Any], None] | None = None) -> None:
        self.waiting = list(waiting)
        self.told: list[str] = []
        self.outcomes: list[Outcome] = []
        self.on = on
        self.depth = 0

    def tell(self, line: str, connection: Any, outcome: Outcome | None = None) -> None:
        assert not self.depth, f"told {line!r} from within a call"
        self.told.append(line + (f": {short(outcome)}" if outcome else ""))
        if outcome is not None:
            self.outcomes.append(outcome)
            assert outcome.description or outcome.type == "success", outcome
        if self.on is not None:
            self.on(line.partition(" ")[0], connection)

    def give(self, connection: SmtpClient) -> None:
        if self.waiting and connection.usable and connection.mail is None:
            self.depth += 1
            connection.give(self.waiting.pop(0))
            self.depth -= 1

    def ready(self, connection: SmtpClient) -> None:
        self.tell("ready", connection)
        self.give(connection)

    def failed(self, connection: SmtpClient, outcome: Outcome) -> None:
        self.tell("failed", connection, outcome)

    def next_mail(self, connection: SmtpClient) -> Any:
        return self.waiting.pop(0) if self.waiting else None

    def message_due(self, connection: SmtpClient, mail: Any) -> None:
        assert connection.state == "received"
        self.tell(f"due {name(mail)}", connection)

    def finished(self, connection: SmtpClient, mail: Any, outcome: Outcome) -> None:
        self.tell(f"finished {name(mail)}", connection, outcome)
        self.give(connection)

    def unsent(self, connection: SmtpClient, mail: Any) -> None:
        self.tell(f"unsent {name(mail)}", connection)

    def gone(self, connection: SmtpClient, outcome: Outcome | None) -> None:
        assert not connection.usable
        self.tell("gone", connection, outcome)

    def fates(self) -> list[str]:
        """What was told, without ``ready`` and ``due``."""
        return [line for line in self.told if not line.startswith(("ready", "due"))]


def name(mail: Any) -> str:
    return str(mail.recipient.partition("@")[0])


def short(outcome: Outcome) -> str:
    words = [outcome.type, outcome.code, outcome.status, outcome.state]
    return " ".join(str(word) for word in words if word is not None) + ("?" if outcome.in_doubt else "")


def connect(owner: Owner, host: Any = None, net: Net | None = None, **options: Any) -> tuple[Net, SmtpClient]:
    """A connection in memory to ``host`` (an Mx, or an exception), which has come to rest."""
    net = net or Net()
    if host is not None:
        net.add(ADDRESS, host)
    options.setdefault("security", "none")
    connection = HostFactory(net, owner, None, ConnectOptions(ADDRESS, **options)).connect()
    net.run()
    return net, connection


def play(script: dict[str, Any], *waiting: Mail, seconds: float = 0.0, **options: Any) -> tuple[Owner, Mx, SmtpClient]:
    """One connection to a host with ``script``, for so many seconds."""
    mx = Mx(script=script, **{key: options.pop(key) for key in ("extensions", "idle_after") if key in options})
    owner = Owner(*waiting)
    net, connection = connect(owner, mx, **options)
    net.run(seconds)
    return owner, mx, connection
