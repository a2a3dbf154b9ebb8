"""What is said of sites, jobs and pauses, as people read it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.explain_text import columns, number, one_pause, pauses, span, table, text, when
from mailerq.explained import JobSeen, Limit, Note, PauseSeen, Remote, Row, SiteSeen

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00

LIMITS = [
    Limit("messages-per-minute", 30, "a.yaml:12", last=NOW - 0.4, free_at=NOW + 1.6, stops=True, binds=True),
    Limit("messages-per-minute (tag news)", 6, "a.yaml:13", "from 192.0.2.7", last=NOW - 20, stops=False),
    Limit("max-connections", 20, "built in", used=20, stops=True),
    Limit("bytes-per-minute", 600e6, "a.yaml:14", why="slowed until 09:00:00: 421 too much"),
    Limit("connection-max-idle", 1.0, "built in"),
]
SITE = SiteSeen(
    name="example.org",
    known=True,
    domains=["example.org", "example.com"],
    domain_count=5,
    waiting=12,
    parked=3000,
    busy=1,
    idle=0,
    starting=2,
    speed=0.5,
    binds="messages-per-minute",
    next=NOW + 1.6,
    gone=NOW + 6024,
    limits=LIMITS,
    hosts=[
        Remote("198.51.100.1", 25, "mx1.example.org", 10, 1),
        Remote("2001:db8::1", 25, "mx2.example.org", 20, 0, NOW + 250, "connection refused"),
    ],
)
SHOWN = """\
example.org, with the same hosts: example.com and 3 more
  waiting      12 in memory, 3000 parked on the broker
  waits for    messages-per-minute
  next         2027-01-15 08:00:01, in 1.6 s
  speed        0.5 a second
  the last     2027-01-15 09:40:24, in 1 h 40 m, at this rate
  connections  1 busy, 0 idle, 2 starting

  limit                                         number      used      free                           from
> messages-per-minute                           30/min      0.4 s ago  2027-01-15 08:00:01, in 1.6 s  a.yaml:12
  messages-per-minute (tag news) from 192.0.2.7  6/min       20 s ago   now                            a.yaml:13
  max-connections                               20          20 of 20   not now                        built in
  bytes-per-minute                              600 MB/min                                             a.yaml:14: slowed
  connection-max-idle                           1 s                                                    built in

  host                name             connections
  198.51.100.1:25     mx1.example.org  1
  [2001:db8::1]:25    mx2.example.org  0            offline until 2027-01-15 08:04:10, in 4 m 10 s: connection refused
"""


def words(lines: list[str]) -> list[list[str]]:
    """Without how far apart they are."""
    return [line.split() for line in lines]


class Shown(SynchronousTestCase):
    """Whole answers."""

    def test_site(self) -> None:
        """A site: how many wait for what, when the next and the last may go, each limit, each host."""
        shown = SHOWN.replace("a.yaml:14: slowed", "a.yaml:14: slowed until 09:00:00: 421 too much")
        self.assertEqual(words(text([SITE], NOW)), words(shown.splitlines()))

    def test_aligned(self) -> None:
        """Cells stand under each other, and no line ends in spaces."""
        lines = text([SITE], NOW)
        at = [line.index(part) for line, part in zip(lines[8:11], ("number", "30/min", "6/min"), strict=True)]
        self.assertEqual(len(set(at)), 1)
        self.assertEqual([line.rstrip() for line in lines], lines)

    def test_unknown(self) -> None:
        """A domain without a site: that, and what would hold; nothing of what is not."""
        site = SiteSeen("a.example", False, ["a.example"], 1, 0, 0, 0, 0, 0, 0.0, "", None, None, LIMITS[4:], [])
        lines = text([site], NOW)
        self.assertEqual(lines[0], "a.example: no mail for it is in hand. What would hold:")
        self.assertEqual(words(lines)[1:], [[], ["limit", "number", "used", "free", "from"], words(lines)[3]])

    def test_event(self) -> None:
        """Where only an event can tell when the next may go, it says so."""
        site = SiteSeen("a.example", True, ["a.example"], 1, 1, 0, 20, 0, 0, 2, "max-connections", None, None, [], [])
        self.assertIn(["next", "as", "soon", "as", "that", "allows", "one"], words(text([site], NOW)))

    def test_job(self) -> None:
        """A job: which attempt, what it waits for, how many are before it, when it expires; then its site."""
        job = JobSeen("63a8-1", "b@example.org", 2, "waits for a pause", NOW - 90, "pause", 11, NOW + 3 * 86400)
        lines = text([job, Note("and 3 more jobs for it"), SITE], NOW)
        self.assertEqual(
            words(lines)[:10],
            words(
                [
                    "job 63a8-1 to b@example.org",
                    "attempt 2",
                    "since 2027-01-15 07:58:30, 1 m 30 s ago",
                    "where waits for a pause",
                    "waits for pause",
                    "before it 11 at its site",
                    "expires 2027-01-18 08:00:00, in 3 d",
                    "",
                    "and 3 more jobs for it",
                    "",
                ]
            ),
        )
        self.assertIn("example.org, with", lines[10])

    def test_table(self) -> None:
        """Sites as a table: numbers end under each other, nothing is a dash."""
        rows = [
            Row("example.org", 3, 12, 3000, 1, 0, 2, 0.5, "messages-per-minute", NOW + 1.6),
            Row("b.example", 1, 0, 0, 0, 1, 0, 12.25, "", None),
        ]
        self.assertEqual(
            table(rows, NOW),
            [
                "site            waiting  parked  busy  idle  starting  a second  waits for            next",
                "example.org +2       12    3000     1     -         2       0.5  messages-per-minute  in 1.6 s",
                "b.example             -       -     -     1         -      12.2",
            ],
        )
        self.assertEqual(text([Note("hosts:"), *rows], NOW)[2:], table(rows, NOW))

    def test_pauses(self) -> None:
        """Pauses: what is paused, since and until when, why."""
        some = [
            PauseSeen("1", NOW - 60, NOW + 540, "too many bounces", domain="example.org", tag="news"),
            PauseSeen("2", NOW - 5),
        ]
        self.assertEqual(
            words(pauses(some, NOW)),
            words(
                [
                    "id what since until why",
                    "1 domain example.org, tag news 1 m ago 2027-01-15 08:09:00, in 9 m too many bounces",
                    "2 everything 5 s ago until it is resumed",
                ]
            ),
        )
        self.assertEqual(one_pause(some[1], NOW), "everything, until it is resumed, id 2")
        self.assertEqual(
            one_pause(some[0], NOW),
            "domain example.org, tag news, until 2027-01-15 08:09:00, in 9 m (too many bounces), id 1",
        )


class Parts(SynchronousTestCase):
    """Times and numbers."""

    def test_span(self) -> None:
        """Durations have two units at most."""
        for seconds, shown in (
            (0.0, "0 s"),
            (0.0123, "0.012 s"),
            (1.62, "1.6 s"),
            (9.99, "10 s"),
            (59.6, "1 m"),
            (250, "4 m 10 s"),
            (6024, "1 h 40 m"),
            (3600, "1 h"),
            (86400 * 3 + 7200, "3 d 2 h"),
        ):
            self.assertEqual(span(seconds), shown)

    @given(st.floats(0, 1e9))
    def test_any_span(self, seconds: float) -> None:
        """Any duration can be shown, shortly."""
        self.assertLess(len(span(seconds)), 14)

    def test_when(self) -> None:
        """What is over is now; what never comes is said so."""
        self.assertEqual(when(NOW - 5, NOW), "2027-01-15 07:59:55, now")
        self.assertEqual(when(float("inf"), NOW), "never")

    def test_numbers(self) -> None:
        """Rates, sizes, times and counts have their units."""
        for name, value, shown in (
            ("messages-per-minute (tag a)", 0.5, "0.5/min"),
            ("ip-bytes-per-minute", 1500, "1.5 KB/min"),
            ("bytes-per-minute", 100, "100 bytes/min"),
            ("connection-max-idle", 90, "1 m 30 s"),
            ("max-queue", 1000, "1000"),
            ("pause", None, ""),
        ):
            self.assertEqual(number(Limit(name, value)), shown)

    def test_clean(self) -> None:
        """Nothing that a host said, or a name, moves the terminal."""
        job = JobSeen("1-1", "\x1b[2Jb@c.example", 1, "\nhere", NOW, "pause (\x1b[2J\r)", None, None)
        pause = PauseSeen("1", NOW, why="\x1b]0;x\x07\n", domain="a\nb")
        for line in (*text([job, Note("\x1b\n")], NOW), *pauses([pause], NOW), one_pause(pause, NOW)):
            self.assertTrue(line.isprintable(), line)

    @given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), min_size=1))
    def test_columns(self, rows: list[tuple[str, str]]) -> None:
        """Whatever is in the cells, there is one line a row."""
        self.assertEqual(len(columns(rows)), len(rows))
