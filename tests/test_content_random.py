"""Jobs at random through the whole engine: each has one result, and none of them finds a bug."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from mailerq.content.downloads import Downloads
from mailerq.content.host_names import HostNames
from mailerq.content.steps import make_chain
from mailerq.settings import parse
from tests.memory_engine import MemoryEngine
from tests.mx import EXTENSIONS, Mx, Net
from tests.test_content_hostile import CONFIG, HOST

EXAMPLES = int(os.environ.get("MAILERQ_EXAMPLES", "60"))
PIECES = (
    *(
        "From: ",
        "To: ",
        "Subject: ",
        "Content-Type: ",
        "Content-Transfer-Encoding: ",
        "MIME-Version: 1.0",
        "DKIM-Signature: ",
    ),
    *(
        "a@x.example",
        "<b@y.example>",
        "News",
        ", ",
        "\r\n",
        "\n",
        "\r\n\r\n",
        "\r",
        "--b",
        "--b--",
        "x",
        " ",
        "\t",
        '"',
        "=",
    ),
    *("multipart/mixed; boundary=b", "multipart/alternative; boundary=b", "message/rfc822", "text/html", "text/plain"),
    *(
        "; charset=utf-8",
        "; charset=iso-8859-1",
        "; charset=nothing",
        "base64",
        "quoted-printable",
        "8bit",
        "eA==",
        "=C3=BC",
    ),
    *(
        "{$x}",
        "{$y.z}",
        "{if $x}",
        "{/if}",
        "{foreach $a in $l}",
        "{/foreach}",
        "{$x|escape}",
        "{",
        "}",
        "{$",
        "{literal}",
    ),
    *(
        "<style>p{color:red}</style>",
        "<p>",
        "</p>",
        "<style>",
        "<!--",
        "<html>",
        "=?utf-8?q?=C3=BC?=",
        "\u00fc",
        "\u2028",
        "\0",
    ),
)
texts = some.lists(some.sampled_from(PIECES), max_size=25).map("".join)
leaves = some.one_of(some.none(), some.booleans(), some.integers(-5, 5), texts, some.text(max_size=5))
NAMES = (
    "x",
    "y",
    "l",
    "type",
    "content",
    "blocks",
    "text",
    "html",
    "link",
    "url",
    "src",
    "name",
    "address",
    "font",
    "size",
)


def members(inner: Any) -> Any:
    """Objects with likely names."""
    return some.dictionaries(some.sampled_from(NAMES), inner, max_size=4)


values = some.recursive(leaves, lambda inner: some.one_of(some.lists(inner, max_size=3), members(inner)), max_leaves=8)
blocks = some.fixed_dictionaries(
    {
        "type": some.sampled_from(
            ("text", "html", "image", "button", "container", "columns", "heading", "link", "video")
        )
    },
    optional={"content": texts, "label": texts, "link": texts, "src": texts, "blocks": some.lists(values, max_size=2)},
)
described = some.fixed_dictionaries(
    {"subject": texts},
    optional={
        "from": values,
        "to": values,
        "text": texts,
        "content": some.one_of(texts, some.fixed_dictionaries({"blocks": some.lists(blocks, max_size=3)}), values),
        "attachments": some.lists(members(leaves), max_size=2),
        "headers": members(leaves),
    },
)
changes = some.dictionaries(
    some.sampled_from(("prepend", "append", "replace", "update")),
    some.dictionaries(some.sampled_from(("X-A", "Subject", "To", "Content-Type")), texts, max_size=2),
    max_size=2,
)
jobs = some.fixed_dictionaries(
    {
        "recipient": some.just("b@y.example"),
        "mime": some.one_of(texts, texts.map("From: a@x.example\r\n".__add__), described),
    },
    optional={
        "envelope": some.sampled_from(("", "a@x.example", "a@verp.example", "\u00fc@verp.example")),
        "data": members(values),
        "headers": changes,
        "inlinecss": some.booleans(),
        "normalize": some.booleans(),
        "tags": some.just(["list"]),
        "campaign": values,
        "dsn": some.fixed_dictionaries({"notify": some.sampled_from(("NEVER", "SUCCESS,FAILURE", "DELAY"))}),
        "keepmime": some.booleans(),
    },
)


class Random(SynchronousTestCase):
    """The engine of ``test_content_hostile``."""

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(some.lists(jobs, min_size=1, max_size=4), some.booleans())
    def test_jobs(self, some_jobs: list[dict[str, Any]], eight_bit: bool) -> None:
        """Whatever they ask for, and whether or not the host takes eight bits."""
        net = Net()
        config = parse(json.dumps({**CONFIG, "queues": {"dsn": "bounces"}}), "test", {})
        engine = MemoryEngine(config, {}, str(Path(self.mktemp()) / "journal"), net)
        engine.contents.chain = make_chain(config, Downloads(net, config.downloads, HostNames(net, config.dns)))
        taken = EXTENSIONS if eight_bit else tuple(one for one in EXTENSIONS if "8BIT" not in one and "UTF8" not in one)
        net.add(HOST, Mx(extensions=taken))
        for job in some_jobs:
            engine.publish(json.dumps(job).encode())
        net.run(90)
        results = [json.loads(body) for _, body in engine.take_all(["results"])]
        engine.journal.close()
        self.assertEqual(len(results), len(some_jobs))
        for result in results:
            self.assertNotIn("the log says how", result["results"][-1].get("description", ""), result)
