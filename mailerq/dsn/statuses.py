"""The enhanced status code (RFC 3463) of what became of a mail, where the host gave none. Pure."""

from __future__ import annotations

import re

from mailerq.attempt import Type
from mailerq.dsn.report import DELAYED, RELAYED

_CODE = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_BY_TYPE: dict[str, str] = {
    Type.NOHOSTS: "5.1.2",  # bad destination system address
    Type.BIND: "5.3.5",  # system incorrectly configured
    Type.REFUSED: "4.4.1",  # no answer from host
    Type.CONNECT: "4.4.1",
    Type.NOACCESS: "4.4.0",
    Type.LOST: "4.4.2",  # bad connection
    Type.TIMEOUT: "4.4.2",
    Type.IDLE: "4.4.2",
    Type.OVERFLOW: "4.5.0",  # protocol status
    Type.TLS: "4.7.5",  # cryptographic failure
    Type.NODATA: "5.3.0",
    Type.EXPIRED: "4.4.7",  # delivery time expired
    Type.RESPONSIVE: "5.6.0",  # media error
}


def status_of(action: str, kind: str, code: int | None, status: str | None) -> str:
    """``code`` and ``status`` as the host said them, if it said any. A delay is transient, whatever was said; what was
    taken is a success."""
    if action == RELAYED:
        return status if status and _CODE.fullmatch(status) and status[0] == "2" else "2.0.0"
    if status and _CODE.fullmatch(status) and status[0] != "2":
        found = status
    elif code is not None and 400 <= code <= 599:
        found = f"{code // 100}.0.0"
    else:
        found = _BY_TYPE.get(kind, "5.0.0")
    return f"4{found[1:]}" if action == DELAYED else found
