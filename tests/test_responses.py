"""What hosts' answers lead to."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import Outcome, State, Type
from mailerq.bounce_classes import BOUNCE_CLASSES
from mailerq.response_rules import ResponseRule, sentence
from mailerq.responses import SUCCESS, Reaction, Responses
from mailerq.settings import parse
from mailerq.shipped_rules import shipped_rules

SHIPPED = Responses()


def outcome(said: str, state: str = "rcpt to", type: str = "error") -> Outcome:
    """The outcome of an attempt to which a host said this."""
    code, status, text = sentence(said)
    return Outcome(Type(type), State(state), code, status, text)


def rules(text: str) -> tuple[ResponseRule, ...]:
    """The rules of a configuration."""
    return parse(f"responses:\n{text}", "f", {}).responses


def reaction(
    text: str, said: str, domain: str = "a.example", mx: str | None = None, ip: str | None = None, **more: Any
) -> Reaction:
    """What these rules make of an answer."""
    return Responses(rules(text)).reaction(outcome(said, **more), domain, mx, ip)


class Conditions(SynchronousTestCase):
    """What a rule is for."""

    def fires(self, condition: str, said: str, **more: Any) -> bool:
        return reaction(f"- {{{condition}, class: virus}}", said, **more).bounce_class == "virus"

    def test_code(self) -> None:
        """A code, a class of codes, or one of several."""
        for codes, yes, no in (("421", "421 x", "422 x"), ("4xx", "450 x", "550 x"), ("45x", "452 x", "421 x")):
            self.assertTrue(self.fires(f"code: {codes}", yes), codes)
            self.assertFalse(self.fires(f"code: {codes}", no), codes)
        self.assertTrue(self.fires("code: [421, 45x]", "451 x"))
        self.assertFalse(self.fires("code: 4xx", "no code at all"))

    def test_status(self) -> None:
        """An enhanced code, or a pattern; ``x`` stands for its class, as in RFC 3463."""
        self.assertTrue(self.fires("status: 4.7.28", "421 4.7.28 x"))
        self.assertTrue(self.fires("status: '4.7.*'", "421 4.7.28 x"))
        self.assertFalse(self.fires("status: '4.7.*'", "421 4.71.2 x"))
        self.assertTrue(self.fires("status: x.1.1", "550 5.1.1 x"))
        self.assertFalse(self.fires("status: x.1.1", "550 5.1.10 x"))
        self.assertFalse(self.fires("status: '*'", "550 x"))

    def test_text(self) -> None:
        """A part, a wildcard for the whole, a regular expression; capitals do not count; one of several will do."""
        self.assertTrue(self.fires("text: too MANY", "421 Too many of them"))
        self.assertTrue(self.fires("text: '*rate*limit*'", "421 Your rate is over our Limits"))
        self.assertFalse(self.fires("text: 'rate*limit'", "421 Your rate is over our limit"))
        self.assertTrue(self.fires("text: 'your*limit'", "421 Your rate is over our limit"))
        self.assertTrue(self.fires(r"text: '/\bS\d{3,4}\b/'", "550 on our block list (s3140)."))
        self.assertFalse(self.fires(r"text: '/\bS\d{3,4}\b/'", "550 on our block list"))
        self.assertTrue(self.fires("text: [one, two]", "421 two"))
        self.assertTrue(self.fires("text: '[BL21]'", "553 5.7.1 [BL21] x"))

    def test_state_and_type(self) -> None:
        """Which answer was awaited, and what came of it."""
        self.assertTrue(self.fires("state: [data, received]", "554 x", state="received"))
        self.assertFalse(self.fires("state: data", "554 x"))
        self.assertTrue(self.fires("type: noaccess", "554 x", type="noaccess"))
        self.assertTrue(self.fires("type: timeout", "no answer", type="timeout"))
        self.assertFalse(self.fires("type: timeout", "554 x"))

    def test_whose(self) -> None:
        """Recipient's domain, MX host, local address; what is not known is nobody's."""
        self.assertTrue(self.fires("domain: '*.example'", "554 x"))
        self.assertFalse(self.fires("domain: [b.example, c.example]", "554 x"))
        self.assertTrue(self.fires("mx: '*.Google.com'", "554 x", mx="mx1.google.com"))
        self.assertFalse(self.fires("mx: '*'", "554 x"))
        self.assertTrue(self.fires("ip: 192.0.2.*", "554 x", ip="192.0.2.7"))
        self.assertFalse(self.fires("ip: 192.0.2.*", "554 x"))

    def test_all(self) -> None:
        """All conditions of a rule must hold."""
        self.assertFalse(self.fires("code: 554, text: y", "554 x"))
        self.assertFalse(self.fires("code: 550, text: x", "554 x"))

    def test_far_behind(self) -> None:
        """Only the first 1,000 characters are looked at."""
        self.assertTrue(self.fires("text: needle", "554 " + "x" * 990 + "needle"))
        self.assertFalse(self.fires("text: needle", "554 " + "x" * 1000 + "needle"))


class Order(SynchronousTestCase):
    """Which rules fire."""

    def test_first(self) -> None:
        """The first that fits, and nothing after it."""
        found = reaction("- {code: 421, class: virus}\n- {code: 421, class: spam, pause: 1m}", "421 x")
        self.assertEqual((found.rule, found.line, found.bounce_class, found.pause), ("line 2", 2, "virus", None))

    def test_before_shipped(self) -> None:
        """Rules of the user come before the table; one without a class leaves that to the table, and no more."""
        said = "421 4.7.0 mx.example Error: too many connections from 192.0.2.1"
        shipped = SHIPPED.reaction(outcome(said), "a.example", None, None)
        self.assertEqual((shipped.bounce_class, shipped.fewer, shipped.line), ("too-many-connections", True, 0))
        own = reaction("- {code: 421, retry-in: 7m}", said)
        self.assertEqual((own.bounce_class, own.fewer, own.retry_in), ("too-many-connections", False, 420.0))

    def test_continue(self) -> None:
        """After ``continue`` later rules add what is still open."""
        text = """
- {code: 421, set: {a: 1, b: x}, continue: true}
- {text: nothing of this, class: spam}
- {code: 4xx, set: {b: y, c: [true]}, pause: 1m, scope: site, continue: true}
- {code: 4xx, class: virus, pause: 2m, slow: {messages-per-minute: 3}, sticky: false, connections: fewer}
- {code: 4xx, class: spam, fail: true}
"""
        found = reaction(text, "421 x")
        self.assertEqual(found.set, {"a": b"1", "b": b'"x"', "c": b"[true]"})
        self.assertEqual((found.bounce_class, found.fail, found.pause), ("virus", None, 60.0))
        self.assertEqual((found.slow, found.slow_for), ({"messages_per_minute": 3.0}, 3600.0))
        self.assertEqual(found.pause_scope, "site")
        self.assertTrue(found.fewer)

    def test_continue_into_the_table(self) -> None:
        """So does the table."""
        found = reaction("- {code: 421, set: {a: 1}, continue: true}", "421 too many connections")
        self.assertEqual((found.fewer, found.set), (True, {"a": b"1"}))
        self.assertEqual((found.rule, found.line), ("line 2", 2))

    def test_fate_is_of_one_rule(self) -> None:
        """``fail`` and ``retry-in`` are of the same rule: two do not contradict each other."""
        found = reaction("- {code: 421, fail: true, continue: true}\n- {code: 421, retry-in: 1m}", "421 x")
        self.assertEqual((found.fail, found.retry_in), (True, None))


class Classes(SynchronousTestCase):
    """Every failure has a class."""

    def test_success(self) -> None:
        """A success has none, and no rule is for it."""
        found = Responses(rules("- {domain: '*', class: spam}"))
        self.assertIs(found.reaction(outcome("250 2.0.0 ok", "accept", "success"), "a.b", None, None), SUCCESS)
        self.assertEqual(SUCCESS.bounce_class, "")

    def test_without_an_answer(self) -> None:
        """Where no host spoke, the type says it."""
        for type, expected in (
            ("nohosts", "dns"),
            ("bind", "local"),
            ("refused", "network"),
            ("connect", "network"),
            ("noaccess", "network"),
            ("lost", "network"),
            ("timeout", "timeout"),
            ("nodata", "local"),
            ("expired", "expired"),
            ("idle", "network"),
            ("overflow", "protocol"),
            ("tls", "tls"),
            ("responsive", "local"),
        ):
            plain = Outcome(Type(type), description="our own words: too many connections, spam, greylisted")
            self.assertEqual(SHIPPED.reaction(plain, "a.b", None, None).bounce_class, expected, type)
        self.assertEqual(SHIPPED.reaction(Outcome(Type.ERROR), "a.b", None, None).bounce_class, "local")
        self.assertEqual(SHIPPED.reaction(outcome("354 go on"), "a.b", None, None).bounce_class, "protocol")
        self.assertEqual(SHIPPED.reaction(outcome("what?"), "a.b", None, None).bounce_class, "protocol")

    def test_tls(self) -> None:
        """An answer to STARTTLS does not make it anything else."""
        said = outcome("454 4.7.0 TLS not available due to local problem", "starttls", "tls")
        self.assertEqual(SHIPPED.reaction(said, "a.b", None, None).bounce_class, "tls")

    def test_any_code(self) -> None:
        """Whatever the code, in whatever state, there is one that is documented."""
        for code in range(100, 600):
            for state in State:
                for status in (None, f"{code // 100}.9.9"):
                    said = Outcome(Type.ERROR, state, code, status, "x")
                    self.assertIn(SHIPPED.reaction(said, "a.b", None, None).bounce_class, BOUNCE_CLASSES)


class Greeting(SynchronousTestCase):
    """A host that closes the connection with its greeting."""

    def test_fewer(self) -> None:
        """A 421 in place of the greeting asks for fewer connections, whichever rule fires; other codes do not."""
        for text in ("- {code: 421, class: virus}", "- {code: 550, class: spam}"):
            for said in ("421 x", "421 4.7.28 Gmail has detected an unusual rate of email", "421 4.7.0 [TSS04] x"):
                found = reaction(text, said, state="init", type="noaccess")
                self.assertTrue(found.fewer, (text, said))
                self.assertNotEqual(found.bounce_class, "other")
            self.assertFalse(reaction(text, "554 x", state="init", type="noaccess").fewer)
            self.assertFalse(reaction(text, "421 x", state="data").fewer)


class Table(SynchronousTestCase):
    """The table that comes with the program."""

    def test_examples(self) -> None:
        """Each sentence in it fires the rule that it stands beside."""
        wrong = []
        for rule in shipped_rules():
            for said in rule.examples:
                state, type = (rule.states or ("rcpt to",))[0], (rule.types or ("error",))[0]
                fired = SHIPPED.fired(outcome(said, state, type), "a.example", None, None)
                if fired != [rule]:
                    wrong.append(f"{rule.line} {rule.title}: {said[:90]}: {[one.title for one in fired]}")
        self.assertEqual(wrong, [])

    def test_names(self) -> None:
        """Each rule has a name of its own and a class."""
        names = [rule.name for rule in shipped_rules()]
        self.assertEqual(len(set(names)), len(names))
        self.assertEqual([rule.name for rule in shipped_rules() if not rule.name or not rule.bounce_class], [])

    def test_never_final(self) -> None:
        """No rule of it makes anything final; none continues; each asks for an answer or a type."""
        for rule in shipped_rules():
            self.assertIsNot(rule.fail, True, rule.title)
            self.assertFalse(rule.proceed, rule.title)
            self.assertTrue(rule.codes or rule.statuses or rule.types, rule.title)

    def test_rates(self) -> None:
        """A host that says "too fast" is spoken to more slowly; one that has too many connections gets fewer."""
        for rule in shipped_rules():
            if rule.bounce_class == "greylisted":
                self.assertTrue(rule.sticky, rule.title)


class Asked(SynchronousTestCase):
    """When a host says when to come back."""

    def test_hint(self) -> None:
        """It is in the reaction to a temporary answer, beside what the rule says."""
        found = SHIPPED.reaction(outcome("450 4.2.0 Greylisted, try again in 20 minutes"), "a.b", None, None)
        self.assertEqual((found.bounce_class, found.hint, found.sticky), ("greylisted", 1200.0, True))

    def test_not_for_ever(self) -> None:
        """A permanent answer asks for nothing, unless a rule has made it temporary."""
        self.assertIsNone(SHIPPED.reaction(outcome("550 try again in 20 minutes"), "a.b", None, None).hint)
        self.assertEqual(reaction("- {code: 550, fail: false}", "550 try again in 20 minutes").hint, 1200.0)


class Hostile(SynchronousTestCase):
    """Whatever a host says, an answer is found, and soon."""

    @given(st.integers(100, 599) | st.none(), st.text(max_size=2000), st.sampled_from([None, "4.7.1", "5.1.1"]))
    def test_anything(self, code: int | None, text: str, status: str | None) -> None:
        """Never raises, and always has a class."""
        said = Outcome(Type.ERROR, State.RCPT, code, status, text)
        self.assertIn(SHIPPED.reaction(said, text[:20], text[:20], None).bounce_class, BOUNCE_CLASSES)

    def test_time(self) -> None:
        """What is made of the words of the rules themselves, and as long as may be, takes milliseconds."""
        words = " ".join(" ".join(rule.texts) for rule in shipped_rules()).split()
        for text in ("a" * 60000, " ".join(words * 10), *(f"{word} " * 3000 for word in words)):
            for code in (421, 550):
                said = Outcome(Type.ERROR, State.RCPT, code, None, text)
                began = time.process_time()
                SHIPPED.reaction(said, "a.b", None, None)
                self.assertLess(time.process_time() - began, 0.1, text[:50])

    def test_many_statuses(self) -> None:
        """A host that makes up enhanced codes fills no memory."""
        own = Responses()
        for n in range(5000):
            own.reaction(Outcome(Type.ERROR, State.RCPT, 550, f"5.{n % 1000}.{n}", "x"), "a.b", None, None)
        self.assertLess(len(own._kinds), 4097)
