"""``mailerq dkim``: a key is made, and what DNS has is compared; and what records are right."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import stat
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailerq.cli import main
from mailerq.content.dkim_record import disagreement, remarks, zone_line
from mailerq.settings import load
from tests import verifiers
from tests.dns import TestDns

PEM, KEY = verifiers.rsa()
ED_PEM, ED = verifiers.ed25519()


def called(*arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main(["dkim", *arguments])
    return status, out.getvalue(), err.getvalue()


def strings(line: str) -> str:
    """The text of a record in a zone file."""
    return "".join(re.findall('"([^"]*)"', line))


class New(SynchronousTestCase):
    """A key is made."""

    def make(self, *arguments: str) -> tuple[Path, str]:
        path = Path(self.mktemp()).resolve()
        status, out, err = called("new", *arguments, "--out", str(path))
        self.assertEqual((status, err), (0, ""))
        return path, out

    def test_rsa(self) -> None:
        """The file is its owner's alone; the record and the configuration that are printed fit it."""
        path, out = self.make("example.org", "--selector", "s2026")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        config = Path(self.mktemp())
        config.write_text(out[out.index("dkim:\n") : out.index("\nWhen the")])
        (rule,) = load(str(config)).dkim
        self.assertEqual(
            (rule.domain, rule.selector, rule.key.bits, rule.key_file), ("example.org", "s2026", 2048, str(path))
        )
        record = out[out.index("s2026._domainkey.example.org. IN TXT") : out.index("\n\nFor the configuration")]
        self.assertEqual(disagreement([strings(record).encode()], rule.key), "")
        self.assertLessEqual(max(map(len, re.findall('"([^"]*)"', record))), 255)
        self.assertNotIn("PRIVATE", out)

    def test_ed25519(self) -> None:
        """The other kind: one short string."""
        path, out = self.make("exämple.org", "--type", "ed25519")
        self.assertIn('mailerq._domainkey.xn--exmple-cua.org. IN TXT "v=DKIM1; k=ed25519; p=', out)
        self.assertIn("BEGIN PRIVATE KEY", path.read_text())

    def test_not_overwritten(self) -> None:
        """A file that is there stays; a folder that is not there is said."""
        path, _ = self.make("example.org", "--type", "ed25519")
        before = path.read_text()
        status, out, err = called("new", "example.org", "--out", str(path))
        self.assertEqual((status, out, path.read_text()), (1, "", before))
        self.assertIn("is there already, and is not overwritten", err)
        self.assertIn("cannot be written", called("new", "example.org", "--out", f"{path}/x")[2])

    def test_wrong_names(self) -> None:
        """What is no domain or selector is refused."""
        for arguments in (("a b",), ("example.org", "--selector", "a;b"), ("example.org", "--bits", "512")):
            self.assertEqual(called("new", *arguments)[0], 2)


class Records(SynchronousTestCase):
    """What DNS may say."""

    def test_right(self) -> None:
        """The record that is printed; with blanks, without v=, with flags; the key as PKCS#1."""
        public: Any = load_der_public_key(KEY.public)
        pkcs1 = base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.PKCS1)).decode()
        p = base64.b64encode(KEY.public).decode()
        for record in (
            KEY.record,
            f"v=DKIM1; p={p}",
            f"p={p}",
            f"v = DKIM1 ; k = rsa;h=sha1:sha256;s=email;t=s; n=note; p={p[:50]} {p[50:]};",
            f"v=DKIM1; k=rsa; p={pkcs1}",
        ):
            self.assertEqual(disagreement([record.encode()], KEY), "", record)
        self.assertEqual(disagreement([ED.record.encode()], ED), "")
        self.assertIn("test", remarks([f"t=y:s; p={p}".encode()]))
        self.assertEqual(remarks([KEY.record.encode()]), "")

    def test_wrong(self) -> None:
        """Each fault has a name."""
        p = base64.b64encode(KEY.public).decode()
        for records, what in (
            ([], "no record"),
            ([KEY.record] * 2, "2 records"),
            ([ED.record], "another kind"),
            ([verifiers.new_key("rsa", 1024)[1].record], "another key"),
            (["v=DKIM1; p="], "revoked"),
            (["v=DKIM1"], "no key"),
            (["v=spf1 -all"], "v=spf1"),
            (["hello"], "none of DKIM"),
            ([f"v=DKIM1; h=sha1; p={p}"], "h=sha1"),
            ([f"v=DKIM1; s=tlsrpt; p={p}"], "s=tlsrpt"),
            (["p=***"], "no base64"),
            (["p=AAAA"], "cannot be read"),
        ):
            self.assertIn(what, disagreement([record.encode() for record in records], KEY))

    def test_zone_line(self) -> None:
        """Strings of at most 255 bytes that give the record together."""
        line = zone_line("s._domainkey.x.y", KEY.record)
        self.assertEqual(strings(line), KEY.record)

    @given(st.lists(st.binary(max_size=80), max_size=3))
    def test_anything(self, records: list[bytes]) -> None:
        """Whatever DNS says, something is wrong with it, and what can be said."""
        self.assertTrue(disagreement(records, KEY))
        for record in records:
            remarks([record])


class Check(SynchronousTestCase):
    """Which keys agree, with a DNS that is played."""

    RULES = (
        {"domain": "example.org", "selector": "s1", "key": PEM},
        {"domain": "*.clients.example", "selector": "s2", "key": ED_PEM},
        {"domain": "*", "selector": "s3", "key": PEM, "signing-domain": "esp.example"},
    )

    def check(self, *arguments: str, **records: str) -> tuple[int, list[str], str]:
        config = Path(self.mktemp())
        config.write_text("\n".join(["dkim:", *(f"  - {json.dumps(rule)}" for rule in self.RULES)]))
        zone = {
            name.replace("_at_", "._domainkey.").replace("__", "."): [text.encode()] for name, text in records.items()
        }
        with patch("mailerq.commands.dkim._asker", lambda settings: lambda name: (zone.get(name, []), "")):
            status, out, err = called("check", "-c", str(config), *arguments)
        return status, [line.removeprefix(f"{config}:") for line in out.splitlines()], err

    def test_all_agree(self) -> None:
        """0; a pattern needs a domain."""
        status, lines, _ = self.check(s1_at_example__org=KEY.record, s3_at_esp__example=KEY.record)
        self.assertEqual(status, 0)
        self.assertEqual(lines[0], "2: s1._domainkey.example.org: agrees (rsa, 2048 bits)")
        self.assertIn("*.clients.example is a pattern", lines[1])
        self.assertIn("s3._domainkey.esp.example: agrees", lines[2])

    def test_one_does_not(self) -> None:
        """1, and which, and why."""
        status, lines, _ = self.check(s1_at_example__org=KEY.record, s3_at_esp__example=ED.record)
        self.assertEqual(status, 1)
        self.assertIn("s3._domainkey.esp.example: the record is for a key of another kind", lines[2])

    def test_domain(self) -> None:
        """Of one domain: the keys that sign its mail, patterns too."""
        zone = {"s2_at_a__clients__example": ED.record, "s3_at_esp__example": KEY.record}
        status, lines, _ = self.check("a.clients.example", **zone)
        self.assertEqual((status, len(lines)), (0, 2))
        self.assertIn("s2._domainkey.a.clients.example: agrees (ed25519, 256 bits)", lines[0])

    def test_none(self) -> None:
        """No key at all is an error."""
        config = Path(self.mktemp())
        config.write_text("")
        status, _, err = called("check", "-c", str(config))
        self.assertEqual(status, 1)
        self.assertIn("there is no key in the configuration", err)


class Asked(TestCase):
    """A real question to a server."""

    async def test_dns(self) -> None:
        """The servers of the configuration are asked; no answer is no agreement."""
        server = TestDns(reactor)
        port = server.listen()
        self.addCleanup(server.stop)
        half = KEY.record[:200], KEY.record[200:]
        server.zone["s1._domainkey.example.org"] = [f'TXT "{half[0]}" "{half[1]}"']
        server.zone["s3._domainkey.example.org"] = ["SERVFAIL"]
        config = Path(self.mktemp())
        rules = [{"domain": "example.org", "selector": f"s{number}", "key": PEM} for number in (1, 2, 3)]
        config.write_text(json.dumps({"dns": {"servers": [f"127.0.0.1:{port}"], "timeout": "2s"}, "dkim": rules}))
        status, out, err = await deferToThread(called, "check", "-c", str(config))
        self.assertEqual((status, err), (1, ""))
        lines = out.splitlines()
        self.assertIn("s1._domainkey.example.org: agrees", lines[0])
        self.assertIn("s2._domainkey.example.org: there is no record", lines[1])
        self.assertIn("s3._domainkey.example.org: DNS has no answer", lines[2])
