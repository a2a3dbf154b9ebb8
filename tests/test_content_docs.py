"""The examples of docs/content.md: each job is sent through a whole engine, with what the page configures above it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailerq.content.downloads import Download
from mailerq.content.steps import make_chain
from mailerq.settings import parse
from tests.memory_engine import MemoryEngine
from tests.mx import Mx, Net

PAGE = Path(__file__).parent.parent / "docs" / "content.md"
HOST = "127.1.1.1"
BODY = b"From: shop@example.org\r\nSubject: stored\r\n\r\nstored\r\n"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x64\x00\x00\x00\x32\x08\x06\x00\x00\x00"


class Everything:
    """Whatever the URL, there is a small picture."""

    def fetch(self, url: str) -> Deferred[Download]:
        """It."""
        return succeed(Download(PNG, "image/png", url))


def examples() -> list[tuple[str, dict[str, Any], str]]:
    """Each job of the page, with the section that it stands in, and what is configured in that."""
    found = []
    for section in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        config: dict[str, Any] = {}
        for kind, block in re.findall(r"^```(yaml|json)\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
            if kind == "yaml":
                config |= yaml.safe_load(block)
            else:
                found.append((section.split("\n", 1)[0], config.copy(), block))
    return found


class Examples(SynchronousTestCase):
    """What the page says works."""

    def send(self, config: dict[str, Any], job: str) -> tuple[dict[str, Any], Mx]:
        """Its result, and the host that it came to."""
        config = {name: value for name, value in config.items() if name != "store"}
        config |= {"dns": {"hosts": {"*": f"{HOST}:2525"}}, "store": "memory:"}
        settings = parse(json.dumps(config), "content.md", {})
        net = Net()
        engine = MemoryEngine(settings, {}, str(Path(self.mktemp()) / "journal"), net)
        engine.contents.chain = make_chain(settings, Everything())
        mx: Mx = net.add(HOST, Mx())
        assert engine.store is not None
        engine.store.put(json.loads(job).get("key", "-"), BODY, None)
        engine.publish(job.encode())
        net.run(5)
        ((_, body),) = engine.take_all(["results"])
        result: dict[str, Any] = json.loads(body)
        return result, mx

    def test_jobs(self) -> None:
        """Each job is delivered."""
        sections = set()
        for section, config, job in examples():
            result, mx = self.send(config, job)
            self.assertEqual((result["results"][-1]["type"], len(mx.mails)), ("success", 1), (section, result))
            sections.add(section)
        self.assertGreaterEqual(len(sections), 4, sections)

    def test_configurations(self) -> None:
        """Each piece of a configuration can be read."""
        for block in re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
            parse(block, "content.md", {})
