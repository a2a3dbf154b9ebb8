"""How rules for answers are written, and what is refused."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import State, Type
from mailerq.patterns import matches
from mailerq.properties import Known
from mailerq.response_rules import RESERVED, STATES, TYPES, ResponseRule, sentence
from mailerq.settings import SettingsError, parse


def rules(text: str) -> tuple[ResponseRule, ...]:
    return parse(f"responses:\n{text}", "f", {}).responses


def refused(text: str) -> list[str]:
    """What is wrong with these rules."""
    try:
        rules(text)
    except SettingsError as error:
        return [said.replace("\u2018", "'").replace("\u2019", "'") for said in error.errors]
    return []


class Written(SynchronousTestCase):
    """What is written is what is read."""

    def test_all_keys(self) -> None:
        """Every key, once."""
        text = """
  - name: all of it
    code: [421, 45x]
    status: x.7.1
    text: ["part", "/S[0-9]+/"]
    state: [rcpt to, data]
    type: error
    domain: Example.ORG.
    mx: ["*.a.example", b.example]
    ip: 2001:DB8::*
    class: greylisted
    fail: false
    retry-in: 5m
    pause: 1h30m
    slow: {messages-per-minute: 600/h, max-connections: 2, bytes-per-minute: 1MB}
    for: 2h
    scope: site
    connections: fewer
    sticky: true
    set: {a: 1, b: "1", c: [yes, true, null, 1.50], d: {e: x}, f: 010}
    continue: true
    example: "451 4.7.1 one part of it"
"""
        (rule,) = rules(text)
        self.assertEqual((rule.line, rule.title, rule.codes), (3, "all of it", ("421", "45x")))
        self.assertEqual((rule.statuses, rule.texts), (("[245].7.1",), ("part", "/S[0-9]+/")))
        self.assertEqual((rule.states, rule.types), (("rcpt to", "data"), ("error",)))
        self.assertEqual((rule.domains, rule.mx), (("example.org",), ("*.a.example", "b.example")))
        self.assertEqual(rule.ips, ("2001:db8::*",))
        self.assertEqual((rule.bounce_class, rule.fail, rule.retry_in), ("greylisted", False, 300.0))
        self.assertEqual((rule.pause, rule.slow_for, rule.scope), (5400.0, 7200.0, "site"))
        slow = {"messages_per_minute": 10.0, "max_connections": 2, "bytes_per_minute": 1_000_000.0}
        self.assertEqual(rule.slow, slow)
        self.assertEqual((rule.fewer, rule.sticky, rule.proceed), (True, True, True))
        properties = {"a": b"1", "b": b'"1"', "c": b'["yes", true, null, 1.5]', "d": b'{"e": "x"}', "f": b'"010"'}
        self.assertEqual(rule.set, properties)

    def test_equal(self) -> None:
        """A rule is the same wherever it stands."""
        self.assertEqual(rules("  - {code: 421, pause: 1m}"), rules("\n\n  - {code: 421, pause: 1m}"))

    def test_sticky_is_greylisted(self) -> None:
        """``sticky`` is for greylisting, and says so in the class."""
        self.assertEqual(rules("  - {code: 421, sticky: true}")[0].bounce_class, "greylisted")

    def test_words(self) -> None:
        """Types, states and properties are those of the contract."""
        self.assertEqual(set(TYPES), {str(type) for type in Type} - {"success"})
        self.assertEqual(STATES, tuple(str(state) for state in State))
        self.assertEqual(RESERVED, {*Known.__struct_fields__, "domain"})

    def test_sentence(self) -> None:
        """An answer as people write it down."""
        self.assertEqual(sentence("421 4.7.0 [TS] x"), (421, "4.7.0", "[TS] x"))
        self.assertEqual(sentence("421-4.7.0 x"), (421, "4.7.0", "x"))
        self.assertEqual(sentence("550 x"), (550, None, "x"))
        self.assertEqual(sentence("550 4.7.0 x"), (550, None, "4.7.0 x"))
        self.assertEqual(sentence("550"), (550, None, ""))
        self.assertEqual(sentence("no code"), (None, None, "no code"))


class Refused(SynchronousTestCase):
    """What is wrong is said with line, column and key."""

    def test_values(self) -> None:
        """What a key cannot be."""
        for given, error in (
            ("code: 600, fail: true", "f:2:12: responses.0.code: '600' is no SMTP code"),
            ("code: x21, fail: true", "f:2:12: responses.0.code: 'x21' is no SMTP code"),
            ("status: 4.7, fial: true", "f:2:19: responses.0.fial: unknown key (did you mean 'fail'?)"),
            ("status: hello, fail: true", "f:2:14: responses.0.status: 'hello' is no enhanced code"),
            ("text: '/(a/', fail: true", "f:2:12: responses.0.text: is no regular expression: missing ), unter"),
            ("text: '/(a+)+b/', fail: true", "f:2:12: responses.0.text: takes too long"),
            ("text: '*', fail: true", "f:2:12: responses.0.text: matches every text"),
            ("text: [], fail: true", "f:2:12: responses.0.text: names none"),
            ("state: rcpt, fail: true", "f:2:13: responses.0.state: 'rcpt' is none of"),
            ("type: success, pause: 1m", "f:2:12: responses.0.type: 'success' is none of"),
            ("code: 421, class: grey", "f:2:24: responses.0.class: 'grey' is none of"),
            ("code: 421, retry-in: 5", "f:2:27: responses.0.retry-in: a time needs its unit"),
            ("code: 421, slow: {max-conections: 2}", "f:2:24: responses.0.slow.max-conections: unknown key (did you"),
            ("code: 421, connections: more", "f:2:30: responses.0.connections: 'more' is none of fewer"),
            ("code: 421, set: {results: 1}", "f:2:23: responses.0.set.results: has a meaning of its own"),
            ("code: 421, fail: ~", "f:2:23: responses.0.fail: cannot be null"),
        ):
            (said,) = refused(f"  - {{{given}}}")
            self.assertEqual(said[: len(error)].replace("unter", ""), error.replace("unter", ""), given)

    def test_contradictions(self) -> None:
        """What does not go together."""
        for given, error in (
            ("fail: true", "f:2:5: responses.0: must say which replies it is for"),
            ("code: 421", "f:2:5: responses.0: does nothing"),
            ("code: 421, name: x, continue: true", "f:2:5: responses.0: does nothing"),
            ("code: 421, fail: true, retry-in: 5m", "f:2:29: responses.0.retry-in: has no use with fail: true"),
            ("code: 421, fail: true, sticky: true", "f:2:29: responses.0.sticky: has no use with fail: true"),
            ("code: 421, sticky: true, class: spam", "f:2:31: responses.0.class: must be greylisted"),
            ("code: 421, pause: 1m, for: 1h", "f:2:28: responses.0.for: says how long slow holds"),
            ("code: 421, fail: true, scope: site", "f:2:29: responses.0.scope: says for whom pause"),
            ("code: 421, fail: true, example: 450 x", "f:2:29: responses.0.example: '450 x' does not fit this rule"),
        ):
            (said,) = refused(f"  - {{{given}}}")
            self.assertTrue(said.startswith(error), said)

    def test_all_at_once(self) -> None:
        """All errors of all rules."""
        self.assertEqual(len(refused("  - {code: 9, status: z}\n  - {text: /(/, pause: 0}\n  - 421")), 5)


class Patterns(SynchronousTestCase):
    """Patterns for texts."""

    def test_wildcards(self) -> None:
        """``*`` is anything, for the whole text; nothing else is special."""
        for pattern, yes, no in (
            ("a*b", ("ab", "a-b", "abab"), ("a", "ab.", "xab")),
            ("*a*b*", ("ab", "xaxbx", "aab"), ("ba", "a")),
            ("aa*a", ("aaa", "aa-a"), ("aa", "a")),
            ("*[a]?", ("[a]?", "x[a]?"), ("a?", "ab")),
            ("a**b", ("ab", "a b"), ("a",)),
        ):
            for text in yes:
                self.assertTrue(matches([pattern], text), (pattern, text))
            for text in no:
                self.assertFalse(matches([pattern], text), (pattern, text))
