"""Hostile jobs through the whole engine: each ends with a result that names the place, or as a whole message, and the
next job is sent as if nothing had been."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from mailerq.content.downloads import Downloads
from mailerq.content.header_block import split
from mailerq.content.host_names import HostNames
from mailerq.content.steps import make_chain
from mailerq.settings import parse
from tests.memory_engine import MemoryEngine
from tests.mx import Mx, Net

HOST = "127.1.1.1"
CONFIG: dict[str, Any] = {
    "dns": {"hosts": {"*": f"{HOST}:2525"}},
    "delivery": {"retry-interval": "10s", "max-attempts": 1},
    "verp": [{"domain": "verp.example", "pattern": "b+{recipient.local}+{campaign}@b.example"}],
    "list-headers": [
        {"tag": "list", "domain": "*", "List-Unsubscribe": "https://x.example/?a={recipient}&c={campaign}"},
    ],
}
HEAD = "From: a@x.example\r\nTo: b@y.example\r\nSubject: s\r\n"
PLAIN = HEAD + "\r\nHello\r\n"
HTML = HEAD + "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
FINAL = ("error", "responsive", "nodata")


def nested(depth: int, kind: str = "multipart/mixed") -> str:
    """MIME in MIME."""
    if kind == "message/rfc822":
        return (
            HEAD + "MIME-Version: 1.0\r\n" + "Content-Type: message/rfc822\r\n\r\n" * depth + "Subject: {$x}\r\n\r\nx"
        )
    start = "".join(f'Content-Type: {kind}; boundary="b{n}"\r\n\r\n--b{n}\r\n' for n in range(depth))
    end = "".join(f"\r\n--b{n}--" for n in reversed(range(depth)))
    return HEAD + "MIME-Version: 1.0\r\n" + start + "Content-Type: text/plain\r\n\r\n{$x}" + end + "\r\n"


class Case(SynchronousTestCase):
    """An engine with all steps, a host, and a job after each hostile one."""

    config: ClassVar[dict[str, Any]] = CONFIG

    def setUp(self) -> None:
        self.net = Net()
        self.settings = parse(json.dumps(self.config), "test", {})
        self.engine = MemoryEngine(self.settings, {}, str(Path(self.mktemp()) / "journal"), self.net)
        downloads = Downloads(self.net, self.settings.downloads, HostNames(self.net, self.settings.dns))
        self.engine.contents.chain = make_chain(self.settings, downloads)
        self.mx: Mx = self.net.add(HOST, Mx())

    def end_of(self, body: bytes, encoding: str | None = None, seconds: float = 120) -> dict[str, Any]:
        """The result of a job, after which another is sent."""
        self.mx.mails.clear()
        self.engine.publish(body, encoding)
        self.net.run(seconds)
        found = [json.loads(one) for _, one in self.engine.take_all(["results"])]
        self.assertEqual(len(found), 1, f"{len(found)} results")
        self.sent = [mail.message for mail in self.mx.mails]
        self.engine.publish(json.dumps({"recipient": "next@y.example", "mime": PLAIN}).encode())
        self.net.run(5)
        ((_, other),) = self.engine.take_all(["results"])
        self.assertEqual(json.loads(other)["results"][-1]["type"], "success")
        entry: dict[str, Any] = found[0]["results"][-1]
        return entry

    def job(self, mime: Any, **properties: Any) -> dict[str, Any]:
        """The last entry of its result."""
        job = {"recipient": "b@y.example", "envelope": "a@x.example", "mime": mime, **properties}
        return self.end_of(json.dumps(job).encode())

    def fails(self, names: str, mime: Any, type: str = "", **properties: Any) -> None:
        """It is a final failure, whose description names the place; nothing was sent."""
        entry = self.job(mime, **properties)
        self.assertIn(entry["type"], (type,) if type else FINAL, entry)
        self.assertIn(names, entry["description"])
        self.assertEqual(self.sent, [])
        self.assertLess(len(entry["description"]), 3000)

    def passes(self, mime: Any, **properties: Any) -> bytes:
        """It is sent; the message."""
        entry = self.job(mime, **properties)
        self.assertEqual(entry["type"], "success", entry)
        (message,) = self.sent
        return message

    def fails_or_passes(self, names: str, mime: Any, **properties: Any) -> None:
        """Either."""
        entry = self.job(mime, **properties)
        if entry["type"] != "success":
            self.assertIn(entry["type"], FINAL, entry)
            self.assertIn(names, entry["description"])


class Templates(Case):
    """``data``."""

    def test_loops(self) -> None:
        """Loops in loops end, with the part that they are in."""
        loop = "{foreach $a in $l}" * 6 + "x" + "{/foreach}" * 6
        self.fails("text/plain", HEAD + f"\r\n{loop}", "responsive", data={"l": list(range(100))})

    def test_growth(self) -> None:
        """A text that doubles again and again ends."""
        grow = '{assign "xxxxxxxxxxxxxxxx" to $a}' + "{assign $a|cat:$a:$a:$a to $a}" * 30 + "{$a}"
        self.fails("text/plain", HEAD + f"\r\n{grow}", "responsive", data={"x": 1})

    def test_power(self) -> None:
        """Numbers do not grow without end."""
        grow = "{assign 99999999 to $a}" + "{assign $a * $a to $a}" * 40 + "{$a}"
        self.fails_or_passes("text/plain", HEAD + f"\r\n{grow}", data={"x": 1})

    def test_expression(self) -> None:
        """A regular expression that takes for ever does not."""
        self.fails_or_passes("text/plain", HEAD + '\r\n{$x|regex_replace:"(a+)+$":"b"}', data={"x": "a" * 5000 + "!"})

    def test_inner_names(self) -> None:
        """What Python's objects have inside is out of reach."""
        for tag in ("{$x.__class__.__mro__}", "{$x|attr:'__class__'}", "{% import os %}", "{{ cycler }}", "{$self}"):
            entry = self.job(HEAD + f"\r\n{tag}", data={"x": "a"})
            if entry["type"] == "success":
                self.assertNotIn(b"<class", self.sent[0])
                self.assertNotIn(b"<function", self.sent[0])

    def test_deep(self) -> None:
        """Tags and brackets in each other, ten thousand deep."""
        for text in (
            "{if 1}" * 10_000,
            "{if " + "(" * 10_000 + "1" + ")" * 10_000 + "}{/if}",
            "{if " + "not " * 10_000 + "1}{/if}",
        ):
            self.fails("text/plain", HEAD + f"\r\n{text}", "responsive", data={"x": 1})

    def test_deep_data(self) -> None:
        """Data in data, a hundred thousand deep, is an unusable job at most."""
        body = json.dumps({"recipient": "b@y.example", "mime": PLAIN + "{$x}", "data": {"x": 0}}).encode()
        body = body.replace(b'{"x": 0}', b'{"x": ' * 100_000 + b"0" + b"}" * 100_000)
        self.mx.mails.clear()
        self.engine.publish(body)
        self.net.run(60)
        queues = self.engine.take_all(["results", "invalid"])
        self.assertEqual(len(queues), 1)

    def test_header_injection(self) -> None:
        """A value with line ends adds no field, in no field."""
        evil = "x\r\nBcc: evil@z.example\r\n\r\nbody\n\rX-Evil: 1\r\0\u2028\u0085"
        head = "From: {$e} <a@x.example>\r\nTo: {$e} <b@y.example>\r\nReply-To: {$e}\r\nSubject: {$e}\r\n"
        entry = self.job(head + "\r\nHello {$e}\r\n", data={"e": evil})
        for message in self.sent:
            names = {field.key for field in split(message).fields}
            self.assertFalse(names & {"bcc", "x-evil"}, message)
            self.assertTrue(split(message).body.startswith(b"Hello"))
        self.assertTrue(self.sent or entry["description"])

    def test_address_injection(self) -> None:
        """A value in an address field adds no address."""
        evil = "x <a@z.example>, evil@z.example; (b)"
        entry = self.job('To: "{$e}" <b@y.example>\r\nFrom: {$e} <a@x.example>\r\n\r\nx', data={"e": evil})
        if entry["type"] == "success":
            from email.utils import getaddresses

            to = split(self.sent[0]).value("To") or ""
            self.assertEqual([address for _, address in getaddresses([to])], ["b@y.example"])


class Mime(Case):
    """The message itself, with each step that reads it."""

    steps: tuple[dict[str, Any], ...] = (
        {"data": {"x": "y"}},
        {"inlinecss": True},
        {"normalize": True},
        {"headers": {"append": {"X-A": "b"}, "remove": ["X-B"]}},
        {"tags": ["list"], "campaign": "c"},
    )

    def each(self, mime: str) -> None:
        for step in self.steps:
            name = next(iter(step))
            name = {"data": "", "tags": "list-headers"}.get(name, name)
            self.fails_or_passes(name, mime, **step)

    def test_deep(self) -> None:
        """Parts in parts, a thousand deep."""
        self.each(nested(1000))

    def test_deep_messages(self) -> None:
        """Messages in messages, a thousand deep."""
        self.each(nested(1000, "message/rfc822"))

    def test_many_parts(self) -> None:
        """Fifty thousand parts."""
        self.each(
            HEAD + "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + "--b\r\n\r\n{$x}\r\n" * 50_000 + "--b--\r\n"
        )

    def test_huge_field(self) -> None:
        """A field of five megabytes."""
        self.each("X: " + "a" * 5_000_000 + "\r\n" + PLAIN)
        self.each("Subject: " + "=?utf-8?q?{$x}?= " * 100_000 + "\r\n\r\nx")

    def test_many_fields(self) -> None:
        """A hundred thousand fields."""
        self.each("X: {$x}\r\n" * 100_000 + PLAIN)
        self.each("To: a@y.example\r\n" * 100_000 + PLAIN)

    def test_broken_encodings(self) -> None:
        """Base64 and quoted-printable that are none, charsets that there are not."""
        for kind, text in (
            ("base64", "e$%x"),
            ("base64", "=" * 100),
            ("base64", "A"),
            ("quoted-printable", "{$x=}=ZZ=\r\n="),
            ("rot13", "{$x}"),
        ):
            self.each(HEAD + f"MIME-Version: 1.0\r\nContent-Transfer-Encoding: {kind}\r\n\r\n{text}\r\n")
        for charset in ("utf-9", "zip", "idna", "unicode_escape", "utf-16", "utf-7", "\x00", "x" * 10_000):
            self.each(HEAD + f"Content-Type: text/plain; charset={charset}\r\n\r\n{{$x}} \u00fc\r\n")

    def test_no_message(self) -> None:
        """Nothing, line ends, text without a header, a boundary that is everywhere."""
        for mime in (
            "",
            "\r\n" * 10_000,
            "\0" * 1000,
            "no header at all {$x}",
            "\r" * 10_000,
            " folded\r\n",
            ":\r\n\r\nx",
        ):
            self.each(mime)
        self.each(HEAD + "Content-Type: multipart/mixed; boundary=\r\n\r\n--\r\n--\r\n")

    def test_css(self) -> None:
        """Style sheets that fetch, nest, or have no end."""
        message = self.passes(
            HTML
            + "<link rel=stylesheet href='http://127.0.0.1:9/x.css'><style>@import 'http://127.0.0.1:9/y.css'; "
            + "@import url(file:///etc/passwd); p {color: red}</style><p>x</p>",
            inlinecss=True,
        )
        self.assertIn(b"red", message)
        self.assertNotIn(b"root:", message)
        for text in (
            "<style>" + "@media x {" * 20_000,
            "<div>" * 50_000 + "<style>p{a:b}</style>",
            "<style>" + "a," * 100_000 + "{}",
        ):
            self.fails_or_passes("inlinecss", HTML + text, inlinecss=True)


class Properties(Case):
    """Properties whose values are hostile."""

    def test_headers(self) -> None:
        """``headers`` makes no second field, and no name that is none."""
        for headers in (
            {"append": {"X-A": "b\r\nBcc: evil@z.example"}},
            {"prepend": {"X-A\r\nBcc": "b"}},
            {"replace": {"Subject": "\0"}},
            {"update": {"": "x"}},
            {"remove": ["a:b"]},
            {"append": {"X-A": "x" * 5_000_000}},
            {"append": {f"X-{n}": "x" for n in range(100_000)}},
        ):
            self.fails("headers", PLAIN, "error", headers=headers)

    def test_dkim(self) -> None:
        """Keys that are none, and values that would end a line."""
        for dkim in (
            {"domain": "x.example", "selector": "s", "key": "no key"},
            {"domain": "x.example\r\nBcc: a@z.example", "selector": "s", "key": "x"},
            {"domain": "x.example", "selector": "s", "key": "-----BEGIN RSA PRIVATE KEY-----\n" + "A" * 500_000},
            [{}] * 1000,
        ):
            self.fails("dkim", PLAIN, "error", dkim=dkim)

    def test_dsn(self) -> None:
        """What a sender wants to be told ends no command."""
        for dsn in (
            {"envid": "x\r\nRCPT TO:<evil@z.example>", "notify": "FAILURE"},
            {"orcpt": "rfc822;x>\r\nDATA", "notify": ["SUCCESS", "FAILURE"]},
            {"envid": "x" * 100_000},
            {"ret": "FULL\r\n"},
            {"notify": "NEVER FAILURE\r\n"},
            {"mta": "x\r\ny", "envelope": "a\r\nb"},
        ):
            self.fails_or_passes("dsn", PLAIN, dsn=dsn)
            lines = [line for line in self.mx.talk if line.startswith("C: ")]
            self.assertFalse([line for line in lines if line.startswith("C: RCPT TO:<evil")])
            self.assertFalse([line for line in lines if len(line) > 2000])

    def test_all_at_once(self) -> None:
        """Everything that a job can ask for, of a message that is nothing."""
        for mime in ("", "\0", "{$x", HTML + "<style>{$x}</style>{if}", nested(60)):
            self.fails_or_passes(
                "",
                mime,
                data={"x": "{$x}"},
                inlinecss=1,
                normalize=1,
                headers={"update": {"Subject": "x"}},
                tags=["list"],
                campaign="c",
                envelope="a@verp.example",
                dsn={"notify": "NEVER"},
            )

    def test_recipient_and_envelope(self) -> None:
        """Addresses with line ends are none."""
        self.fails("envelope", PLAIN, "error", envelope="a@x.example>\r\nRCPT TO:<evil@z.example")
        self.fails("recipient", PLAIN, "error", recipient="a@x.example\r\nDATA")

    def test_verp(self) -> None:
        """What stands in a return path is encoded, whatever it is."""
        for campaign in ("\r\nRCPT TO:<evil@z.example>", "@", ">" * 100_000, "%", "\0", "\U0001f600"):
            self.passes(PLAIN, envelope="a@verp.example", campaign=campaign)
            mail = [line for line in self.mx.talk if "MAIL FROM" in line and "b.example" in line][-1]
            self.assertRegex(mail, r"MAIL FROM:<b\+b\+[A-Za-z0-9=._-]*@b\.example>")
            self.assertFalse([line for line in self.mx.talk if "evil" in line and "RCPT" in line and "<evil" in line])

    def test_list_headers(self) -> None:
        """What stands in a list header is encoded, or too long."""
        for campaign in ("\r\nBcc: evil@z.example", ">, <mailto:evil@z.example>", "\0\u2028"):
            message = self.passes(PLAIN, tags=["list"], campaign=campaign)
            block = split(message)
            self.assertNotIn("Bcc", block)
            self.assertEqual((block.value("List-Unsubscribe") or "").count("<"), 1)
        self.fails("list-headers", PLAIN, "error", tags=["list"], campaign="x" * 100_000)


class Described(Case):
    """``mime`` as an object."""

    def described(self, **members: Any) -> dict[str, Any]:
        return {"from": "a@x.example", "to": "b@y.example", "subject": "s", **members}

    def test_injection(self) -> None:
        """Line ends in addresses, subjects, header names and file names add no field."""
        evil = "x\r\nBcc: evil@z.example\r\n\r\n"
        for members in (
            {"subject": evil},
            {"from": {"name": evil, "address": "a@x.example"}},
            {"to": f"{evil} <b@y.example>"},
            {"headers": {"X-A": evil}},
            {"headers": {evil: "x"}},
            {"attachments": [{"data": "eA==", "name": evil, "type": evil}]},
        ):
            description = {**self.described(text="hello"), **members}
            entry = self.job(description)
            for message in self.sent:
                self.assertNotIn("Bcc", split(message), members)
                self.assertNotIn(b"\nBcc:", message)
            if not self.sent:
                self.assertIn(entry["type"], FINAL, members)

    def test_mjml_that_fetches(self) -> None:
        """Blocks and HTML include no files, and load nothing."""
        include = (
            "</mj-text><mj-include path='/etc/passwd'/><mj-raw><mj-include path='file:///etc/passwd' type='html'/>"
        )
        for block in (
            {"type": "html", "content": include},
            {"type": "text", "content": include},
            {"type": "heading", "content": include},
            {"type": "button", "label": include, "link": "https://x.example/'><mj-include path='/etc/passwd'/>"},
            {"type": "text", "content": "x", "font": {"family": "x'/><mj-include path='/etc/passwd'/>"}},
        ):
            self.fails_or_passes("mime: content.blocks", self.described(content={"blocks": [block]}))
            for message in self.sent:
                self.assertNotIn(b"root:", message)
        for text in (
            include,
            "<img src='http://127.0.0.1:9/x.png'>",
            "<link rel=stylesheet href='http://127.0.0.1:9/x'>",
        ):
            self.fails_or_passes("mime: content", self.described(content=text), inlinecss=True)
            self.assertFalse([message for message in self.sent if b"root:" in message])

    def test_imports(self) -> None:
        """A block that is imported from this machine, or from nowhere, is named."""
        for url in ("http://127.0.0.1:9/x.json", "file:///etc/passwd", "http://[::ffff:10.0.0.1]/"):
            entry = self.job(self.described(content={"blocks": [{"type": "import", "url": url}]}))
            self.assertEqual((entry["type"], self.sent), ("responsive", []), url)
            self.assertIn("content.blocks[0].import", entry["description"])

    def test_private_addresses(self) -> None:
        """Attachments and images of this machine, or of its network, are not fetched."""
        for url in (
            "http://127.0.0.1/x",
            "http://[::1]/x",
            "http://169.254.169.254/latest",
            "file:///etc/passwd",
            "http://0x7f.1/x",
        ):
            entry = self.job(self.described(text="x", attachments=[{"url": url, "name": "x"}]))
            self.assertEqual((entry["type"], self.sent), ("responsive", []), url)
            self.assertTrue(entry["reasons"])

    def test_deep_blocks(self) -> None:
        """Blocks in blocks, fifty thousand deep, and a hundred thousand beside each other."""
        block: dict[str, Any] = {"type": "text", "content": "x"}
        for _ in range(100):
            block = {"type": "container", "blocks": [block]}
        entry = self.job(self.described(content={"blocks": [block]}))
        self.assertIn(entry["type"], ("responsive", "success"))
        text = '{"blocks":[' * 50_000 + "]}" * 50_000
        self.engine.publish(b'{"recipient": "b@y.example", "mime": {"content": %b}}' % text.encode())
        self.net.run(60)
        self.assertEqual(len(self.engine.take_all(["results", "invalid"])), 1)
        self.fails_or_passes("", self.described(content={"blocks": [{"type": "text", "content": "x"}] * 100_000}))

    def test_broken_attachment(self) -> None:
        """Base64 that is none is named."""
        entry = self.job(self.described(text="x", attachments=[{"data": "!!!", "name": "x"}]))
        self.assertEqual((entry["type"], self.sent), ("responsive", []))
        self.assertIn("attachments", entry["description"])

    def test_other_shapes(self) -> None:
        """Members of all wrong shapes."""
        for wrong in (None, 1, [], {}, "x", [[[]]], {"x": {"y": []}}, "\ud800", 1e308, True):
            for name in (
                "from",
                "to",
                "subject",
                "text",
                "html",
                "content",
                "attachments",
                "headers",
                "font",
                "background",
            ):
                self.fails_or_passes("", {**self.described(text="x"), name: wrong})


class Stored(Case):
    """Bodies from a store, which nobody has looked at before."""

    config: ClassVar[dict[str, Any]] = {**CONFIG, "store": {"address": "memory:", "delete": "none"}}

    def put(self, body: bytes) -> None:
        assert self.engine.store is not None
        self.engine.store.put("k", body, None)

    def stored(self, body: bytes, **properties: Any) -> dict[str, Any]:
        self.put(body)
        job = {"recipient": "b@y.example", "envelope": "a@x.example", "key": "k", **properties}
        return self.end_of(json.dumps(job).encode())

    def test_descriptions(self) -> None:
        """What begins as a description and is none, or a deep one, is a failure that says so."""
        for body in (
            b"{",
            b"{}",
            b'{"a": ',
            b"{" * 100_000,
            b'{"content":' * 100_000,
            b'{"subject": "\xff"}',
            b" \r\n{\0}",
        ):
            entry = self.stored(body)
            self.assertEqual((entry["type"], self.sent), ("responsive", []), body[:50])
            self.assertTrue(entry["reasons"])
            self.assertIn("mime", entry["description"])

    def test_bytes(self) -> None:
        """Bytes that are no text, with each step."""
        for body in (b"\xff\xfe" * 1000, b"Subject: \xff{$x}\r\n\r\n\xff{$x}", bytes(range(256)) * 10, b"\r\n\xc3"):
            for step in Mime.steps:
                entry = self.stored(body, **step)
                self.assertIn(entry["type"], ("success", *FINAL))
                self.assertNotIn("the log says how", entry["description"])


class Packed(Case):
    """Jobs with ``content-encoding: gzip``."""

    def refused(self, body: bytes) -> None:
        self.engine.publish(body, "gzip")
        self.net.run(5)
        ((queue, _),) = self.engine.take_all(["results", "invalid"])
        self.assertEqual(queue, "invalid")
        self.test_next()

    def test_next(self) -> None:
        """A packed job is sent."""
        body = json.dumps({"recipient": "b@y.example", "mime": PLAIN}).encode()
        self.assertEqual(self.end_of(gzip.compress(body), "gzip")["type"], "success")

    def test_bomb(self) -> None:
        """What unpacks to more than mail can have is invalid."""
        packer = zlib.compressobj(9, wbits=31)
        block = b"\0" * (1 << 20)
        self.refused(b"".join([*(packer.compress(block) for _ in range(300)), packer.flush()]))

    def test_no_gzip(self) -> None:
        """What is no gzip, cut short or damaged, is invalid."""
        good = gzip.compress(json.dumps({"recipient": "b@y.example", "mime": PLAIN}).encode())
        for body in (b"", b"\x1f\x8b", b"{}", good[:-5], good[:20] + b"\xff" + good[21:]):
            self.refused(body)
