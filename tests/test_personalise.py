"""Messages that are filled in."""

from __future__ import annotations

import base64
import email
import json
import subprocess
import sys
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import Type
from mailerq.content.chain import take
from mailerq.content.personalise import Personalise
from mailerq.content.step import ContentError, Occasion
from mailerq.content.steps import make_chain
from mailerq.job import Job, read
from mailerq.settings import Settings

STEP = Personalise()
DATA = {
    "name": "Joe",
    "wide": "Jürgen €",
    "lines": "a\nb\r\nc",
    "first-name": "Jo",
    "list": ["x", "y"],
    "long": "x" * 2000,
}


def job_of(data: Any, **more: Any) -> Job:
    job = read(
        json.dumps({"recipient": "bob@x.example", "envelope": "me@y.example", "mime": "", "data": data} | more).encode()
    )
    assert isinstance(job, Job) and job.problem is None, job
    return job


def fill(message: bytes | str, data: Any = None, eight_bit: bool = True) -> bytes:
    given_ = message.encode() if isinstance(message, str) else message
    return STEP.apply(given_, job_of(DATA if data is None else data), Occasion(0.0, eight_bit))


def parsed(message: bytes | str, data: Any = None, **more: Any) -> EmailMessage:
    return email.message_from_bytes(fill(message, data, **more), policy=policy.default)  # type: ignore[return-value]


def crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


class Asked(SynchronousTestCase):
    """Who is asked for."""

    def test_wanted(self) -> None:
        """A job without data, or with none in them, is not personalised; it stays plain."""
        self.assertTrue(STEP.wanted(job_of({"a": 1}), False))
        self.assertFalse(STEP.wanted(job_of({}), False))
        self.assertTrue(job_of({}).plain)
        without = read(b'{"recipient": "a@b.example", "mime": "{$a}"}')
        assert isinstance(without, Job)
        self.assertFalse(STEP.wanted(without, False))

    def test_in_chain(self) -> None:
        """It is a step of the chain."""
        job = job_of({"a": 1})
        steps = make_chain(Settings()).steps_for(job, False)
        self.assertEqual(take(steps, b"Subject: {$a}\r\n\r\n{$a}", job, Occasion(0.0)), b"Subject: 1\r\n\r\n1")

    def test_wrong_shape(self) -> None:
        """Data that are no object are named when the job is read."""
        for data in ([1], "x", 3):
            job = read(json.dumps({"recipient": "a@b.example", "mime": "", "data": data}).encode())
            self.assertIn("data: ", str(job.problem))  # type: ignore[union-attr]

    def test_not_installed(self) -> None:
        """Without Jinja2 it is said what to install."""
        import jinja2

        self.addCleanup(sys.modules.__setitem__, "jinja2", jinja2)
        sys.modules["jinja2"] = None  # type: ignore[assignment]
        error = self.assertRaises(ContentError, Personalise().apply, b"{$a}", job_of({"a": 1}), Occasion(0.0))
        self.assertIn("pip install 'mailerq[content]'", error.what)

    def test_light(self) -> None:
        """To import it does not import Jinja2."""
        code = "import sys, mailerq.content.steps, mailerq.content.template; sys.exit('jinja2' in sys.modules)"
        run = subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parent.parent, capture_output=True, check=False
        )
        self.assertEqual((run.returncode, run.stderr), (0, b""))


class Variables(SynchronousTestCase):
    """What can be filled in."""

    def test_predefined(self) -> None:
        """The envelope and the recipient are there, unless the data have others."""
        self.assertEqual(fill("\r\n{$envelope} {$recipient}"), b"\r\nme@y.example bob@x.example")
        self.assertEqual(fill("\r\n{$recipient.id}", {"recipient": {"id": 7}}), b"\r\n7")

    def test_dashes(self) -> None:
        """A name with - is written with _; a name that has _ itself goes first."""
        self.assertEqual(fill("\r\n{$first_name}"), b"\r\nJo")
        self.assertEqual(fill("\r\n{$a_b}", {"a-b": 1, "a_b": 2}), b"\r\n2")

    def test_no_template_in_values(self) -> None:
        """What looks like a template in a value is none."""
        self.assertEqual(
            fill("Subject: {$a}\r\n\r\n{$a}", {"a": "{$b}{if}", "b": 1}), b"Subject: {$b}{if}\r\n\r\n{$b}{if}"
        )

    def test_each_for_itself(self) -> None:
        """What a text assigns is not known in another."""
        self.assertEqual(fill("Subject: {$a=1}x{$a}\r\n\r\n{$a}y"), b"Subject: x1\r\n\r\ny")


class Fields(SynchronousTestCase):
    """The header."""

    def test_which(self) -> None:
        """Subject, From, To, Cc and Reply-To are filled in, and no other field."""
        names = ("From", "To", "Cc", "Reply-To")
        head = "".join(f"{name}: {{$name}} <{{$recipient}}>\r\n" for name in names)
        done = fill(f"{head}subject: Hi {{$name}}\r\nX-Other: {{$name}}\r\n\r\n")
        self.assertEqual(
            done.decode(),
            "".join(f"{name}: Joe <bob@x.example>\r\n" for name in names)
            + "subject: Hi Joe\r\nX-Other: {$name}\r\n\r\n",
        )

    def test_untouched(self) -> None:
        """Fields without a template stay as they are, byte for byte, however odd."""
        head = b"Subject:  =?utf-8?q?J=C3=BC?=\t{ x } \r\n =?x?b?!?=\nFrom: a b c\r\nTo: \xff\xfe{}\r\n"
        self.assertEqual(fill(head + b"\r\n{$name}"), head + b"\r\nJoe")

    def test_encoded(self) -> None:
        """Templates in encoded words are found, and what is not ASCII becomes encoded words."""
        done = fill("Subject: =?utf-8?Q?J=C3=BC_{$name}?= =?iso-8859-1?b?IPwge30=?=\r\n\r\n")
        self.assertTrue(done.isascii())
        self.assertEqual(parsed(done)["Subject"], "Jü Joe ü {}")
        self.assertEqual(parsed("Subject: =?utf-8?B?eyRu?= =?utf-8?B?YW1lfQ==?=\r\n\r\n")["Subject"], "Joe")
        self.assertEqual(parsed("Subject: {$wide} {$name}\r\n\r\n")["Subject"], "Jürgen € Joe")

    def test_long(self) -> None:
        """A long value is folded, and no line is longer than it may be."""
        data = {"a": "word " * 300, "b": "ü€" * 500, "c": "x" * 3000}
        for name, value in data.items():
            done = fill(f"Subject: {{${name}}}\r\n\r\n", data)
            self.assertLess(max(map(len, done.split(b"\r\n"))), 999)
            self.assertEqual(parsed(done)["Subject"].replace(" ", ""), value.replace(" ", ""))

    def test_injection(self) -> None:
        """No value makes another field, or ends the header."""
        for bad in (
            "a\r\nBcc: evil@z.example",
            "a\nX: y",
            "a\rX: y",
            "a\r\n\r\nbody",
            "\0a\x0b\x0c\x85b\u2028c",
            "=?utf-8?q?=0D=0AX:_y?=",
        ):
            done = fill(
                'Subject: {$bad}\r\nFrom: "{$bad}" <a@b.example>\r\nTo: {$bad} <c@d.example>\r\n'
                "Cc: =?utf-8?q?{$bad}?= <e@f.example>\r\n\r\nbody",
                {"bad": bad},
            )
            self.assertTrue(done.isascii())
            head, _, body = done.partition(b"\r\n\r\n")
            self.assertEqual(body, b"body")
            names = [line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1] != b" "]
            self.assertEqual(names, [b"Subject", b"From", b"To", b"Cc"])
            message = parsed(done)
            self.assertEqual([a.addr_spec for a in message["From"].addresses], ["a@b.example"])
            self.assertEqual([a.addr_spec for a in message["To"].addresses], ["c@d.example"])
            self.assertEqual([a.addr_spec for a in message["Cc"].addresses], ["e@f.example"])

    def test_names(self) -> None:
        """What a value says is one name, whatever signs are in it."""
        for name in (
            "Doe, Joe",
            "<x@y.example>",
            'a "b" c',
            "a\\",
            "a (b)",
            "a; b: c",
            "Jürgen, €",
            "a@b",
            "x>",
            'é\\"<,',
        ):
            for form in ("{$n} <a@b.example>", '"{$n}" <a@b.example>', "=?utf-8?q?{$n}?= <a@b.example>"):
                addresses = parsed(f"To: {form}\r\n\r\n", {"n": name})["To"].addresses
                self.assertEqual([(a.display_name, a.addr_spec) for a in addresses], [(name, "a@b.example")], form)

    def test_addresses(self) -> None:
        """A value may be an address, or all that stands between two commas."""
        data = {
            "a": "a@b.example",
            "full": '"Doe, J." <c@d.example>',
            "many": "a@b.example, Jü <c@d.example>",
            "l": ["x@y.example", "z@y.example"],
        }
        for text, expected in (
            ("{$a}", ["a@b.example"]),
            ("<{$a}>", ["a@b.example"]),
            ("{$full}, X <{$a}>", ["c@d.example", "a@b.example"]),
            ("{$many}", ["a@b.example", "c@d.example"]),
            ("{foreach $x in $l}{$x}, {/foreach}", ["x@y.example", "z@y.example"]),
            ("{if $a}Me <{$a}>{else}other@z.example{/if}", ["a@b.example"]),
        ):
            addresses = parsed(f"To: {text}\r\n\r\n", data)["To"].addresses
            self.assertEqual([a.addr_spec for a in addresses], expected, text)

    def test_no_address(self) -> None:
        """What is no address is said; a field without any is left out, but From."""
        for value in ("x", "a@b@c", "a b@c.example", "<a@b.example", "a@b.example>", "(x)"):
            error = self.assertRaises(ContentError, fill, "To: {$v}\r\n\r\n", {"v": value})
            self.assertEqual(error.type, Type.RESPONSIVE)
            self.assertIn("is no address", error.reasons[0])
        self.assertEqual(fill("To: {$v}\r\nSubject: x\r\n\r\n", {"v": ""}), b"Subject: x\r\n\r\n")
        error = self.assertRaises(ContentError, fill, "From: {$v}\r\n\r\n", {"v": ""})
        self.assertEqual(error.reasons, ("From: has no address",))

    def test_in_value_no_list(self) -> None:
        """Where a value is a name or an address among others, it adds none."""
        error = self.assertRaises(ContentError, fill, "To: X <{$v}>\r\n\r\n", {"v": "a@b.example>, <c@d.example"})
        self.assertIn("is no address", error.reasons[0])


class Parts(SynchronousTestCase):
    """The body."""

    def test_simple(self) -> None:
        """A message of one text, with whatever line ends, and without a header."""
        for end in ("\r\n", "\n", "\r"):
            message = "Subject: x\nA: b\n\nHi {$name},\n{$lines}\n".replace("\n", end)
            self.assertEqual(fill(message).decode(), "Subject: x\nA: b\n\nHi Joe,\na\nb\nc\n".replace("\n", end))
        self.assertEqual(fill("no header {$name}"), b"no header Joe")

    def test_transfer_encodings(self) -> None:
        """Text that is encoded stays so."""
        text = "Hi {$wide}, {if $name == 'Joe'}it is you{/if}\r\n{$long}\r\n"
        for charset in (
            "utf-8",
            "iso-8859-15",
            "windows-1252",
            "utf-16",
            "utf-7",
            "iso-2022-jp",
            "us-ascii",
            "x-unknown",
            "",
        ):
            for encoding in ("base64", "quoted-printable"):
                codec = charset if charset not in ("x-unknown", "") else "ascii"
                message = EmailMessage(policy=policy.SMTP)
                message["Content-Type"] = f"text/html; charset={charset}" if charset else "text/html"
                message["Content-Transfer-Encoding"] = encoding
                content = text.encode(codec)
                if encoding == "base64":
                    message.set_payload(base64.encodebytes(content).decode())
                else:
                    message.set_payload("".join(f"={byte:02X}" for byte in content))
                done = parsed(message.as_bytes())
                self.assertEqual(done.get_content_type(), "text/html")
                self.assertEqual(
                    done.get_content().replace("\r\n", "\n").rstrip(),
                    f"Hi Jürgen €, it is you\n{DATA['long']}",
                    (charset, encoding),
                )
                self.assertEqual(done["Content-Transfer-Encoding"], "base64" if charset == "utf-16" else encoding)

    def test_charset_kept(self) -> None:
        """A part stays in its charset as long as that has all the characters; then it becomes UTF-8."""
        kind = b'Content-Type: text/plain; format=flowed; charset=iso-8859-1; x="y;z"\r\n'
        message = b"MIME-Version: 1.0\r\n" + kind + b"Content-Transfer-Encoding: 8bit\r\n\r\n\xfc {$v}"
        self.assertTrue(fill(message, {"v": "ü"}).endswith(b"\xfc \xfc"))
        done = fill(message, {"v": "€"})
        self.assertIn(b'Content-Type: text/plain; charset=utf-8; format=flowed; x="y;z"\r\n', done)
        self.assertTrue(done.endswith("\r\n\r\nü €".encode()))

    def test_entities(self) -> None:
        """In HTML a tag may be written with entities, as editors do; all else stays as it is."""
        message = "Content-Type: text/html\r\n\r\n"
        for text, expected in (
            ("{if 2 &gt; 1 &amp;&amp; 1 &lt; 2}a &gt; b{/if}", "a &gt; b"),
            ("{$x|default:&quot;a &gt; 'b'&quot;}", "a > 'b'"),
            ("{$x|default:\"&gt;\"}{$x|default:'&quot;'}", "&gt;&quot;"),
            ("{if&nbsp;$name&#160;==\xa0&#39;Joe&#39;}a{/if}", "a"),
            ("{literal}{if a &gt; b}{/literal}{$x|default:1 +&nbsp;1}", "{if a &gt; b}2"),
            ("{ $a &gt; } &amp;{b &lt;}", "{ $a &gt; } &amp;{b &lt;}"),
        ):
            self.assertEqual(parsed(message + f"{text}{{$name}}").get_content(), f"{expected}Joe", text)
        self.assertRaises(ContentError, fill, "\r\n{if 2 &gt; 1}{/if}")

    def test_undeclared(self) -> None:
        """UTF-8 that does not say so is taken for that, and says so afterwards."""
        done = parsed("\r\n{$x|default:'ü'|toupper}{$name} ä")
        self.assertEqual((done.get_content(), done.get_content_charset()), ("ÜJoe ä", "utf-8"))

    def test_raised(self) -> None:
        """What 7bit cannot say becomes quoted-printable: other characters, long lines."""
        message = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{$v}\r\n"
        for value in ("ü", "x" * 1000, "a\0b"):
            done = fill(message, {"v": value})
            self.assertTrue(done.isascii())
            self.assertLess(max(map(len, done.split(b"\r\n"))), 80)
            self.assertEqual(parsed(done)["content-transfer-encoding"], "quoted-printable")
            self.assertEqual(parsed(done).get_content(), value + "\r\n")
        self.assertNotIn(b"quoted-printable", fill(message, {"v": "x" * 990}))

    def test_eight_bit(self) -> None:
        """8bit stays, unless the host takes none."""
        message = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{$v}"
        self.assertTrue(fill(message, {"v": "ü"}).endswith("ü".encode()))
        self.assertTrue(fill(message, {"v": "ü"}, eight_bit=False).endswith(b"=C3=BC"))

    def test_multipart(self) -> None:
        """Texts are filled in at any depth; all else stays as it is, byte for byte."""
        message = crlf(
            'Subject: {$name}\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="o{$name}"\n\n'
            "preamble {$name}\n--o{$name}  \nContent-Type: multipart/alternative;\n boundary=in\n\n"
            "--in\n\n1 {$name}\n--in\nContent-Type: TEXT/HTML\n\n<b>2 {$name}</b>\n\n--in--\nepilogue {$name}\n"
            "--o{$name}\nContent-Type: text/plain\nContent-Disposition: attachment; filename=x.txt\n\n3 {$name}\n"
            "--o{$name}\nContent-Type: text/plain\nContent-Disposition: inline\n\n4 {$name}\n"
            "--o{$name}\nContent-Type: message/rfc822\n\nSubject: 5 {$name}\n\n{$name}\n"
            "--o{$name}\nContent-Type: application/octet-stream\n\n6 {$name}\n--other\n\n{$name}\n"
            "--o{$name}\nContent-Type: text/calendar\n\n7 {$name}\n"
            "--o{$name}\nContent-Type: multipart/digest; boundary=d\n\n--d\n\n8 {$name}\n--d--\n"
            "--o{$name}--\n9 {$name}"
        )
        expected = message
        for before in ("1 ", "<b>2 ", "4 ", "Subject: "):
            expected = expected.replace(f"{before}{{$name}}", f"{before}Joe", 1)
        self.assertEqual(fill(message).decode(), expected)

    def test_boundary(self) -> None:
        """No value ends a part and begins another."""
        evil = "x\n--in\nContent-Type: text/html\n\n<script>\n--o--\n--in--"
        for encoding in ("7bit", "quoted-printable", "base64"):
            text = "{$v}" if encoding != "base64" else base64.b64encode(b"{$v}").decode()
            message = crlf(
                "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/alternative; boundary=in\n\n"
                f"--in\nContent-Transfer-Encoding: {encoding}\n\n{text}\n--in--\n--o--\n"
            )
            leaves = [part for part in parsed(message, {"v": evil}).walk() if not part.is_multipart()]
            self.assertEqual([leaf.get_content().replace("\r\n", "\n").rstrip() for leaf in leaves], [evil])

    def test_signed(self) -> None:
        """Signed and encrypted parts stay as they are; what is around them is filled in."""
        for kind in ("signed", "encrypted"):
            message = crlf(
                f"Subject: {{$name}}\nContent-Type: multipart/mixed; boundary=o\n\n--o\n\n{{$name}}\n"
                f"--o\nContent-Type: multipart/{kind}; boundary=s\n\n--s\nContent-Type: multipart/mixed; boundary=t\n\n"
                "--t\n\n{$name}\n--t--\n--s--\n--o\n\n{$name}\n--o--\n"
            )
            inner = "--t\r\n\r\n{$name}\r\n--t--"
            expected = message.replace("{$name}", "Joe").replace(inner.replace("{$name}", "Joe"), inner)
            self.assertEqual(fill(message).decode(), expected)

    def test_signed_message(self) -> None:
        """A message that is signed as a whole (DKIM) is an error where there is something to fill in."""
        signed = "DKIM-Signature: v=1\r\nSubject: x\r\n\r\n"
        self.assertEqual(fill(signed + "{ }"), (signed + "{ }").encode())
        error = self.assertRaises(ContentError, fill, signed + "{$name}")
        self.assertIn("signed already", error.reasons[0])

    def test_nothing_to_do(self) -> None:
        """A message without templates comes back as it was."""
        message = b"Subject: =?utf-8?q?a?=\nContent-Type: text/html\n\n<style>p { color: red }</style>\xff{{x}}\r\n"
        self.assertIs(fill(message), message)

    def test_unreadable(self) -> None:
        """What cannot be decoded stays as it is; bytes that are no characters stay in what can."""
        broken = b"Content-Transfer-Encoding: base64\r\n\r\neyRuYW1lf"
        self.assertEqual(fill(broken), broken)
        odd = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xff\xfe{$name}\xff"
        self.assertTrue(fill(odd).endswith(b"\xff\xfeJoe\xff"))
        strange = b"Content-Transfer-Encoding: x-uuencode\r\n\r\n{$name}"
        self.assertEqual(fill(strange), strange)


class Errors(SynchronousTestCase):
    """What is said of a message that cannot be made."""

    def test_reasons(self) -> None:
        """The property, the text, the line and why; final."""
        for message, reason in (
            ("Subject: {$a|foo}\r\n\r\n", "Subject, line 1: there is no modifier 'foo'"),
            ("\r\n1\r\n2 {if $a}", "text/plain, line 2: {if} without {/if}"),
            ("Content-Type: text/html\r\n\r\n{1 }\r\n\r\n{$a\r\n", "text/html, line 3: a tag has no end"),
            (
                "\r\n{foreach $a in $list}{foreach $list as $b}{$a/0}{/foreach}{/foreach}",
                "text/plain, line 1: division by zero",
            ),
        ):
            error = self.assertRaises(ContentError, fill, message)
            self.assertEqual((error.type, error.passing, error.reasons), (Type.RESPONSIVE, False, (reason,)))
            self.assertIn("data: ", error.what)
            self.assertIn(reason, error.what)

    def test_one_budget(self) -> None:
        """All texts of a message together are bounded."""
        part = "--b\r\n\r\n{foreach $x in $l}{foreach $y in $l}{$x}{/foreach}{/foreach}\r\n"
        message = "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        data = {"l": list(range(200))}
        self.assertEqual(len(parsed(message + part * 3, data).get_payload()), 3)
        error = self.assertRaises(ContentError, fill, message + part * 30, data)
        self.assertIn("takes too long", error.what)

    def test_deep(self) -> None:
        """Parts nested a thousand deep are gone through."""
        message = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n" for n in range(1000))
        self.assertEqual(fill(message + "\r\n{$name}"), (message + "\r\nJoe").encode())

    def test_many(self) -> None:
        """So are many parts, up to a bound."""
        message = "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + "--b\r\n\r\nx\r\n" * 5000
        self.assertEqual(fill(message + "--b\r\n\r\n{$name}"), (message + "--b\r\n\r\nJoe").encode())
        self.assertRaises(ContentError, fill, message * 3)
        lines = "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + "--c\n" * 300_000
        self.assertRaises(ContentError, fill, lines)
        fields = "Subject: {$name}\r\n" * 200
        self.assertRaises(ContentError, fill, fields)
        self.assertRaises(ContentError, fill, f"Subject: {'x' * 200_000}{{$name}}\r\n\r\n")


LINES = st.sampled_from(
    [
        *(
            "Subject: {$a}",
            "From: {$a} <{$b}>",
            "To: {$a}",
            "Content-Type: multipart/mixed; boundary=b",
            "--b",
            "--b--",
        ),
        *(
            "Content-Type: text/html; charset=utf-16",
            'Content-Type: text/plain; charset="',
            "",
            "",
            "{$a}",
            "{if $a}x{/if}",
        ),
        *(
            "Content-Transfer-Encoding: base64",
            "Content-Transfer-Encoding: quoted-printable",
            "eyRhfQ==",
            "=7B$a}",
            " x",
        ),
        *(
            'Content-Type: multipart/signed; boundary="c"',
            "--c",
            "Subject: =?utf-8?b?eyRhfQ==?=",
            "\xff{$a}",
            "Cc: (",
            "--",
        ),
    ]
)


class Fuzz(SynchronousTestCase):
    """Any bytes are a message that is filled in, or an error that says why not."""

    def _filled(self, message: bytes, data: Any) -> None:
        try:
            done = fill(message, data)
        except ContentError as error:
            self.assertTrue(error.what.startswith("data: "), error.what)
            return
        if b"{" not in message and b"=" not in message:
            self.assertEqual(done, message)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(LINES, max_size=20), st.sampled_from(["\r\n", "\n", "\r"]), st.text(max_size=10), st.text(max_size=10)
    )
    def test_lines(self, lines: list[str], end: str, one: str, other: str) -> None:
        """Messages that look like some."""
        self._filled(end.join(lines).encode("latin-1"), {"a": one, "b": other, "x": 1})

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=200), st.binary(max_size=50))
    def test_bytes(self, one: bytes, other: bytes) -> None:
        """And those that do not."""
        self._filled(one + b"{$x}" + other, {"x": 1})
        self._filled(b"Subject:" + one + b"{$x}\r\n" + other, {"x": "\xfc"})
        self._filled(b"Content-Type: text/html; charset=" + one + b"\r\n\r\n{$x}", {"x": "\u20ac"})

    @settings(max_examples=150, deadline=None)
    @given(
        st.text(max_size=30),
        st.sampled_from(["From", "To", "Subject", "Reply-To"]),
        st.text(alphabet=st.sampled_from('a@b.<>,"\\( ={$x}?'), max_size=20),
    )
    def test_no_other_field(self, value: str, name: str, text: str) -> None:
        """Whatever a value is, the header has the fields that it had, or one less."""
        try:
            done = fill(f"{name}: {text}{{$x}}\r\nX-End: 1\r\n\r\nbody", {"x": value})
        except (ContentError, UnicodeEncodeError):
            return
        head, _, body = done.partition(b"\r\n\r\n")
        names = [line.partition(b":")[0] for line in head.splitlines() if line[:1] not in (b" ", b"\t")]
        self.assertIn(names, ([name.encode(), b"X-End"], [b"X-End"]))
        self.assertEqual(body, b"body")
