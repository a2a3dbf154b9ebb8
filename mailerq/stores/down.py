"""What a message store says when it cannot be used."""

from __future__ import annotations


class StoreDown(ConnectionError):
    """``where``: the store, without password; ``why``: in one line. Mails that need it wait."""

    def __init__(self, where: str, why: object) -> None:
        text = " ".join(str(why).split())
        super().__init__(f"{where}: {text[:300] or type(why).__name__}")
