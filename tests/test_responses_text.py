"""What is said of a rule, and of an answer."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import Outcome, State, Type
from mailerq.response_rules import ResponseRule, sentence
from mailerq.responses import Responses
from mailerq.responses_text import actions, conditions, duration, explained
from mailerq.settings import Delivery, parse

NOW = 1_700_000_000.0
ALL = """responses:
- {name: all of it, code: [421, 4xx], status: x.7.1, text: "a*b", state: data, type: error, domain: x.y, mx: "*.m",
   ip: "1.*", class: spam, retry-in: 90s, pause: 10m, slow: {messages-per-minute: 60, max-connections: 2}, for: 2h,
   scope: site, connections: fewer, set: {a: 1}, continue: true}
- {code: 4xx, sticky: true}
- {code: 500, fail: true}
"""


def rules(text: str) -> tuple[ResponseRule, ...]:
    return parse(text, "f.yaml", {}).responses


def said(reply: str, text: str = "responses: []", type: str = "error") -> list[str]:
    """What is explained of an answer."""
    code, status, words = sentence(reply)
    outcome = Outcome(Type(type), State.DATA, code, status, words)
    return explained(Responses(rules(text)), outcome, ("x.y", "mx.m", "1.2.3.4"), Delivery(), NOW, source="f.yaml")


class Words(SynchronousTestCase):
    """In words."""

    def test_rule(self) -> None:
        """For whom, and what."""
        first, second, third = rules(ALL)
        self.assertEqual(
            conditions(first),
            "code 421 or 4xx, status x.7.1, text 'a*b', state data, type error, domain x.y, mx *.m, ip 1.*",
        )
        self.assertEqual(
            actions(first),
            "spam, retry in 90s, pause site 10m, slow site for 2h (messages-per-minute 60, max-connections 2), "
            "fewer connections, set a, go on",
        )
        self.assertEqual((actions(second), actions(third)), ("greylisted, same address", "final"))

    def test_answer(self) -> None:
        """The rules that fire with their places, the class, the fate, the site."""
        self.assertEqual(
            said("421 4.7.1 a and b", ALL),
            [
                "rule:   all of it (f.yaml:2)",
                "  for:   " + conditions(rules(ALL)[0]),
                "then:   line 5 (f.yaml:5)",
                "  for:   code 4xx",
                "class:  spam",
                "job:    tried again in 90s, at 2023-11-14 22:14:50 (a fresh job)",
                "site:   the whole site is paused for 10m",
                "site:   the whole site is slowed for 2h: messages-per-minute 60, max-connections 2",
                "site:   fewer connections, then gradually more",
                "site:   the next attempt leaves from the same local address",
                "site:   the result gets a: 1",
            ],
        )

    def test_shipped(self) -> None:
        """A rule of the table has its sentence beside it."""
        lines = said("450 4.2.0 Greylisted, try again in 20 minutes")
        self.assertIn("shipped, responses.yaml:", lines[0])
        self.assertTrue(lines[2].startswith("  as in: 450 4.2.0 "), lines[2])
        self.assertIn("tried again in 20m, at 2023-11-14 22:33:20 (a fresh job); the host asks for 20m", lines[4])

    def test_ends(self) -> None:
        """Final, delivered, idle."""
        self.assertIn("job:    final, it is not tried again", said("500 x", ALL))
        self.assertEqual(said("250 ok", ALL, "success"), ["no rule: the mail was delivered"])
        self.assertIn("job:    goes at once over another connection", said("421 x", type="idle"))

    def test_duration(self) -> None:
        """As the configuration writes times."""
        for seconds, text in ((5, "5s"), (60, "1m"), (90, "90s"), (601, "10m1s"), (3600, "1h"), (5400, "1h30m")):
            self.assertEqual(duration(seconds), text)
