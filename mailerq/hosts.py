"""What is remembered of remote hosts: which are offline, which are trouble, which cannot do TLS.

Pure; by IP address, over all sites.
"""

from __future__ import annotations

from mailerq.attempt import utc

TROUBLES = 3  # so many lost or silent talks
TROUBLE_TIME = 60.0  # within so many seconds make a host offline


class Hosts:
    """``offline_time`` and ``tls_forget`` in seconds."""

    def __init__(self, offline_time: float, tls_forget: float) -> None:
        self.offline_time = offline_time
        self.tls_forget = tls_forget
        self._offline: dict[tuple[str, str | None], float] = {}
        self._why: dict[str, str] = {}
        self._troubles: dict[str, list[float]] = {}
        self._clear: dict[str, float] = {}

    def offline_until(self, address: str, source: str | None = None) -> float:
        """Until when no new connection may be made from a local address; 0 where one may, or a time that has passed."""
        until = self._offline.get((address, None), 0.0)
        return until if source is None else max(until, self._offline.get((address, source), 0.0))

    def went_offline(
        self, address: str, now: float, offline_time: float | None = None, *, source: str | None = None, why: str = ""
    ) -> float:
        """No new connection from now on for a while, from ``source`` (None: from anywhere). Returns until when."""
        until = now + (self.offline_time if offline_time is None else offline_time)
        self._offline[address, source] = until
        self._why[address] = why
        self._troubles.pop(address, None)
        return until

    def why(self, address: str) -> str:
        """What the last trouble was that made a host offline; '' where none is remembered."""
        return self._why.get(address, "")

    def trouble(self, address: str, now: float) -> bool:
        """A talk was lost or fell silent. True: that was one too many in a short time."""
        times = [time for time in self._troubles.get(address, ()) if now - time < TROUBLE_TIME]
        times.append(now)
        self._troubles[address] = times
        return len(times) >= TROUBLES

    def is_well(self, address: str) -> None:
        """A mail got its answer there: its troubles are forgotten. One that is offline takes no new connection all the
        same: it may have refused one for there being others."""
        if self._troubles:
            self._troubles.pop(address, None)

    def broke_tls(self, address: str, now: float) -> None:
        """TLS failed where it was a mere opportunity: spoken to in clear for a while."""
        self._clear[address] = now + self.tls_forget

    def in_clear(self, address: str, now: float) -> bool:
        """Whether the host is to be spoken to without TLS, for it failed at that."""
        return self._clear.get(address, 0.0) > now

    def forget_old(self, now: float) -> None:
        """Drop what does not hold any more."""
        for pair in [pair for pair, until in self._offline.items() if until <= now]:
            del self._offline[pair]
            self._why.pop(pair[0], None)
        for address in [address for address, until in self._clear.items() if until <= now]:
            del self._clear[address]
        for address in [a for a, seen in self._troubles.items() if now - seen[-1] >= TROUBLE_TIME]:
            del self._troubles[address]

    def __repr__(self) -> str:
        offline = ", ".join(
            f"{address}{f' from {source}' if source else ''} until {utc(until)}"
            for (address, source), until in self._offline.items()
        )
        return f"<Hosts: offline: {offline or 'none'}; {len(self._clear)} spoken to in clear>"
