"""What a host that offers DSN is told with MAIL and RCPT (RFC 3461 sections 4.1 to 4.4). Pure."""

from __future__ import annotations

from mailerq.dsn.asked import MOST_ORCPT, Asked
from mailerq.dsn.words import NOTHING
from mailerq.dsn.xtext import address_text, xtext


def mail_parameters(asked: Asked) -> bytes:
    """`` RET=… ENVID=…``, as far as anything was said."""
    ret = f" RET={asked.ret}" if asked.ret else ""
    envid = f" ENVID={xtext(asked.envid)}" if asked.envid else ""
    return (ret + envid).encode("ascii")


def rcpt_parameters(asked: Asked, recipient: bytes, utf8: bool) -> bytes:
    """`` NOTIFY=… ORCPT=…``. ``recipient`` as it is sent; ``utf8``: whether the mail goes with SMTPUTF8."""
    notify = f" NOTIFY={','.join(asked.notify)}" if asked.notify else ""
    orcpt = ""
    if asked.notify != NOTHING:
        kind, _, address = asked.orcpt.partition(";")
        if not asked.orcpt:
            address = recipient.decode()
            kind = "rfc822" if address.isascii() else "utf-8"
        orcpt = f"{kind};{address_text(kind, address, utf8)}"
    return (f"{notify} ORCPT={orcpt}" if 0 < len(orcpt) <= MOST_ORCPT else notify).encode()
