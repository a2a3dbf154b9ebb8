"""``python benchmarks/compare``: mailerq beside the mail servers of the distribution. See README.md."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import NoReturn

ROOT = str(Path(__file__).resolve().parents[2])
if sys.path[0] != ROOT:  # run as a folder: that is where modules would be looked for first
    sys.path[0] = ROOT

from benchmarks.compare import chart, options, table  # noqa: E402
from benchmarks.compare.comparison import Comparison, tell  # noqa: E402
from benchmarks.compare.packages import Missing  # noqa: E402


def main() -> int:
    """The exit status."""
    chosen = options.parse()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    stopped = False
    try:
        with Comparison(chosen) as comparison:
            try:
                comparison.run()
            except KeyboardInterrupt:
                stopped = True
                tell("interrupted; cleaning up")
    except KeyboardInterrupt:
        return 130
    except Missing as error:
        tell(f"benchmarks/compare: {error}")
        return 1
    _show(comparison)
    return 130 if stopped else 0


def _interrupted(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _show(comparison: Comparison) -> None:
    print(table.head(comparison.about))
    print(table.tables(comparison.rows, comparison.bases))
    for note in comparison.notes:
        print(f"- {note}")
    if comparison.options.json is not None:
        comparison.options.json.write_text(json.dumps(comparison.as_json(), indent=1, ensure_ascii=False) + "\n")
    if comparison.options.draw is not None:
        comparison.options.draw.write_text(chart.draw(comparison.rows))


if __name__ == "__main__":
    sys.exit(main())
