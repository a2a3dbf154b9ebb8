"""The section ``dkim`` of the configuration: read at start, all that is wrong with file, line and key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailerq.content.dkim_rules import DkimRule
from mailerq.settings import Settings, SettingsError, parse
from tests import verifiers

PEM, KEY = verifiers.rsa()
ED_PEM, ED = verifiers.ed25519()
GOOD = {"domain": "example.org", "selector": "s1", "key": PEM}


def configured(*rules: dict[str, Any], **environ: str) -> Settings:
    text = "dkim:\n" + "".join(f"  - {json.dumps(rule)}\n" for rule in rules)
    return parse(text, "m.yaml", environ)


class Read(SynchronousTestCase):
    """What is written is what is read."""

    def test_defaults(self) -> None:
        """What is left out."""
        (rule,) = configured(GOOD).dkim
        self.assertEqual(rule, DkimRule(domain="example.org", selector="s1", key=KEY))

    def test_all(self) -> None:
        """Every key."""
        more = {"expire": "7d", "headers": ["X-A", "feedback-id"], "canonicalization": "simple", "priority": -3}
        rest = {"signing-domain": "ESP.example.", "protocols": ["dkim", "arc"], "report": True}
        (rule,) = configured({**GOOD, **more, **rest}).dkim
        self.assertEqual(
            (rule.expire, rule.headers, rule.canonicalization), (604800.0, ("x-a", "feedback-id"), "simple")
        )
        self.assertEqual((rule.signing_domain, rule.protocols), ("esp.example", ("dkim", "arc")))
        self.assertEqual((rule.report, rule.priority), (True, -3))

    def test_block_of_yaml(self) -> None:
        """A key as people write it into YAML, and from the environment."""
        lines = "".join(f"      {line}\n" for line in PEM.splitlines())
        text = f"dkim:\n  - domain: example.org\n    selector: s1\n    key: |\n{lines}"
        self.assertEqual(parse(text, "m.yaml", {}).dkim[0].key, KEY)
        self.assertEqual(configured({**GOOD, "key": "${KEY}"}, KEY=PEM).dkim[0].key, KEY)

    def test_file(self) -> None:
        """A key from a file, which counts by what is in it."""
        path = Path(self.mktemp())
        path.write_text(ED_PEM)
        rule = {"domain": "example.org", "selector": "s1", "key-file": str(path)}
        before = configured(rule)
        self.assertEqual((before.dkim[0].key, before.dkim[0].key_file), (ED, str(path)))
        path.write_text(PEM)
        self.assertNotEqual(configured(rule), before)

    def test_never_shown(self) -> None:
        """No repr has a key."""
        self.assertNotIn(PEM[60:90], repr(configured(GOOD)))


class Wrong(SynchronousTestCase):
    """What is wrong, all of it."""

    def errors(self, *rules: Any) -> list[str]:
        found = self.assertRaises(SettingsError, configured, *rules).errors
        self.assertNotIn(PEM[60:90], "".join(found))
        return found

    def test_each(self) -> None:
        """Where it is, and what."""
        path = Path(self.mktemp())
        path.write_text("hunter2")
        for change, where, what in (
            ({"domain": "a b"}, "domain", "no name in DNS"),
            ({"domain": "/(/"}, "domain", "no regular expression"),
            ({"domain": "/(.*)*(.*)*x(.*)*(.*)*y/"}, "domain", "too long"),
            ({"selector": "a b"}, "selector", "no name in DNS"),
            ({"key": "hunter2"}, "key", "is no private key"),
            ({"key": PEM[:200]}, "key", "BEGIN and END"),
            ({"key-file": str(path)}, "key-file", "there is a key as well"),
            ({"key-file": str(path), "key": None}, "key-file", "is no private key"),
            ({"key-file": "/nowhere/x.pem", "key": None}, "key-file", "/nowhere/x.pem cannot be read: No such file"),
            ({"key": None}, "key", "is missing"),
            ({"expire": "0s"}, "expire", "more than nothing"),
            ({"headers": ["a b"]}, "headers.0", "no name of a header field"),
            ({"headers": ["Received"]}, "headers.0", "changes on the way"),
            ({"canonicalization": "loose"}, "canonicalization", "none of"),
            ({"priority": "high"}, "priority", "no whole number"),
            ({"protocols": []}, "protocols", "names none"),
            ({"protocols": ["spf"]}, "protocols.0", "none of"),
            ({"protocols": ["arc"], "key": ED_PEM}, "protocols", "needs an RSA key"),
            ({"selecter": "x"}, "selecter", "did you mean"),
        ):
            rule = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
            errors = self.errors(GOOD, rule)
            self.assertTrue(any(f"dkim.1.{where}:" in error and what in error for error in errors), (change, errors))
            self.assertTrue(all(error.startswith("m.yaml:3:") for error in errors), errors)

    def test_all_at_once(self) -> None:
        """Two wrong keys and a missing selector are three errors."""
        self.assertEqual(len(self.errors({**GOOD, "key": "x"}, {"domain": "a.b", "key": "y"})), 3)

    def test_no_mapping(self) -> None:
        """An entry that is none."""
        self.assertIn("must be a mapping", self.errors(5)[0])
