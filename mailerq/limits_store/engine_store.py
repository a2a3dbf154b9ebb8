"""The store of limits as an engine has it: as whom, with what is known from its last life."""

from __future__ import annotations

import os
import secrets
import socket
from random import Random
from typing import Any

from mailerq.limits_store.address import StoreAddress
from mailerq.limits_store.client import LimitsStore
from mailerq.limits_store.known import Known, read_known, write_known
from mailerq.shares.member import Member
from mailerq.worker import Worker


def make_store(reactor: Any, address: StoreAddress, folder: str, worker: Worker, dice: Random) -> LimitsStore:
    """The store for one engine, not started; ``folder`` is its state."""
    path = worker.own(os.path.join(folder, "limits-member"))
    known = read_known(path, socket.gethostname(), lambda: secrets.token_hex(6))
    life = f"{reactor.seconds():017.6f}-{secrets.token_hex(4)}"
    member = Member(known.me, life, reactor.seconds, workers=worker.count, members=known.members)
    return LimitsStore(
        reactor, address, member, dice, on_members=lambda members: write_known(path, Known(known.me, members))
    )
