"""The comparison with other mail servers: what of it is arithmetic and text."""

import json
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.compare import chart, table
from benchmarks.compare.figures import Run, over, ratios, spread
from benchmarks.compare.injector import complete, talk
from benchmarks.compare.messages import SENDER, address, jobs, message, recipient
from benchmarks.compare.options import parse
from benchmarks.compare.table import ALONE, INJECTED, Row


def run(round_: int = 1, micros: float = 100.0, beside: float = 0.0, **changed: float) -> Run:
    """A run of 1,000 messages, in half a second; CPU in microseconds a message."""
    fields = {"seconds": 0.5, "injector": 0.0, "sink": 0.02, "memory": 80.0, "memory_beside": 0.0} | changed
    return Run(round=round_, messages=1000, cpu=micros / 1000, beside=beside / 1000, **fields)


class Figures(SynchronousTestCase):
    """Spreads and ratios."""

    def test_spread(self) -> None:
        """The least, the middle and the most, in whatever order they come."""
        self.assertEqual(spread([30.0, 10.0, 20.0]), (10.0, 20.0, 30.0))

    def test_spread_of_two(self) -> None:
        """The middle of two is between them."""
        self.assertEqual(spread([10.0, 20.0]).middle, 15.0)

    def test_spread_of_none(self) -> None:
        """Nothing has no spread."""
        self.assertRaises(ValueError, spread, [])

    def test_a_message(self) -> None:
        """Figures of a run are of one message; the broker is in the whole only."""
        one = run(micros=120.0, beside=80.0)
        self.assertAlmostEqual(one.micros, 120.0)
        self.assertAlmostEqual(one.whole, 200.0)
        self.assertAlmostEqual(one.rate, 2000.0)

    def test_ratio_by_round(self) -> None:
        """A round in which the machine was twice as slow for both changes no ratio."""
        ours = [run(1, 100.0), run(2, 200.0)]
        theirs = [run(1, 500.0), run(2, 1000.0)]
        found = ratios(theirs, ours, lambda one: one.micros)
        assert found is not None
        for value in found:
            self.assertAlmostEqual(value, 5.0)

    def test_ratio_of_common_rounds(self) -> None:
        """A round that only one of them ran does not count."""
        found = ratios([run(2, 300.0), run(3, 9.0)], [run(1, 5.0), run(2, 100.0)], lambda one: one.micros)
        assert found is not None
        self.assertAlmostEqual(found.most, 3.0)

    def test_no_ratio(self) -> None:
        """Without a common round there is no ratio."""
        self.assertIsNone(ratios([run(1)], [], lambda one: one.micros))

    def test_over(self) -> None:
        """The spread of any figure."""
        self.assertEqual(over([run(memory=50.0), run(memory=70.0)], lambda one: one.memory), (50.0, 60.0, 70.0))


class Tables(SynchronousTestCase):
    """Markdown."""

    def rows(self) -> list[Row]:
        ours = Row("mailerq, embedded, 1 process", ALONE, 2000, [run(1), run(2, 140.0)])
        rabbit = Row("mailerq, RabbitMQ, 1 process", ALONE, 2000, [run(1, 90.0, 110.0, memory_beside=130.0)])
        return [ours, rabbit, Row("Postfix", ALONE, 2000, [run(1, 500.0), run(2, 560.0)])]

    def shown(self, rows: list[Row]) -> str:
        return table.tables(rows, {"embedded": rows[0].name})

    def test_is_a_table(self) -> None:
        """Every line of a table has as many cells as its head."""
        lines = [line for line in self.shown(self.rows()).splitlines() if line.startswith("|")]
        self.assertEqual(len(lines), 5)
        self.assertEqual(len({line.count("|") for line in lines}), 1)

    def test_values(self) -> None:
        """Least, middle and most, and how many times ours."""
        line = next(line for line in self.shown(self.rows()).splitlines() if "Postfix" in line)
        self.assertIn("500 / **530** / 560", line)
        self.assertIn("4.0 / **4.5** / 5.0", line)

    def test_broker_beside(self) -> None:
        """The broker has columns of its own, empty for those who have none, and is part of the ratio."""
        shown = self.shown(self.rows())
        self.assertIn("RabbitMQ's CPU beside", shown)
        rabbit = next(line for line in shown.splitlines() if "mailerq, RabbitMQ" in line)
        self.assertIn("110 / **110** / 110", rabbit)
        self.assertTrue(rabbit.endswith("2.0 / **2.0** / 2.0 |"))

    def test_no_broker(self) -> None:
        """Without one there is no such column."""
        self.assertNotIn("RabbitMQ", self.shown([self.rows()[0], self.rows()[2]]))

    def test_failure(self) -> None:
        """One that failed has an empty line, and the reason below."""
        rows = [*self.rows(), Row("Exim", ALONE, 2000, failure="it ended with status 1")]
        self.assertIn("- Exim: it ended with status 1", self.shown(rows))

    def test_all_failed(self) -> None:
        """There is a table even if nobody came to the end."""
        self.assertIn("no way", self.shown([Row("Exim", ALONE, 2000, failure="no way")]))

    def test_ways_and_sizes(self) -> None:
        """Each way and size has a table of its own."""
        rows = [Row("Exim", way, size, [run()]) for size in (2000, 50000) for way in (INJECTED, ALONE)]
        titles = [line for line in self.shown(rows).splitlines() if line.startswith("### ")]
        self.assertEqual(titles[0], "### Inject + deliver, 2,000 bytes a message")
        self.assertEqual(len(set(titles)), 4)

    def test_injector(self) -> None:
        """What the injector used is told, and that nobody is charged with it."""
        self.assertIn("the injector 30 / **30** / 30 µs", self.shown([Row("Exim", INJECTED, 9, [run(injector=0.03)])]))


class Charts(SynchronousTestCase):
    """SVG."""

    def test_is_xml(self) -> None:
        """It is well formed, and names all that have run."""
        rows = [
            Row("mailerq, RabbitMQ, 1 process", ALONE, 2000, [run(beside=50.0)]),
            Row("A & B", ALONE, 2000, [run()]),
            Row("Exim", ALONE, 2000, failure="no"),
        ]
        text = chart.draw(rows)
        ElementTree.fromstring(text)
        self.assertIn("A &amp; B", text)
        self.assertNotIn("Exim", text)

    def test_nothing(self) -> None:
        """Without any run it is a drawing, too."""
        ElementTree.fromstring(chart.draw([]))


class Messages(SynchronousTestCase):
    """The same for all."""

    def test_size(self) -> None:
        """A message has about the size that was asked for."""
        for size in (2000, 50000):
            self.assertTrue(size - 100 < len(message(size)) <= size)

    def test_no_dots(self) -> None:
        """No line begins with a dot, so it goes over SMTP as it is."""
        self.assertNotIn("\r\n.", message(2000))

    def test_domains(self) -> None:
        """Messages are spread evenly; each domain has an address of its own."""
        self.assertEqual([recipient(number, 3).partition("@")[2] for number in (0, 1, 2, 3)], [
            "d0.example", "d1.example", "d2.example", "d0.example",
        ])  # fmt: skip
        self.assertEqual(len({address(number) for number in range(20)}), 20)

    def test_jobs(self) -> None:
        """Jobs have the recipients and the message that the peers get over SMTP."""
        first, second = map(json.loads, jobs(2, 2000, 20))
        self.assertEqual(first, {"envelope": SENDER, "recipient": recipient(0, 20), "mime": message(2000)})
        self.assertEqual(second["recipient"], recipient(1, 20))


class Injector(SynchronousTestCase):
    """What is said to a mail server."""

    def said(self, *replies: bytes) -> list[bytes]:
        script = talk(iter([7]), b"mail\r\n.\r\n", 20)
        said = [next(script)[0]]
        return said + [script.send(reply)[0] for reply in replies]

    def test_pipelined(self) -> None:
        """Where it is offered, the envelope goes in one write."""
        said = self.said(
            b"220 hi\r\n", b"250-x\r\n250 PIPELINING\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n", b"250 ok\r\n"
        )
        envelope = b"MAIL FROM:<%s>\r\nRCPT TO:<u7@d7.example>\r\nDATA\r\n" % SENDER.encode()
        self.assertEqual(said[1:], [b"EHLO injector.example\r\n", envelope, b"mail\r\n.\r\n", b"QUIT\r\n"])

    def test_one_by_one(self) -> None:
        """Elsewhere it waits for each reply."""
        said = self.said(b"220 hi\r\n", b"250 x\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n")
        self.assertEqual([line.split()[0] for line in said[2:]], [b"MAIL", b"RCPT", b"DATA", b"mail"])

    def test_complete(self) -> None:
        """Replies are counted, not lines; half a line is none."""
        self.assertEqual(complete(b""), 0)
        self.assertEqual(complete(b"250-a\r\n250 b\r\n354 go\r\n25"), 2)

    def test_refused(self) -> None:
        """A refusal is an error, with its words."""
        error = self.assertRaises(ValueError, complete, b"250 ok\r\n451 4.3.0 not now\r\n")
        self.assertIn("not now", str(error))


class Options(SynchronousTestCase):
    """The command line."""

    def test_quick(self) -> None:
        """Quick is less of all, but for what is given."""
        quick, usual = parse(["--quick", "--rounds", "5"]), parse([])
        self.assertTrue(quick.count < usual.count and quick.minutes < 4 and usual.minutes < 15)
        self.assertEqual((quick.rounds, usual.rounds), (5, 3))

    def test_positive(self) -> None:
        """A count is at least one."""
        self.patch(__import__("sys"), "stderr", __import__("io").StringIO())
        self.assertRaises(SystemExit, parse, ["--count", "0"])
