"""The store of limits that the engines of several machines share: Redis, asked once a period for all of them."""

from __future__ import annotations

import os
import secrets
import socket
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailerq.limits_store.address import StoreAddress
    from mailerq.limits_store.client import LimitsStore
    from mailerq.worker import Worker


def make_store(reactor: Any, address: StoreAddress, folder: str, worker: Worker, dice: Random) -> LimitsStore:
    """The store for one engine, not started; ``folder`` is its state. Importing this module imports none of it."""
    from mailerq.limits_store.client import LimitsStore
    from mailerq.limits_store.known import Known, read_known, write_known
    from mailerq.shares.member import Member

    path = worker.own(os.path.join(folder, "limits-member"))
    known = read_known(path, socket.gethostname(), lambda: secrets.token_hex(6))
    life = secrets.token_hex(8)
    member = Member(known.me, life, reactor.seconds, workers=worker.count, members=known.members)
    return LimitsStore(
        reactor, address, member, dice, on_members=lambda members: write_known(path, Known(known.me, members))
    )
