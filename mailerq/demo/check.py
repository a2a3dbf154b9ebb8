"""Whether what came of the mails is what the scripts of the hosts say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mailerq.demo.plan import Order

Result = dict[str, Any]


def differences(
    orders: Sequence[Order],
    results: Mapping[int, Sequence[Result]],
    kept: Mapping[str, Sequence[bytes]],
    queues: Mapping[str, int],
) -> list[str]:
    """A line for each thing that is not as it has to be.

    ``results`` by the number of the order, ``kept`` the messages that the hosts took by recipient, ``queues`` how many
    lie in each queue at the end.
    """
    wrong = [line for order in orders for line in _of_one(order, results.get(order.number, ()), kept)]
    numbers = {order.number for order in orders}
    wrong += [f"a result of no job: order {number}" for number in results if number not in numbers]
    return wrong + _of_queues(orders, queues)


def _of_one(order: Order, results: Sequence[Result], kept: Mapping[str, Sequence[bytes]]) -> list[str]:
    name = order.job["recipient"]
    if len(results) != 1:
        return [f"{name}: {len(results)} results instead of one"]
    entries = [entry for entry in results[0]["results"] if entry["type"] != "idle"]
    found = [(e["type"], e.get("state"), e.get("code"), e.get("in-doubt", False)) for e in entries]
    expected = [(e.type.value, e.state.value, e.code, e.in_doubt) for e in order.fate.entries]
    if found != expected:
        return [f"{name}: the attempts are {found} instead of {expected}"]
    messages = list(kept.get(name, ()))
    if messages != [order.message] * order.fate.delivered:
        return [f"{name}: the host took {len(messages)} messages, or not the message that was sent"]
    return []


def _of_queues(orders: Sequence[Order], queues: Mapping[str, int]) -> list[str]:
    """Each queue against the number of messages that the fates ask for."""
    delivered = sum(order.fate.delivered for order in orders)
    expected = Counter(
        outbox=0,
        invalid=0,
        results=0,  # they were read
        success=delivered,
        failure=len(orders) - delivered,
        retry=sum(len(order.fate.entries) - 1 for order in orders),
    )
    return [
        f"queue {name}: {queues.get(name, 0)} messages instead of {count}"
        for name, count in expected.items()
        if queues.get(name, 0) != count
    ]
