"""What a message costs in calls and bytecodes: figures that do not depend on how busy the machine is.

    python benchmarks/calls.py                      # the table, by room
    python benchmarks/calls.py --check              # against benchmarks/calls.json; ends with 1 where it has grown
    python benchmarks/calls.py --renew              # write benchmarks/calls.json anew, for this version of Python
    python benchmarks/calls.py --functions 40       # what is called most
    python benchmarks/calls.py --instructions       # processor instructions a message (valgrind; a minute a way)

A whole engine, as ``twistd mailerq`` builds it, runs on a reactor in memory: from a played RabbitMQ, or a real queue
file, to played mail hosts. It has delivered some messages to each domain before counting begins, so that start and
connecting do not count. Calls are those of Python functions and of C functions, in all threads. Bytecodes are counted
over fewer messages.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from benchmarks.lib.baseline import Baseline, Found, version  # noqa: E402
from benchmarks.lib.instructions import instructions  # noqa: E402

BASELINE = ROOT / "benchmarks" / "calls.json"
WAYS = [("rabbitmq", 2000), ("embedded", 2000), ("rabbitmq", 50000), ("embedded", 50000)]
DOMAINS = 20
COUNT = 1000  # messages: figures of different counts differ by some per cent
WARM = 200  # messages before counting begins
BYTECODES = 400  # messages of which the bytecodes are counted: it is slow


def run(broker: str, size: int, count: int, counting: Any = None) -> int:
    """One engine that delivers so many messages; in how many turns."""
    from benchmarks.lib.played_engine import PlayedEngine

    with tempfile.TemporaryDirectory() as folder:
        played = PlayedEngine(broker, Path(folder), DOMAINS)
        played.start()
        played.deliver(WARM, size)
        gc.collect()
        gc.disable()
        if counting is not None:
            played.loop.watch = lambda: counting
        turns = played.deliver(count, size)
        played.loop.watch = None  # type: ignore[assignment]
        return turns


def count_one(broker: str, size: int, count: int, bytecodes: bool) -> None:
    """Print what was counted, as JSON; for ``in_process_of_its_own``."""
    from benchmarks.lib.counter import Counting

    counting = Counting(bytecodes)
    turns = run(broker, size, count, counting)
    json.dump(
        {
            "turns": turns,
            "calls": counting.calls,
            "bytecodes": counting.bytecodes,
            "functions": dict(counting.functions.most_common(400)),
        },
        sys.stdout,
    )


def in_process_of_its_own(broker: str, size: int, count: int, bytecodes: bool) -> dict[str, Any]:
    """What was counted. A process that runs one engine only, with hashes that are the same each time."""
    command = [sys.executable, __file__, "--one", broker, str(size), str(count), str(int(bytecodes))]
    done = subprocess.run(command, env=clean_environment(), stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def clean_environment() -> dict[str, str]:
    """Without what would change the counts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MAILERQ", "COVERAGE"))}
    return kept | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def measure(broker: str, size: int, count: int) -> Found:
    """A message's calls and bytecodes by room."""
    calls = in_process_of_its_own(broker, size, count, False)
    few = min(count, BYTECODES)
    bytecodes = in_process_of_its_own(broker, size, few, True)
    return Found(
        f"{broker} {size}",
        {room: number / count for room, number in calls["calls"].items()},
        {room: number / few for room, number in bytecodes["bytecodes"].items()},
        {name: number / count for name, number in calls["functions"].items()},
    )


def table(found: list[Found]) -> str:
    """All ways beside each other, by room."""
    rooms = sorted({room for one in found for room in one.calls}, key=lambda room: -found[0].calls.get(room, 0))
    head = "".join(f"{one.way:>24}" for one in found)
    lines = [f"a message, calls / bytecodes\n{'':<18}{head}"]
    for room in [*rooms, "all"]:
        cells = ""
        for one in found:
            calls, bytecodes = one.calls, one.bytecodes
            pair = (sum(calls.values()), sum(bytecodes.values())) if room == "all" else (0.0, 0.0)
            if room != "all":
                pair = (calls.get(room, 0.0), bytecodes.get(room, 0.0))
            cells += f"{pair[0]:>14.2f} /{pair[1]:>8.0f}"
        lines.append(f"{room:<18}{cells}")
    return "\n".join(lines)


def show_functions(found: list[Found], most: int) -> None:
    for one in found:
        print(f"\n{one.way}: calls a message")
        for name, number in sorted(one.functions.items(), key=lambda item: -item[1])[:most]:
            print(f"{number:>10.2f}  {name}")


def show_instructions(ways: list[tuple[str, int]], count: int) -> None:
    print("processor instructions a message; the played RabbitMQ and hosts included")
    for broker, size in ways:
        command = [sys.executable, __file__, "--run", broker, str(size)]
        print(f"{broker:<10}{size:>8}{instructions(command, clean_environment(), count):>14,.0f}", flush=True)


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", nargs="+", choices=["rabbitmq", "embedded"], default=["rabbitmq", "embedded"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 50000], help="bytes a message")
    parser.add_argument("--count", type=int, default=COUNT, help=f"messages that are counted ({COUNT})")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="the N that are called most, too")
    parser.add_argument("--check", action="store_true", help="against the baseline")
    parser.add_argument("--renew", action="store_true", help="write the baseline")
    parser.add_argument("--instructions", action="store_true", help="by valgrind")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(given)


def main() -> int:
    """What the arguments ask; the status to end with."""
    asked = arguments_of()
    if asked.one:
        broker, size, count, bytecodes = asked.one
        count_one(broker, int(size), int(count), bytecodes == "1")
        return 0
    if asked.run:
        run(asked.run[0], int(asked.run[1]), int(asked.run[2]))
        return 0
    ways = [way for way in WAYS if way[0] in asked.broker and way[1] in asked.sizes]
    ways += [(broker, size) for size in asked.sizes for broker in asked.broker if (broker, size) not in WAYS]
    if asked.instructions:
        show_instructions(ways, min(asked.count, 500))
        return 0
    count = COUNT if asked.check or asked.renew else asked.count
    found = [measure(broker, size, count) for broker, size in ways]
    baseline = Baseline.read(BASELINE)
    if asked.json:
        print(json.dumps({one.way: one.as_json() for one in found}, indent=1))
    else:
        print(table(found))
        show_functions(found, asked.functions) if asked.functions else None
    if asked.renew:
        baseline.renewed(found).write(BASELINE)
        print(f"written for Python {version()}: {BASELINE}")
    problems = baseline.compare(found) if asked.check else []
    for line in problems + (baseline.fallen(found) if asked.check else []):
        print(line, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
