"""How the cost of a message grows: over jobs that wait, domains, open connections, messages since the start.

    python benchmarks/growth.py                     # at most a quarter of an hour
    python benchmarks/growth.py --quick             # at most three minutes: fewer points, shorter runs, once
    python benchmarks/growth.py --long              # to a million jobs waiting and a million messages; an hour

Real engines, with RabbitMQ (a node of its own) and the embedded queue, to a mail host of our own on loopback addresses.
A point is the median of the rounds; rounds go on until the time is over. Writes the curves (SVG) and the tables
(Markdown). µs are processor time of the engine, user and system; steady: from a warm engine, while all goes on, but for
the domains, where the whole run counts, connecting included.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from benchmarks.lib.curves import Picture, draw, table  # noqa: E402
from benchmarks.lib.ground import Ground  # noqa: E402
from benchmarks.lib.growth_runs import Run, connections, domains, since_start, waiting  # noqa: E402

BROKERS = ("rabbitmq", "embedded")
ROUNDS = 3
PICTURES = {
    "waiting": ("Jobs waiting", "jobs waiting", "µs a message"),
    "domains": ("Domains", "domains (10,000 messages in all)", "µs a message"),
    "hosts": ("Hosts", "domains, a host each (10,000 messages in all)", "µs a message"),
    "connections": ("Connections", "open connections, a host each", "µs a message"),
    "since": ("Since the start", "messages since the start", "µs a message"),
    "memory": ("Memory", "messages since the start", "MB"),
}
Found = dict[tuple[str, str], dict[float, list[float]]]  # by picture and curve, by x: what each round gave


def short_runs(quick: bool, long: bool) -> list[Run]:
    """What a round consists of."""
    messages = 4000 if quick else 10000
    levels = [1000, 100_000] if quick else [1000, 10_000, 100_000]
    numbers = [1, 1000] if quick else [1, 10, 100, 1000]
    names = [10, 10_000] if quick else [1, 10, 100, 1000, 10_000]
    runs = [waiting(broker, level, messages) for level in levels + [1_000_000] * long for broker in BROKERS]
    runs += [connections("rabbitmq", number, messages) for number in numbers]
    for number in names:
        runs += [domains("rabbitmq", number, 10_000, dns) for dns in (False, True)]
    return [*runs, *(domains("rabbitmq", number, 10_000, True, own_hosts=True) for number in names)]


def long_runs(quick: bool, long: bool) -> list[Run]:
    """Once only."""
    messages, parts = (1_000_000, 20) if long else (20_000, 4) if quick else (100_000, 10)
    return [since_start(broker, messages, parts) for broker in BROKERS]


class Progress:
    """Runs what there is time for, and says so on stderr."""

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._end = self._began + seconds
        self.found: Found = defaultdict(lambda: defaultdict(list))
        self.left_out: list[str] = []

    def go(self, ground: Ground, runs: Iterable[Run], what: str) -> None:
        """One after the other."""
        runs = list(runs)
        for number, run in enumerate(runs, 1):
            now = time.monotonic()
            if now > self._end:
                self.left_out.append(f"{run.name} ({what})")
                continue
            points = run.go(ground)
            for curve, x, y in points:
                picture = "memory" if curve.endswith(", MB") else run.picture
                self.found[picture, curve.removesuffix(", MB")][x].append(y)
            spent = int(time.monotonic() - self._began)
            last = points[-2 if len(points) > 1 else -1]
            print(
                f"{spent // 60:>3}:{spent % 60:02} {what} {number}/{len(runs)}  {run.name}: {last[2]:.1f} µs",
                file=sys.stderr,
                flush=True,
            )

    def pictures(self) -> list[Picture]:
        """Medians, as curves."""
        pictures = []
        for key, (title, x, y) in PICTURES.items():
            curves = {
                curve: sorted((at, median(values)) for at, values in points.items())
                for (picture, curve), points in self.found.items()
                if picture == key
            }
            if curves:
                pictures.append(Picture(title, x, y, curves))
        return pictures


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", nargs="+", choices=list(PICTURES)[:-1])
    parser.add_argument("--minutes", type=float, help="no run begins after them (13; --quick 2.5, --long 60)")
    parser.add_argument("--rounds", type=int, help=f"({ROUNDS}; --quick 1)")
    parser.add_argument("--svg", type=Path, default=ROOT / "benchmarks" / "growth.svg", help="(benchmarks/growth.svg)")
    parser.add_argument("--table", type=Path, default=ROOT / "benchmarks" / "growth.md", help="(benchmarks/growth.md)")
    return parser.parse_args(given)


def main() -> None:
    """Run, draw, write."""
    asked = arguments_of()
    minutes = asked.minutes or (2.5 if asked.quick else 60 if asked.long else 13)
    progress, ground = Progress(minutes * 60), Ground()
    wanted = asked.only or list(PICTURES)
    try:
        for number in range(1, (asked.rounds or (1 if asked.quick else ROUNDS)) + 1):
            runs = [run for run in short_runs(asked.quick, asked.long and number == 1) if run.picture in wanted]
            progress.go(ground, runs, f"round {number}")
            if number == 1 and "since" in wanted:
                progress.go(ground, long_runs(asked.quick, asked.long), "long")
    finally:
        ground.close()
    pictures = progress.pictures()
    if not pictures:
        raise SystemExit("no run came to its end")
    asked.svg.write_text(draw(pictures, "What a message costs, and how it grows"))
    text = "\n".join(table(picture) for picture in pictures)
    asked.table.write_text(f"# How the cost of a message grows\n\n![The curves](growth.svg)\n\n{text}")
    print(text)
    for name in progress.left_out:
        print(f"left out, there was no time: {name}", file=sys.stderr)


if __name__ == "__main__":
    main()
