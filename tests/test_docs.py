"""The documentation: complete where it lists something, right where it shows JSON, and no link leads nowhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import Attempt, State, Type
from mailerq.job import read
from mailerq.properties import Known, Queues

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^()\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def first_cells(page: str) -> set[str]:
    """What stands as code in the first cells of the tables of a page."""
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("|")]
    return {word for cell in rows for word in re.findall(r"`([^`]+)`", cell)}


def anchors(page: str) -> set[str]:
    """The names of the headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def examples(page: str) -> list[str]:
    """All that a page shows as JSON."""
    return [body for kind, body in FENCE.findall(page) if kind == "json"]


class Complete(SynchronousTestCase):
    """Nothing that the code knows is left out."""

    def test_types_and_states(self) -> None:
        """Each type and each state has a row in results.md."""
        rows = first_cells(text("docs/results.md"))
        self.assertEqual({str(word) for word in [*Type, *State]} - rows, set())

    def test_entry(self) -> None:
        """So has each property of an entry."""
        self.assertEqual(_entry_names() - first_cells(text("docs/results.md")), set())

    def test_job(self) -> None:
        """Each property of a job that is known has a row in jobs.md."""
        self.assertEqual(set(Known.__struct_fields__) - first_cells(text("docs/jobs.md")), set())

    def test_queues(self) -> None:
        """The members of `queues` are named."""
        page = text("docs/jobs.md")
        self.assertEqual([name for name in Queues.__struct_fields__ if f"`{name}`" not in page], [])


def _entry_names() -> set[str]:
    return set(Attempt.__struct_encode_fields__)


class Right(SynchronousTestCase):
    """What is shown can be used."""

    def test_json(self) -> None:
        """Each JSON example is JSON."""
        for path in PAGES:
            for example in examples(path.read_text(encoding="utf-8")):
                json.loads(example)

    def test_jobs(self) -> None:
        """Each job in jobs.md can be sent."""
        for example in examples(text("docs/jobs.md")):
            job = read(example.encode())
            self.assertIsNone(job.problem, example)  # type: ignore[union-attr]

    def test_entries(self) -> None:
        """Each entry in an example has properties, a type and a state that there are."""
        for page in ("docs/results.md", "README.md"):
            for example in map(json.loads, examples(text(page))):
                entries = example if isinstance(example, list) else example.get("results", [example])
                for entry in entries:
                    if "attempt" not in entry:
                        continue
                    self.assertEqual(set(entry) - _entry_names(), set())
                    Type(entry["type"])
                    State(entry.get("state", "connect"))

    def test_links(self) -> None:
        """Each link within the project leads to a file, and to a heading that is there."""
        for path in PAGES:
            for target in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
                if "://" in target or target.startswith("mailto:"):
                    continue
                name, _, heading = target.partition("#")
                there = (path.parent / name).resolve() if name else path
                where = f"{path.relative_to(ROOT)}: {target}"
                self.assertTrue(there.exists(), where)
                if heading:
                    self.assertIn(heading, anchors(there.read_text(encoding="utf-8")), where)

    def test_rooms(self) -> None:
        """architecture.md names no file that there is not, and no file beside delivery.py is without a row."""
        page = text("docs/architecture.md").partition("## The rooms")[2].partition("\n## ")[0]
        rows = {word for word in first_cells(page) if word.endswith((".py", "/"))}
        for word in rows:
            self.assertTrue(list((ROOT / "mailerq").glob(word)), word)
        there = {path.name for path in (ROOT / "mailerq").glob("*.py") if not path.name.startswith("__")}
        self.assertEqual(there - rows, set())
