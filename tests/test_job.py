"""What reading a job and writing it back promise."""

import gzip
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq import job as job_module
from mailerq.attempt import Attempt, Type
from mailerq.job import Invalid, Job, read, write_seen

USABLE = b'"recipient":"info@Example.ORG","mime":"x"'
HALF = b"\\ud83d"


def job(*properties: bytes) -> Job:
    """A job with these properties besides recipient and mime."""
    found = read(b"{" + b",".join((USABLE, *properties)) + b"}")
    assert isinstance(found, Job), found
    return found


def back(found: Job) -> bytes:
    """The job unchanged."""
    return found.written(without=(), changes={})


class Bodies(SynchronousTestCase):
    """What is a job at all."""

    def test_usable(self) -> None:
        """A job has its domain in lower case, and no problem."""
        self.assertEqual((job().problem, job().domain), (None, "example.org"))

    def test_invalid(self) -> None:
        """What is no JSON object in UTF-8 is Invalid, also where nobody would look inside."""
        for body in (
            *(b"", b"{", b"null", b"[]", b'"x"', b"5", b"{" + USABLE + b",}", b"{" + USABLE + b"} x"),
            *(b'{"x":' + bad + b"," + USABLE + b"}" for bad in (b"01", b"1.", b"-", b"1e", b"NaN", b"Infinity")),
            *(b'{"x":' + bad + b"," + USABLE + b"}" for bad in (b'"\\q"', b'"\x01"', b'"\\u12"', b'"\xff"', b"[1,]")),
            b"\xef\xbb\xbf{" + USABLE + b"}",
            *(b"[" * 100_000, b'{"a":' * 100_000),
        ):
            found = read(body)
            self.assertIsInstance(found, Invalid, body[:60])
            self.assertTrue(found.why)

    def test_gzip(self) -> None:
        """A compressed body is unpacked; a broken or unknown one is Invalid; utf-8 is no compression."""
        body = b"{" + USABLE + b"}"
        for encoding, packed in (("gzip", gzip.compress(body)), ("GZIP", gzip.compress(body)), ("utf-8", body)):
            found = read(packed, encoding)
            self.assertEqual(back(found), body)
        for encoding, packed in (("gzip", body), ("gzip", gzip.compress(body)[:-9]), ("gzip", b""), ("br", body)):
            self.assertIsInstance(read(packed, encoding), Invalid)

    def test_gzip_bomb(self) -> None:
        """What unpacks to more than any mail is Invalid."""
        self.patch(job_module, "MAX_UNPACKED", 1000)
        self.assertIn("256 MB", read(gzip.compress(b" " * 10_000), "gzip").why)


class Known(SynchronousTestCase):
    """The properties that the contract knows."""

    def problem(self, *properties: bytes) -> str:
        """Why the job cannot be used; its text can be written into a result."""
        found = job(*properties)
        self.assertIsNotNone(found.problem, properties)
        found.append(Attempt(1, Type.ERROR, "2026-01-01 00:00:00", description=found.problem))
        self.assertIsInstance(json.loads(back(found)), dict)
        return found.problem or ""

    def test_wrong_shapes(self) -> None:
        """A known property of a wrong shape makes the job fail, with a description that names it."""
        for name, values in {
            "recipient": '5 null "" "x" "a@b c" "<a@b>" "a@b\\r\\nX" "a@b@c" "a@\\ud83d" [] "a@b\\u0000"',
            "envelope": '5 "x" "a@b>" [] "\\ud83d@b"',
            "mime": '5 null [] true "\\ud83d"',
            "key": '5 "" null "\\udc00"',
            "keepmime": '2 -1 "1" null 1.5',
            "maxdelivertime": '5 "" null "2026-01-01" "2026-13-01 00:00:00" "2026-01-01T00:00:00"',
            "maxattempts": '-1 2147483648 "1" 1.5 null 1e400 99999999999999999999999',
            "retries": "[] 5 null [-1] [1.5]",
            "nextattempt": '5 "2026-01-01 00:00:00" {} {"time":5} {"time":"x"}',
            "delayed": '5 "" null {} "0000-00-00 00:00:00" "\\u0662026-01-01 00:00:00"',
            "ips": '"192.0.2.1" [5] null ["\\ud83d"]',
            "pool": '5 null "\\ud83d"',
            "queues": '5 null [] {"results":5} {"retry":""} {"success":"\\ud83d"} {"failure":"' + "é" * 200 + '"}',
            "smarthost": '5 null {} {"hostname":5} {"hostname":"x","port":0} {"hostname":"x","port":"99999"}',
            "tags": '5 ["x",5] null',
            "priority": '-1 256 "5"',
            "security": '"sec" 5 null "\\ud83d"',
            "results": "5 null [5] {} [null]",
        }.items():
            for value in split(values):
                problem = self.problem(f'"{name}":{value}'.encode())
                self.assertTrue(problem.startswith(name), (name, value, problem))
                self.assertLess(len(problem), 300)

    def test_long_values(self) -> None:
        """A description does not repeat megabytes."""
        for name in ("recipient", "maxdelivertime", "security", "delayed"):
            self.assertLess(len(self.problem(f'"{name}":"{"x" * 100_000}"'.encode())), 300)

    def test_missing(self) -> None:
        """Without recipient, or with neither mime nor key, a job cannot be used; with a key it can."""
        self.assertEqual(read(b'{"mime":"x"}').problem, "recipient: is missing")
        self.assertIn("mime", read(b'{"recipient":"a@b"}').problem)
        self.assertIsNone(read(b'{"recipient":"a@b","key":"k"}').problem)

    def test_plain(self) -> None:
        """A job is plain unless it asks for something to be done to its message; what is empty asks for nothing."""
        self.assertTrue(job(b'"tags":["a"]').plain)
        for properties in (b'"data":{"a":1}', b'"inlinecss":true', b'"normalize":1'):
            self.assertFalse(job(properties).plain, properties)
        for name in ("dkim", "headers", "data"):
            self.assertTrue(job(f'"{name}":{{}}'.encode()).plain, name)
        self.assertFalse(read(b'{"recipient":"a@b","key":"k"}').plain)
        self.assertFalse(read(b'{"recipient":"a@b","mime":{}}').plain)

    def test_right_shapes(self) -> None:
        """What the contract allows is taken."""
        for text in (
            '"envelope":""|"envelope":null|"envelope":"bounce@x.y"|"keepmime":1|"keepmime":true|"keepmime":0',
            '"maxattempts":0|"maxattempts":2147483647|"retries":[0]|"ips":[]|"ips":["192.0.2.1"]|"pool":"p"',
            '"queues":{}|"queues":{"results":null,"failures":"f","more":5}|"smarthost":{"name":"x","port":"25"}',
            '"smarthost":{"hostname":"x","port":2525}|"priority":255|"tags":["\\ud83d"]|"security":"verified"',
            '"recipient":"\\"a b\\"@x.y"|"recipient":"ünï@exämple.org"|"recipient":"a@[192.0.2.1]"|"recipient":"a@x."',
            '"nextattempt":{"time":"2026-01-01 00:00:00","more":1}|"x":"\\ud83d"',
        ):
            for one in text.split("|"):
                self.assertIsNone(job(one.encode()).problem, one)

    def test_wrong_queues(self) -> None:
        """If it is ``queues`` that is wrong the configured ones hold; if it is anything else, the job's own."""
        name = b'"queues":{"results":"mine"}'
        self.assertEqual(job(name, b'"keepmime":5').known.queues.results, "mine")
        self.assertFalse(hasattr(job(b'"queues":{"results":5}').known.queues, "results"))
        self.assertFalse(hasattr(job(b'"queues":{"results":"' + b"\xc3\xa9" * 200 + b'"}').known.queues, "results"))

    def test_unusable_keeps_history(self) -> None:
        """A job of a wrong shape still knows its domain and its attempts."""
        found = job(b'"priority":"x"', b'"results":[{"type":"error"},{"type":"idle"}]')
        self.assertEqual((found.domain, found.attempts, found.entry_number()), ("example.org", 1, 3))

    def test_times(self) -> None:
        """Times are epoch seconds; of ``nextattempt`` and ``delayed`` the later one holds."""
        found = job(
            b'"maxdelivertime":"1970-01-01 00:01:00"',
            b'"nextattempt":{"time":"1970-01-01 00:00:07"}',
            b'"delayed":"1970-01-01 00:00:09"',
        )
        self.assertEqual((found.maxdelivertime, found.nextattempt), (60.0, 9.0))

    def test_seen(self) -> None:
        """What the engine writes into ``seen`` it reads again; a plain time is accepted too."""
        found = job(b'"seen":' + write_seen(1700000000.9, "ab-1"))
        self.assertEqual((found.seen, found.seen_id), (1700000000.0, "ab-1"))
        found = job(b'"seen":' + write_seen(1700000000.9, "ab-1", 7.0, True))
        self.assertEqual((found.seen, found.seen_id, found.turn, found.told), (1700000000.0, "ab-1", 7.0, True))
        found = job(b'"seen":' + write_seen(0, "ab-1"))
        self.assertEqual((found.seen, found.seen_id, found.turn, found.told), (None, "ab-1", 0.0, False))
        found = job(b'"seen":"1970-01-01 00:00:01"')
        self.assertEqual((found.seen, found.seen_id), (1.0, ""))

    def test_message(self) -> None:
        """The message is the UTF-8 of ``mime``; a description of one is no message."""
        self.assertEqual(read(b'{"recipient":"a@b" , "mime" : "\\ud83d\\ude00\\r\\n" }').message(), "😀\r\n".encode())
        self.assertIsNone(read(b'{"recipient":"a@b","key":"k"}').message())
        self.assertEqual(read(b'{"recipient":"a@b","mime":"x","y":"' + HALF + b'"}').message(), b"x")
        self.assertTrue(read(b'{"recipient":"a@b","mime": {"x":1}}').is_responsive)


class History(SynchronousTestCase):
    """``results``."""

    def test_counting(self) -> None:
        """``idle`` is an entry, no attempt; those at the end are counted."""
        found = job(b'"results":[{"type":"idle"},{"type":"lost"},{"type":"idle"},{"type":"idle"}]')
        self.assertEqual((found.attempts, found.entries, found.idles), (1, 4, 2))
        found.append(Attempt(5, Type.LOST, "t"))
        self.assertEqual((found.attempts, found.entries, found.idles), (2, 5, 0))
        found.append(Attempt(6, Type.IDLE, "t"))
        self.assertEqual((found.attempts, found.entry_number(), found.idles), (2, 7, 1))

    def test_extended(self) -> None:
        """Entries are added behind those that are there, which stay byte for byte; more than once too."""
        found = job(b'"results": [ {"type":"lost","x":1.10} ] ')
        found.append(Attempt(2, Type.SUCCESS, "t"))
        found.append(Attempt(3, Type.SUCCESS, "t"))
        added = b',{"attempt":2,"type":"success","time":"t"},{"attempt":3,"type":"success","time":"t"}]'
        self.assertIn(b'"results":[ {"type":"lost","x":1.10}' + added, back(found))

    def test_begun(self) -> None:
        """A first entry makes the array, at the end of the job, or in the place of what was none."""
        for before in ((), (b'"results":[ ]',), (b'"results":5',)):
            found = job(*before)
            found.append(Attempt(1, Type.SUCCESS, "t"))
            self.assertTrue(back(found).endswith(b'"results":[{"attempt":1,"type":"success","time":"t"}]}'), before)


class Turns(SynchronousTestCase):
    """With whom a job takes turns, and from where it has to come."""

    def test_tags_and_priority(self) -> None:
        """Its labels and its priority; none and 0 where it has none."""
        self.assertEqual((job().tags, job().priority), ((), 0))
        found = job(b'"tags":["a","b"],"priority":7')
        self.assertEqual((found.tags, found.priority), (("a", "b"), 7))

    def test_half_a_character(self) -> None:
        """A tag with half of a surrogate pair comes back as it was; what takes turns by it is text."""
        found = job(b'"tags":["x' + HALF + b'"]')
        self.assertEqual((found.tags, found.flow("tag")), (("x\ufffd",), "x\ufffd"))
        self.assertIn(b'["x' + HALF + b'"]', back(found))

    def test_flow(self) -> None:
        """The first tag, or a property that is a string or a number; nothing else, and nothing that is too long."""
        found = job(
            b'"tags":["a","b"],"customer":12,"name":"\u00e9","rate":-1.50,"no":null,"yes":true,"list":[1],"o":{"a":1}',
            b'"half":"' + HALF + b'","long":"' + b"x" * 2000 + b'"',
        )
        flows = {"tag": "a", "tags": "a", "customer": "12", "name": "\u00e9", "rate": "-1.50"}
        for name in ("no", "yes", "list", "o", "half", "long", "missing", None):
            self.assertEqual(found.flow(name), "", name)
        self.assertEqual({name: found.flow(name) for name in flows}, flows)
        self.assertEqual(job().flow("tag"), "")

    def test_sticky(self) -> None:
        """A job that was greylisted has to come again from the same address."""
        grey = b'{"type":"error","from":"192.0.2.1","class":"greylisted"}'
        for results, source in (
            (b"", None),
            (grey, "192.0.2.1"),
            (grey + b',{"type":"idle","from":"192.0.2.2"}', "192.0.2.1"),
            (grey + b',{"type":"timeout","from":"192.0.2.2","class":"timeout"}', None),
            (b'{"type":"error","class":"greylisted"}', None),
            (b'{"type":"error","class":"greylisted","from":5}', None),
            (b'{"type":"error","class":["greylisted"],"from":{}}', None),
        ):
            found = job(b'"results":[' + results + b"]")
            self.assertIsNone(found.problem)
            self.assertEqual(
                (found.sticky_source, found.was_greylisted),
                (source, b'"greylisted"' in results and b'["' not in results),
            )

    def test_sticky_here(self) -> None:
        """The same holds for an attempt that was made just now."""
        found = job()
        found.append(Attempt(1, Type.ERROR, "t", source="192.0.2.1", bounce_class="greylisted"))
        found.append(Attempt(2, Type.IDLE, "t", source="192.0.2.2", bounce_class="network"))
        self.assertEqual(found.sticky_source, "192.0.2.1")
        found.append(Attempt(3, Type.ERROR, "t", source="192.0.2.2", bounce_class="spam"))
        self.assertIsNone(found.sticky_source)


def split(values: str) -> list[str]:
    """JSON values that stand behind one another."""
    found, at = [], 0
    while at < len(values):
        end = json.JSONDecoder().raw_decode(values, at)[1]
        found.append(values[at:end])
        at = end + 1
    return found


blanks = st.sampled_from(["", " ", "\n\t", "\r "])
halves = st.sampled_from(
    ["\\ud83d", "\\udc00", "\\ud83d\\u0041", "\\ud83d\\ude00", "\\u00e9", "\\/", "\\n", "é", "😀", "}", ","]
)
texts = st.lists(halves | st.text("abc{}[]:, ", max_size=3), max_size=4).map(lambda parts: '"' + "".join(parts) + '"')
numbers = st.integers().map(str) | st.sampled_from(
    ["1e3", "1.10", "-0", "-0.0E-5", "1e999", "9" * 5000, "0.1" + "0" * 400]
)
atoms = texts | numbers | st.sampled_from(["null", "true", "false", "{}", "[]", "[ ]"])


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Arrays and objects, with blanks of all kinds, and keys that may stand there twice."""
    items = st.tuples(blanks, inner, blanks).map("".join)
    members = st.tuples(texts, blanks, items).map(lambda it: f"{it[0]}{it[1]}:{it[2]}")
    return st.lists(items, max_size=3).map(lambda them: f"[{','.join(them)}]") | st.lists(members, max_size=3).map(
        lambda them: "{" + ",".join(them) + "}"
    )


values = st.recursive(atoms, nested, max_leaves=8)
properties = st.lists(st.tuples(texts, blanks, blanks, values, blanks), max_size=5)


class Fuzz(SynchronousTestCase):
    """Anything may lie in the outbox."""

    @settings(max_examples=120, deadline=None)
    @given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda some: b"{" + USABLE + b"," + some + b"}"))
    def test_bytes(self, body: bytes) -> None:
        """No bytes make it raise."""
        self.assertIsInstance(read(body), Job | Invalid)
        self.assertIsInstance(read(body, "gzip"), Job | Invalid)

    @settings(max_examples=120, deadline=None)
    @given(values, st.sampled_from(job_module.Known.__struct_fields__))
    def test_values(self, value: str, name: str) -> None:
        """No JSON value makes it raise, whatever it is the value of; what comes back can be written and read."""
        body = f'{{"recipient":"a@b","mime":"x","{name}":{value}}}'.encode()
        found = read(body)
        self.assertIsInstance(found, Job)
        found.append(Attempt(1, Type.ERROR, "t", description=found.problem or ""))
        again = read(back(found))
        self.assertIsInstance(again, Job)
        self.assertIsInstance(read(value.encode()), Job | Invalid)

    @settings(max_examples=120, deadline=None)
    @given(properties, properties)
    def test_unknown_properties(self, before: list[tuple[str, ...]], after: list[tuple[str, ...]]) -> None:
        """Unknown properties come back byte for byte, in their order; of equal names the last value holds."""
        known = [('"recipient"', "", "", '"a@b"', ""), ('"mime"', "", " ", '"x"', "")]
        body = "{" + ",".join(f"{b}{name}{c}:{d}{value}" for name, b, c, value, d in [*before, *known, *after]) + "}"
        expected: dict[str, str] = {}
        for name, _, _, value, _ in [*before, *known, *after]:
            expected[json.loads(name)] = value
        found = read(body.encode())
        self.assertIsInstance(found, Job, body)
        self.assertIsNone(found.problem)
        self.assertEqual([(name, bytes(raw).decode()) for name, raw in found.pieces.items()], [*expected.items()])
        again = read(back(found))
        self.assertEqual([(name, bytes(raw).decode()) for name, raw in again.pieces.items()], [*expected.items()])
