"""``mailerq rules``: which rule an answer fires and what would follow; all rules."""

from __future__ import annotations

import contextlib
import io
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.cli import main
from mailerq.response_rules import STATES, TYPES
from mailerq.shipped_rules import shipped_rules

RULES = """
responses:
  - {name: told-to-wait, code: 4xx, text: own words, domain: "*.example", retry-in: 7m, pause: 10m, scope: site,
     class: rate-limited, example: 451 4.7.1 in our own words}
  - {code: 450, ip: 192.0.2.*, fail: true, set: {seen-by: [us]}}
  - {code: 450, mx: "*.mail.example", slow: {messages-per-minute: 60}, for: 90m, connections: fewer, continue: true}
  - {code: 550, state: data, fail: false, sticky: true}
"""


class Rules(SynchronousTestCase):
    """Runs the command within this process."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.write_text(RULES)

    def rules(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = main(["rules", "-c", str(self.path), *arguments])
        return status, out.getvalue(), err.getvalue()

    def said(self, *arguments: str) -> str:
        """What it prints about an answer."""
        status, out, err = self.rules("test", *arguments)
        self.assertEqual((status, err), (0, ""), arguments)
        return out


class Tried(Rules):
    """``rules test``."""

    def test_config_at_the_end(self) -> None:
        """The configuration may be named before ``test`` or after all."""
        out = io.StringIO()
        with redirect_stdout(out):
            status = main(["rules", "test", "451 4.7.1 own words", "--domain", "a.example", "-c", str(self.path)])
        self.assertEqual(status, 0)
        self.assertIn(f"told-to-wait ({self.path}:3)", out.getvalue())

    def test_own_rule(self) -> None:
        """A rule of the configuration: its name, its line, what it is for, its sentence, and what follows."""
        said = self.said("451 4.7.1 Their OWN words", "--domain", "A.example.")
        for part in (
            f"told-to-wait ({self.path}:3)",
            "code 4xx, text 'own words', domain *.example",
            "451 4.7.1 in our own words",
            "rate-limited",
            "tried again in 7m",
            "the whole site is paused for 10m",
        ):
            self.assertIn(part, said)

    def test_shipped_rule(self) -> None:
        """A rule of the table: its name and its line there, and its sentence."""
        said = self.said("451 4.7.1 Their own words", "--domain", "elsewhere.invalid")
        (rule,) = [rule for rule in shipped_rules() if f"{rule.title} (shipped, responses.yaml:{rule.line})" in said]
        self.assertIn(f"class:  {rule.bounce_class}", said)
        self.assertIn("tried again in 10m", said)

    def test_whom(self) -> None:
        """Local address, MX host, state and type are looked at."""
        final = self.said("450 x", "--ip", "192.0.2.9")
        self.assertIn("final, it is not tried again", final)
        self.assertIn('the result gets seen-by: ["us"]', final)
        slowed = self.said("450 x", "--mx", "MX1.mail.example")
        self.assertIn("slowed for 1h30m: messages-per-minute 60", slowed)
        self.assertIn("fewer connections", slowed)
        self.assertIn("then:", slowed)  # the rule says ``continue``
        again = self.said("550 5.1.1 x", "--state", "data")
        self.assertIn("tried again in 10m", again)
        self.assertIn("same local address", again)
        self.assertIn("final", self.said("550 5.1.1 x"))
        self.assertIn("class:  timeout", self.said("", "--type", "timeout"))

    def test_before_the_talk(self) -> None:
        """A refusal in the greeting is no access, which no code makes final."""
        self.assertIn("tried again in", self.said("554 go away", "--state", "init"))

    def test_hint(self) -> None:
        """What the host asks for is told."""
        said = self.said("450 4.2.0 please try again in 20 minutes", "--domain", "b.invalid")
        self.assertIn("20m", said)

    def test_success(self) -> None:
        """There are no rules for a success."""
        self.assertIn("delivered", self.said("250 2.0.0 ok"))

    def test_unreadable(self) -> None:
        """What is no answer is a clear error."""
        for reply in ("", "hello", "4x1 hello", "4511 x", "999 x", "٤٥١ x"):
            status, out, err = self.rules("test", reply)
            self.assertEqual((status, out), (1, ""), reply)
            self.assertIn("an answer begins with its code", err)

    @given(
        st.text(max_size=300) | st.from_regex(r"[2-5][0-9]{2}[ -]([245]\.[0-9]\.[0-9]{1,3} )?.{0,300}"),
        st.sampled_from(STATES) | st.none(),
        st.sampled_from(TYPES) | st.none(),
        st.text(max_size=20),
    )
    @example("451 \x00\n250 ok\r\n", None, None, "\udcff")
    @example("451 \udcff\ud83d", "init", "noaccess", "")
    def test_anything(self, reply: str, state: str | None, type: str | None, name: str) -> None:
        """Whatever is given, there is an answer or an error in words, and soon."""
        more = [f"--state={state}"] * (state is not None) + [f"--type={type}"] * (type is not None)
        began = time.process_time()
        status, out, err = self.rules("test", f"--domain={name}", f"--mx={name}", f"--ip={name}", *more, "--", reply)
        self.assertLess(time.process_time() - began, 5.0)
        self.assertIn(status, (0, 1))
        self.assertNotIn("unexpected", err)
        self.assertNotEqual(out + err, "")


class Listed(Rules):
    """``rules list``."""

    def test_all(self) -> None:
        """All rules in their order: those of the configuration first, each with its place."""
        status, out, err = self.rules("list")
        self.assertEqual((status, err), (0, ""))
        lines = [line for line in out.splitlines() if not line.startswith(" ")]
        self.assertEqual(len(lines), 4 + len(shipped_rules()))
        self.assertIn(f"{self.path}:3", lines[0])
        for line, rule in zip(lines[4:], shipped_rules(), strict=True):
            self.assertIn(f"responses.yaml:{rule.line}", line)

    def test_own(self) -> None:
        """``--own``: those of the configuration alone."""
        _, out, _ = self.rules("list", "--own")
        self.assertEqual(len([line for line in out.splitlines() if not line.startswith(" ")]), 4)

    def test_wrong_configuration(self) -> None:
        """A rule that is wrong is told with its place."""
        self.path.write_text("responses:\n  - {code: 421, fial: true}\n")
        status, out, err = self.rules("list")
        self.assertEqual((status, out), (1, ""))
        self.assertIn(f"{self.path}:2:17: responses.0.fial: unknown key", err)

    def test_wrong_call(self) -> None:
        """Anything else than test and list is a wrong call."""
        for arguments in ((), ("try",), ("test",), ("test", "451 x", "--state", "nowhere")):
            with contextlib.suppress(SystemExit):
                self.assertEqual(self.rules(*arguments)[0], 2, arguments)
