"""What becomes of a job after an attempt: section 6 of the contract, row by row."""

from typing import Any

from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import Attempt, Outcome, State, Type, utc
from mailerq.job import Job, read
from mailerq.responses import Reaction
from mailerq.verdict import (
    AGAIN,
    DELIVERED,
    FAILED,
    Retry,
    Verdict,
    decide,
    expired,
    settle_idle,
    unusable,
)

NOW = 1_700_000_000.0


class Policy(Struct, frozen=True):
    """``delivery`` of the configuration."""

    max_attempts: int = 6
    max_delivery_time: float = 86400.0
    retry_interval: tuple[float, ...] = (600.0, 1800.0)
    in_doubt: str = "retry"
    nohosts: str = "retry"


def job(more: str = "") -> Job:
    """A job with more properties."""
    found = read(b'{"recipient":"a@b.c","mime":"x"%s}' % more.encode())
    assert isinstance(found, Job)
    return found


def after(
    found: Job, outcome: Outcome, now: float = NOW, sure: bool = False, reaction: Reaction | None = None, **policy: Any
) -> Verdict:
    """The fate of a job when ``outcome`` has been appended."""
    found.append(Attempt(found.entry_number(), outcome.type, utc(now), code=outcome.code))
    return decide(found, outcome, Policy(**policy), now, sure=sure, reaction=reaction)


def outcome(type: str, code: int | None = None, state: str | None = None, in_doubt: bool = False) -> Outcome:
    """What the wire says."""
    return Outcome(Type(type), State(state) if state else None, code, None, "text", in_doubt)


SOON = Retry(NOW + 600)
TABLE = [
    # type, code, state, verdict
    ("success", 250, "accept", DELIVERED),
    ("nohosts", None, None, SOON),
    ("bind", None, None, FAILED),
    ("refused", None, "connect", SOON),
    ("connect", None, "connect", SOON),
    ("noaccess", None, "init", SOON),
    ("noaccess", 554, "init", SOON),
    ("noaccess", 421, "init", SOON),
    ("noaccess", 502, "helo", SOON),
    ("error", 450, "rcpt to", SOON),
    ("error", 421, "data", SOON),
    ("error", 550, "rcpt to", FAILED),
    ("error", 554, "received", FAILED),
    ("error", 556, None, FAILED),  # null MX
    ("error", None, None, FAILED),  # a job that cannot be used
    ("error", None, "mail from", SOON),  # no SMTP reply
    ("error", 354, "mail from", SOON),  # one that SMTP does not allow there
    ("error", 199, "data", SOON),
    ("lost", None, "data", SOON),
    ("timeout", None, "rcpt to", SOON),
    ("nodata", None, "data", FAILED),
    ("expired", None, None, FAILED),
    ("idle", 421, "idle", AGAIN),
    ("overflow", None, "ehlo", SOON),
    ("tls", None, "starttls", SOON),
    ("responsive", None, None, FAILED),
]


class Types(SynchronousTestCase):
    """Each type, with what follows."""

    def test_table(self) -> None:
        """Each row of the table."""
        for type, code, state, verdict in TABLE:
            self.assertEqual(after(job(), outcome(type, code, state)), verdict, (type, code, state))

    def test_all_types(self) -> None:
        """The table has them all."""
        self.assertEqual({row[0] for row in TABLE}, {str(type) for type in Type})

    def test_nohosts_fail(self) -> None:
        """``nohosts: fail`` makes a sure "does not exist" final, and no other."""
        self.assertEqual(after(job(), outcome("nohosts"), sure=True, nohosts="fail"), FAILED)
        self.assertEqual(after(job(), outcome("nohosts"), sure=False, nohosts="fail"), SOON)
        self.assertEqual(after(job(), outcome("nohosts"), sure=True), SOON)

    def test_in_doubt(self) -> None:
        """``in-doubt``: retry, fail, or hold, which waits until the job expires."""
        for type in ("lost", "timeout"):
            doubt = outcome(type, None, "received", True)
            self.assertEqual(after(job(), doubt), SOON)
            self.assertEqual(after(job(), doubt, in_doubt="fail"), FAILED)
            held = after(job(), doubt, in_doubt="hold")
            self.assertIsNotNone(expired(job(f',"seen":"{utc(NOW)}"'), Policy(), held.at))
            self.assertEqual(after(job(), outcome(type, None, "data"), in_doubt="fail"), SOON)

    def test_hold_of_own_time(self) -> None:
        """A job that is held expires at its own ``maxdelivertime``."""
        own = f',"maxdelivertime":"{utc(NOW + 50)}"'
        held = after(job(own), outcome("lost", None, "received", True), in_doubt="hold")
        self.assertEqual(held, Retry(NOW + 51))


class Early(SynchronousTestCase):
    """The early rule."""

    def test_attempts(self) -> None:
        """A soft failure that ends at the attempt limit is final; ``idle`` is not counted, 0 is no limit."""
        for limit, entries, verdict in (
            (2, '{"type":"lost"}', FAILED),
            (3, '{"type":"lost"}', Retry(NOW + 1800)),
            (2, '{"type":"idle"}', SOON),
            (0, ",".join(['{"type":"lost"}'] * 50), Retry(NOW + 1800)),
        ):
            own = job(f',"maxattempts":{limit},"results":[{entries}]')
            self.assertEqual(after(own, outcome("error", 450, "data")), verdict, limit)
            configured = job(f',"results":[{entries}]')
            self.assertEqual(after(configured, outcome("error", 450, "data"), max_attempts=limit), verdict, limit)

    def test_time(self) -> None:
        """A soft failure whose next try would come after ``maxdelivertime`` is final; at that time it is not."""
        for seconds, verdict in ((599, FAILED), (600, SOON)):
            found = job(f',"maxdelivertime":"{utc(NOW + seconds)}"')
            self.assertEqual(after(found, outcome("lost", None, "data")), verdict)

    def test_first_pick_up(self) -> None:
        """Without ``maxdelivertime`` the time is counted from the first pick-up."""
        for ago, verdict in ((86400 - 599, FAILED), (86400 - 600, SOON)):
            found = job(f',"seen":"{utc(NOW - ago)}"')
            self.assertEqual(after(found, outcome("lost", None, "data")), verdict)

    def test_whole_seconds(self) -> None:
        """A retry is at a whole second, never before its time."""
        self.assertEqual(after(job(), outcome("lost", None, "data"), NOW + 0.25), Retry(NOW + 601))

    def test_own_schedule(self) -> None:
        """The job's ``retries`` hold instead of the configured ones; the last repeats."""
        for attempts, delay in ((0, 5), (1, 7), (2, 7), (3, 7)):
            entries = ",".join(['{"type":"lost"}'] * attempts)
            found = job(f',"retries":[5,7],"results":[{entries}]')
            self.assertEqual(after(found, outcome("lost", None, "data")), Retry(NOW + delay))


LATE = Retry(NOW + 7200)


class Ruled(SynchronousTestCase):
    """What a rule for answers changes, and what it cannot change."""

    def test_fail(self) -> None:
        """``fail: true`` makes any failure final, one without an answer, too; it cannot unmake a success."""
        told = Reaction(fail=True)
        for type, code, state, verdict in TABLE:
            expected = verdict if type in ("success", "idle") else FAILED
            self.assertEqual(after(job(), outcome(type, code, state), reaction=told), expected, (type, code, state))

    def test_not_final(self) -> None:
        """``fail: false`` has what a host has said tried again, and nothing else that is final."""
        told = Reaction(fail=False)
        for type, code, state, verdict in TABLE:
            said = type == "error" and state is not None
            expected = SOON if said else verdict
            self.assertEqual(after(job(), outcome(type, code, state), reaction=told), expected, (type, code, state))

    def test_schedule(self) -> None:
        """The delays of a domain go before the policy's; the job's own before both."""
        for own, delay in (("", 7), (',"retries":[5]', 5)):
            found, said = job(own), outcome("error", 451, "rcpt to")
            found.append(Attempt(1, said.type, utc(NOW), code=said.code))
            self.assertEqual(decide(found, said, Policy(), NOW, schedule=(7.0, 8.0)), Retry(NOW + delay))

    def test_doubt_stays(self) -> None:
        """``fail: false`` does not send again a mail that may have arrived, where the policy says not to."""
        doubt = outcome("lost", None, "received", True)
        self.assertEqual(after(job(), doubt, reaction=Reaction(fail=False), in_doubt="fail"), FAILED)

    def test_retry_in(self) -> None:
        """``retry-in`` goes before the configured delays and the job's own, shorter or longer."""
        for own in ("", ',"retries":[300]'):
            for delay in (60.0, 7200.0):
                found = after(job(own), outcome("error", 451, "rcpt to"), reaction=Reaction(retry_in=delay))
                self.assertEqual(found, Retry(NOW + delay))

    def test_retry_in_alone(self) -> None:
        """``retry-in`` does not unmake what is final."""
        for type, code, state, verdict in TABLE:
            if verdict == FAILED:
                found = after(job(), outcome(type, code, state), reaction=Reaction(retry_in=60.0))
                self.assertEqual(found, FAILED, (type, code, state))

    def test_greylisted_again(self) -> None:
        """A job that is greylisted once more is not tried sooner than the schedule has it."""
        entry = '{"type":"error","class":"greylisted","from":"192.0.2.1"}'
        told = Reaction(retry_in=300.0, sticky=True)
        again = after(job(f',"results":[{entry}]'), outcome("error", 450, "rcpt to"), reaction=told)
        self.assertEqual(again, Retry(NOW + 1800))
        self.assertEqual(after(job(), outcome("error", 450, "rcpt to"), reaction=told), Retry(NOW + 300))

    def test_hint(self) -> None:
        """What the host asks for only lengthens a delay, that of a rule, too."""
        for hint, retry_in, seconds in (
            (60.0, None, 600),
            (7200.0, None, 7200),
            (60.0, 120.0, 120),
            (180.0, 120.0, 180),
        ):
            told = Reaction(hint=hint, retry_in=retry_in)
            found = after(job(), outcome("error", 451, "rcpt to"), reaction=told)
            self.assertEqual(found, Retry(NOW + seconds), (hint, retry_in))

    def test_hint_within_its_time(self) -> None:
        """What the host asks for costs no job its last attempt."""
        found = job(f',"maxdelivertime":"{utc(NOW + 700)}"')
        verdict = after(found, outcome("error", 451, "rcpt to"), reaction=Reaction(hint=7200.0))
        self.assertTrue(NOW + 600 <= verdict.at <= NOW + 700, verdict)

    def test_early_rule(self) -> None:
        """Attempts and time are limited, whatever a rule says."""
        for told in (Reaction(fail=False), Reaction(retry_in=7200.0), Reaction(fail=False, retry_in=7200.0)):
            last = job(',"maxattempts":1')
            self.assertEqual(after(last, outcome("error", 450, "rcpt to"), reaction=told), FAILED, told)
            expected = FAILED if told.retry_in else SOON
            late = job(f',"maxdelivertime":"{utc(NOW + 7199)}"')
            self.assertEqual(after(late, outcome("error", 450, "rcpt to"), reaction=told), expected, told)
        in_time = job(f',"maxdelivertime":"{utc(NOW + 7200)}"')
        self.assertEqual(after(in_time, outcome("error", 450, "rcpt to"), reaction=Reaction(retry_in=7200.0)), LATE)


class Expiry(SynchronousTestCase):
    """What may not be tried."""

    def test_time(self) -> None:
        """After ``maxdelivertime`` it is expired, at it not."""
        found = job(f',"maxdelivertime":"{utc(NOW)}"')
        self.assertIsNone(expired(found, Policy(), NOW))
        late = expired(found, Policy(), NOW + 0.5)
        self.assertEqual((late.type, late.state, late.code), (Type.EXPIRED, None, None))
        self.assertIn(utc(NOW), late.description)

    def test_never_seen(self) -> None:
        """A job without ``maxdelivertime`` that is picked up for the first time is not expired, however old."""
        self.assertIsNone(expired(job(), Policy(max_delivery_time=0.0), NOW))

    def test_attempts(self) -> None:
        """With as many attempts as are allowed it is expired."""
        found = job(',"maxattempts":1,"results":[{"type":"lost"},{"type":"idle"}]')
        self.assertEqual(expired(found, Policy(), NOW).type, Type.EXPIRED)
        self.assertIsNone(expired(job(',"maxattempts":0,"results":[{"type":"lost"}]'), Policy(max_attempts=1), NOW))

    def test_unusable(self) -> None:
        """A job that cannot be used is a final ``error`` without code and state that says why."""
        found = job(',"maxattempts":-1')
        error = unusable(found)
        self.assertEqual((error.type, error.state, error.code), (Type.ERROR, None, None))
        self.assertIn("maxattempts", error.description)
        self.assertEqual(after(found, error), FAILED)
        self.assertIsNone(unusable(job()))


class Idle(SynchronousTestCase):
    """Connections that end while they wait."""

    def test_three_in_a_row(self) -> None:
        """After three in a row the next counts as ``lost``, and says the same; the row ends with any other entry."""
        idle = outcome("idle", 421, "idle")
        found = job()
        for _ in range(3):
            self.assertIs(settle_idle(found, idle), idle)
            self.assertEqual(after(found, idle), AGAIN)
        lost = settle_idle(found, idle)
        self.assertEqual(lost, outcome("lost", 421, "idle"))
        self.assertEqual(after(found, lost), SOON)
        self.assertIs(settle_idle(found, idle), idle)

    def test_others(self) -> None:
        """Other outcomes are left as they are."""
        lost = outcome("lost", None, "data")
        self.assertIs(settle_idle(job(',"results":[{"type":"idle"},{"type":"idle"},{"type":"idle"}]'), lost), lost)
