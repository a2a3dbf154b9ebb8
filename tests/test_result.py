"""What is published of a job: sections 3, 4 and 5 of the contract, without a store."""

import json
from typing import Any

from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import Attempt, Type
from mailerq.interfaces import Publication
from mailerq.job import Invalid, Job, read
from mailerq.result import next_attempt, publications, refused
from mailerq.verdict import AGAIN, DELIVERED, FAILED, Parked, Retry, Verdict

NOW = 1_700_000_000.0
RETRY = Retry(NOW + 600)


class Names(Struct, frozen=True):
    """``queues`` of the configuration."""

    outbox: str = "outbox"
    results: str | None = "results"
    success: str | None = "success"
    failure: str | None = "failure"
    retry: str | None = "retry"
    invalid: str | None = "invalid"
    results_include_retries: bool = False


def published(more: str, verdict: Verdict, **names: Any) -> list[Publication]:
    """What is published of a job with these properties after one attempt."""
    found = read(f'{{"recipient":"a@B.c","mime":"x"{more}}}'.encode())
    assert isinstance(found, Job)
    found.append(Attempt(found.entry_number(), Type.SUCCESS, "t"))
    return publications(found, verdict, Names(**names), "id-1", NOW + 0.7)


def queues(more: str, verdict: Verdict, **names: Any) -> list[str]:
    """The queues that get something."""
    return [publication.queue for publication in published(more, verdict, **names)]


class Queues(SynchronousTestCase):
    """Which queue gets a copy."""

    def test_configured(self) -> None:
        """A final result goes to results and to success or failure; a retry to the outbox and to retry."""
        self.assertEqual(queues("", DELIVERED), ["results", "success"])
        self.assertEqual(queues("", FAILED), ["results", "failure"])
        self.assertEqual(queues("", RETRY), ["outbox", "retry"])
        self.assertEqual(queues("", AGAIN), [])
        self.assertEqual(queues("", Parked(NOW, None)), ["outbox"])

    def test_switched_off(self) -> None:
        """A queue that is null gets nothing; if only failure is on, a success leaves no trace."""
        self.assertEqual(queues("", DELIVERED, results=None, success=None), [])
        self.assertEqual(queues("", DELIVERED, results=None), ["success"])
        self.assertEqual(queues("", FAILED, failure=None), ["results"])
        self.assertEqual(queues("", RETRY, retry=None), ["outbox"])

    def test_own(self) -> None:
        """``queues`` in a job switches all configured ones off; a missing member or null is none."""
        for own, delivered, failed, again in (
            ("{}", [], [], ["outbox"]),
            ('{"results":"r"}', ["r"], ["r"], ["outbox"]),
            ('{"success":"s","failure":"f","retry":"t"}', ["s"], ["f"], ["outbox", "t"]),
            ('{"failures":"f"}', [], ["f"], ["outbox"]),
            ('{"failures":"g","failure":"f"}', [], ["f"], ["outbox"]),
            ('{"results":null,"success":null,"failures":null,"retry":null}', [], [], ["outbox"]),
            ('{"outbox":"o"}', [], [], ["outbox"]),
        ):
            more = f',"queues":{own}'
            self.assertEqual(
                [queues(more, verdict) for verdict in (DELIVERED, FAILED, RETRY)], [delivered, failed, again]
            )

    def test_results_include_retries(self) -> None:
        """Retries are in results only where that is asked for; the copies are equal."""
        _, retry, results = published("", RETRY, results_include_retries=True)
        self.assertEqual((retry.queue, results.queue, retry.body), ("retry", "results", results.body))
        self.assertEqual(queues(',"queues":{}', RETRY, results_include_retries=True), ["outbox"])
        self.assertEqual(queues("", DELIVERED, results_include_retries=True), ["results", "success"])

    def test_invalid(self) -> None:
        """What is no job goes to invalid, byte for byte, with the reason and its encoding; null drops it."""
        self.assertEqual(
            refused(b"\xff", "gzip", Invalid("why"), Names()),
            [Publication("invalid", b"\xff", headers={"reason": "why"}, encoding="gzip")],
        )
        self.assertEqual(refused(b"\xff", None, Invalid("why"), Names(invalid=None)), [])

    def test_message_id(self) -> None:
        """Copies carry the identity and the number of entries; only what goes back is delayed, and has a priority."""
        back, copy = published(',"priority":7', RETRY)
        self.assertEqual((back.due, back.message_id, back.priority), (NOW + 600, "id-1.1", 7))
        self.assertEqual((copy.due, copy.message_id, copy.priority), (None, "id-1.1", None))
        self.assertEqual(published("", Parked(NOW + 1.5, None))[0].due, NOW + 2.0)


class Bodies(SynchronousTestCase):
    """What a copy says."""

    ENTRY = b'"results":[{"attempt":1,"type":"success","time":"t"}]'

    def test_extra(self) -> None:
        """What a rule sets is in the result and in the retry copy, not in the job that goes back."""
        for verdict, expected in ((FAILED, [True, True]), (RETRY, [False, True])):
            found = read(b'{"recipient":"a@b.c","mime":"x","ticket":0}')
            assert isinstance(found, Job)
            found.append(Attempt(1, Type.ERROR, "t"))
            extra = {"ticket": b"5", "more": b'["x"]'}
            bodies = [p.body for p in publications(found, verdict, Names(), "id-1", NOW, extra=extra)]
            self.assertEqual([json.loads(body).get("more") == ["x"] for body in bodies], expected)
            self.assertEqual([json.loads(body)["ticket"] for body in bodies], [5 if yes else 0 for yes in expected])

    def test_result(self) -> None:
        """The job without ``mime``, with ``domain`` in lower case and one attempt more."""
        for verdict in (DELIVERED, FAILED):
            for one in published("", verdict):
                self.assertEqual(one.body, b'{"recipient":"a@B.c","domain":"b.c",' + self.ENTRY + b"}")

    def test_keepmime(self) -> None:
        """With ``keepmime`` and no store ``mime`` stays, in the retry copy too; the outbox always has it."""
        for keep, stays in (("1", True), ("true", True), ("0", False), ("false", False)):
            final = published(f',"keepmime":{keep}', DELIVERED)[0]
            back, copy = published(f',"keepmime":{keep}', RETRY)
            for body, has_mime in ((final.body, stays), (copy.body, stays), (back.body, True)):
                self.assertEqual("mime" in json.loads(body), has_mime)
                self.assertEqual(json.loads(body)["keepmime"], json.loads(keep))

    def test_used_up(self) -> None:
        """``nextattempt``, ``delayed`` and ``seen`` are in no final result."""
        more = ',"nextattempt":{"time":"2020-01-01 00:00:00"},"delayed":"2020-01-01 00:00:00","seen":"5 ab-1"'
        for one in published(more, DELIVERED):
            self.assertEqual(sorted(json.loads(one.body)), ["domain", "recipient", "results"])

    def test_back(self) -> None:
        """What goes back has its time in ``nextattempt``, its first pick-up in ``seen``, and no ``domain`` of ours."""
        more = ',"nextattempt":{"time":"2020-01-01 00:00:00"},"delayed":"2020-01-01 00:00:00","x":1'
        back, copy = published(more, RETRY)
        self.assertEqual(
            back.body,
            b'{"recipient":"a@B.c","mime":"x","nextattempt":{"time":"2023-11-14 22:23:20"},"x":1,'
            b'"seen":"1700000000 id-1",' + self.ENTRY + b"}",
        )
        self.assertEqual(sorted(json.loads(copy.body)), ["domain", "nextattempt", "recipient", "results", "x"])
        again = read(back.body)
        self.assertEqual((again.nextattempt, again.seen, again.seen_id, again.attempts), (NOW + 600, NOW, "id-1", 1))

    def test_parked(self) -> None:
        """A parked job carries the first pick-up that it is given; where its time has not begun, none."""
        self.assertNotIn("seen", json.loads(published("", Parked(NOW, None))[0].body))
        self.assertEqual(json.loads(published("", Parked(NOW, NOW + 5.9))[0].body)["seen"], "1700000005 id-1")

    def test_rounded_up(self) -> None:
        """A time is rounded up to the whole second: nothing is tried too early."""
        self.assertEqual(next_attempt(0.001), b'{"time":"1970-01-01 00:00:01"}')
        self.assertEqual(next_attempt(1.0), b'{"time":"1970-01-01 00:00:01"}')

    def test_unknown_properties(self) -> None:
        """Unknown properties come back byte for byte, in their place, in all copies."""
        odd = ',"MY-ID":[1e3, 1.10,{"b" :1,"a":123456789012345678901234567890}],"h":"\\ud83d","":null'
        for verdict in (DELIVERED, FAILED, RETRY, Parked(NOW, None)):
            for one in published(odd, verdict):
                self.assertIn(odd.encode(), one.body)

    def test_history(self) -> None:
        """Earlier entries stay as they are."""
        before = '{"attempt": 1,"type":"lost","more":1.0}'
        body = published(f',"results":[{before}]', DELIVERED)[0].body
        self.assertIn(b'"results":[' + before.encode() + b',{"attempt":2,"type":"success","time":"t"}]', body)

    def test_no_recipient(self) -> None:
        """A job without a domain has none in its result; what was wrong comes back as it was."""
        found = read(b'{"recipient":5,"mime":"x"}')
        found.append(Attempt(1, Type.ERROR, "t"))
        body = publications(found, FAILED, Names(), "id-1", NOW)[0].body
        self.assertEqual(body, b'{"recipient":5,"results":[{"attempt":1,"type":"error","time":"t"}]}')
