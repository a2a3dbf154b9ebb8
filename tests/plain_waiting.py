"""The order of ``Waiting`` once more, as plainly as it can be said: all is looked at each time."""

from __future__ import annotations

from collections.abc import Callable

from mailerq.mail import Mail

QUANTUM = 64 * 1024
Ready = Callable[[tuple[str, ...]], bool]


class PlainLine:
    """Mails of one flow, domain and limited tags; the first ``back`` are charged already."""

    def __init__(self, key: tuple[str, tuple[str, ...]]) -> None:
        self.key = key
        self.mails: list[Mail] = []
        self.back = self.back_due = 0


class PlainFlow:
    """Lines, the next first."""

    def __init__(self, charged: int, joined: int) -> None:
        self.charged = charged
        self.joined = joined
        self.lines: list[PlainLine] = []

    def due(self, line: PlainLine) -> int:
        if line.back:
            return line.back_due
        return -(-(self.charged + max(QUANTUM, line.mails[0].size)) // QUANTUM)


class PlainBand:
    """Flows by name."""

    def __init__(self, since: int) -> None:
        self.since = since
        self.round = self.joined = self.back = 0
        self.flows: dict[str, PlainFlow] = {}


class PlainWaiting:
    """What ``Waiting`` promises."""

    def __init__(self) -> None:
        self.bands: dict[int, PlainBand] = {}
        self.passed = self.first_since = self.last_since = 0
        self.branched = False

    def add(self, mail: Mail, back: bool = False) -> None:
        if mail.priority not in self.bands:
            self.last_since += 1
            self.bands[mail.priority] = PlainBand(self.last_since)
        band = self.bands[mail.priority]
        if mail.flow not in band.flows:
            band.joined += 1
            band.flows[mail.flow] = PlainFlow(band.round * QUANTUM, band.joined)
        flow = band.flows[mail.flow]
        key = (mail.job.domain, mail.limited)
        line = next((line for line in flow.lines if line.key == key), None)
        if line is None:
            line = PlainLine(key)
            flow.lines.append(line)
        line.mails.insert(0 if back else len(line.mails), mail)
        if back:
            line.back += 1
            band.back -= 1
            line.back_due = band.back
            flow.lines.remove(line)
            flow.lines.insert(0, line)
            self._give_turn_back(mail.priority)
        self._settle()

    def _give_turn_back(self, priority: int) -> None:
        if priority == max(self.bands):
            self.passed = max(0, self.passed - 1)
        else:
            self.passed = 7
            self.first_since -= 1
            self.bands[priority].since = self.first_since

    def first(self, ready: Ready) -> Mail | None:
        order = sorted(self.bands, reverse=True)
        if self.passed >= 7:
            order = [*sorted(order[1:], key=lambda priority: self.bands[priority].since), *order[:1]]
        for priority in order:
            found = []
            for flow in self.bands[priority].flows.values():
                may = [line for line in flow.lines if not line.key[1] or ready(line.key[1])]
                found += [(flow.due(may[0]), flow.joined, may[0])] if may else []
            if found:
                return min(found, key=lambda each: each[:2])[2].mails[0]
        return None

    def take(self, mail: Mail) -> None:
        band = self.bands[mail.priority]
        flow = band.flows[mail.flow]
        line = next(line for line in flow.lines if line.mails[0] is mail)
        due = flow.due(line)
        if line.back:
            line.back -= 1
        else:
            flow.charged = flow.charged + max(QUANTUM, mail.size) if due >= band.round else band.round * QUANTUM
        band.round = max(band.round, due)
        line.mails.pop(0)
        flow.lines.remove(line)
        flow.lines.append(line)
        if len(self.bands) > 1:
            late = self.passed >= 7 and mail.priority < max(self.bands)
            self.passed = 0 if late else min(self.passed + 1, 7)
        self.last_since += 1
        band.since = self.last_since
        self._settle()

    def remove(self, mail: Mail) -> None:
        for line in self.bands[mail.priority].flows[mail.flow].lines:
            for place, one in enumerate(line.mails):
                if one is mail:
                    del line.mails[place]
                    line.back -= place < line.back
                    self._settle()
                    return

    def _settle(self) -> None:
        """What is empty is forgotten; before there is a second line, there is no account of anything."""
        for priority, band in list(self.bands.items()):
            for name, flow in list(band.flows.items()):
                flow.lines = [line for line in flow.lines if line.mails]
                if not flow.lines:
                    del band.flows[name]
            if not band.flows:
                del self.bands[priority]
        lines = [line for band in self.bands.values() for flow in band.flows.values() for line in flow.lines]
        self.branched = bool(lines) and (self.branched or len(lines) > 1)
        if not self.branched:
            self.passed = self.first_since = self.last_since = 0
            for band in self.bands.values():
                self.last_since = band.since = band.joined = 1
                band.round = band.back = 0
                for flow in band.flows.values():
                    flow.charged, flow.joined = 0, 1
                    flow.lines[0].back = 0
