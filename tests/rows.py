"""The contract (docs/results.md) as rows: jobs, what DNS and the remote hosts do, and what must come out.

``test_rows.py`` plays them in memory, ``scenarios/test_rows_real.py`` through a whole engine, real brokers and sockets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from mailerq.job import parse_time
from tests.mx import EXTENSIONS
from tests.row import MESSAGE, SUCCESS, Job, Ran, Row, entry, host, job, waiting

PATIENCE = "1500ms"
BASE: dict[str, Any] = {
    "delivery": {"retry-interval": "1s", "offline-time": "3s"},
    "smtp": {
        "port": "$PORT",
        "hostname": "mail.example.com",
        "timeouts": {"connect": "1s", "reply": PATIENCE, "end": PATIENCE, "tls": PATIENCE},
    },
    "dns": {"timeout": "2s"},
    "pools": {"mine": ["127.0.0.7"], "elsewhere": ["192.0.2.77"]},
}
SMARTHOST = "127.99.0.1"
GROUPS: dict[str, dict[str, Any]] = {
    "base": {},
    "only-failure": {
        "queues": {"results": None, "success": None, "retry": None, "invalid": None},
        "delivery": {"in-doubt": "fail", "nohosts": "fail"},
        "smtp": {"tls": "required"},
    },
    "more": {
        "queues": {"results-include-retries": True, "success": None, "type": "quorum"},
        "delivery": {"in-doubt": "hold", "max-delivery-time": "6s", "max-attempts": 2},
        "smtp": {"tls": "none", "ips": ["127.0.0.9"]},
    },
    "defaults": {
        "delivery": {"retry-interval": "10m, 10m, 30m, 30m, 1h, 1h, 2h", "offline-time": "5m"},
    },
    "smarthost": {"smarthost": {"hostname": SMARTHOST, "port": "$PORT"}},
    "logins": {
        "smarthost": {"hostname": SMARTHOST, "port": "$PORT", "username": "me", "password": "secret"},
        "smtp": {"auth-in-clear": True},
    },
}
ONCE = {"maxattempts": 1}
PLAIN = tuple(word for word in EXTENSIONS if word != "PIPELINING")
REFUSED = entry("refused", "connect")


def settings_of(group: str) -> dict[str, Any]:
    """The settings of a group, as the YAML has them."""
    merged = {name: dict(values) for name, values in BASE.items()}
    for name, values in GROUPS[group].items():
        merged[name] = {**merged.get(name, {}), **values}
    return merged


# -- the talk: each step and what the host does there -----------------------------------------------------------------

CODES = {"4xx": (450, "4.2.0"), "5xx": (550, "5.1.1"), "421": (421, "4.3.2")}
STATES = {"greeting": "init", "ehlo": "ehlo", "mail": "mail from", "rcpt": "rcpt to", "data": "data", "end": "received"}
WHAT = {
    "4xx": "answers 4xx", "5xx": "answers 5xx", "421": "answers 421", "silence": "is silent", "close": "closes",
    "reset": "resets the connection", "endless": "answers with an endless line", "garbage": "answers what is no reply",
    "latin1": "answers in Latin-1", "twice": "answers twice at once", "drip": "answers in single bytes",
}  # fmt: skip
LATIN1_EHLO = b"250-mx.test Gr\xfc\xdfe\r\n250-PIPELINING\r\n250 8BITMIME\r\n"


def fate(step: str, does: str) -> Any:
    """The one entry of a job that may be tried once, if a host does that at that step."""
    state = STATES[step]
    if does in ("latin1", "drip") or (step, does) in (("ehlo", "4xx"), ("ehlo", "5xx"), ("end", "twice")):
        return entry("success", "accept", 250, None if (step, does) == ("end", "latin1") else "2.0.0")
    if does == "endless":
        return entry("overflow", state, doubt=step == "end")
    if step == "greeting":
        code, status = CODES.get(does, (220 if does == "twice" else None, None))
        return entry("noaccess", state, code, status)
    if does in CODES:
        return entry("error", state, *CODES[does], {"4xx": "Not now", "5xx": "Not here", "421": "Closing"}[does])
    if does == "silence":
        return entry("timeout", state, doubt=step == "end")
    if does in ("close", "reset"):
        if does == "reset" and step in ("rcpt", "data"):
            state = ...  # what was written before a RST may never be read
        return entry("lost", state, doubt=step == "end")
    if does == "garbage":
        return entry("error", state, None, None, "hello there", doubt=step == "end")
    return None


def talk_rows() -> Iterator[Row]:
    """Greeting to final dot, with and without PIPELINING."""
    for step in STATES:
        for does, words in WHAT.items():
            wanted = fate(step, does)
            if wanted is None:
                continue
            said: Any = LATIN1_EHLO if (step, does) == ("ehlo", "latin1") else does
            took = 1 if wanted.type == "success" else None if wanted.doubt else 0
            for extensions, how in ((EXTENSIONS, ""), (PLAIN, ", without PIPELINING")):
                if how and step in ("greeting", "ehlo"):
                    continue
                yield Row(
                    sentence=f"A host that {words} at {step} is {wanted.type}{how}.",
                    jobs=(job(ONCE, wanted),),
                    hosts=(host(took, 1, extensions=extensions, **{step: said}),),
                    real=not how,
                )


def twice_rows() -> Iterator[Row]:
    """Two replies where one is due: the talk is broken off, for nobody knows what answers what."""
    for step, state, code in (
        ("ehlo", "ehlo", 250), ("mail", "mail from", 250), ("rcpt", "rcpt to", 250), ("data", "data", 354),
    ):  # fmt: skip
        yield Row(
            sentence=f"Two replies at once to {step} are an error, for which another try may be made.",
            jobs=(job(ONCE, entry("error", state, code, ..., doubt=...)),),
            hosts=(host(0, 1, extensions=PLAIN, **{step: "twice"}),),
        )
    yield Row(
        sentence="With PIPELINING a reply too many shifts all others: an error, never a success.",
        jobs=(job(ONCE, entry("error", "data", 250, ...)),),
        hosts=(host(0, 1, mail="twice"),),
    )


def reset_rows() -> Iterator[Row]:
    """RSET after a refusal: where it fails, the next job was not tried, and goes over another connection."""
    refused = entry("error", "rcpt to", 550, "5.1.1")
    limits = {"max-connections": 1}
    for does, words in WHAT.items():
        kept = does in ("latin1", "drip")
        yield Row(
            sentence=f"Where a host {words} at RSET, the next job is delivered all the same.",
            jobs=(job({"recipient": "bad@$DOMAIN"}, refused), job()),
            hosts=(
                host(
                    1,
                    1 if kept else None,
                    extensions=PLAIN if does == "twice" else EXTENSIONS,
                    rcpt={"bad": "5xx"},
                    rset=[does],
                    said={"RSET": 1},
                ),
            ),
            limits=limits,
        )


def idle_rows() -> Iterator[Row]:
    """What comes to a connection that waits for its turn."""
    limits = {"messages-per-minute": 60, "connection-max-idle": "5s"}
    for does, words in WHAT.items():
        code, status = CODES.get(does, (None, None))
        if does in ("latin1", "twice"):
            code = 250
        quiet = does in ("silence", "drip")
        idle = entry("idle", "idle", code, status if status else None)
        yield Row(
            sentence=f"Where a host {words} while a connection waits for its next job, that job is idle, and sent.",
            jobs=(
                job(None, within=2),
                job(None, *([SUCCESS] if quiet else [idle, SUCCESS]), not_before=0.5, within=3.5),
            ),
            hosts=(host(2, 1 if does == "drip" else 2 if not quiet else None, idle=[does], idle_after=0.3),),
            limits=limits,
            real=does in ("421", "close", "4xx"),
            in_memory=does != "silence",
        )
    before = [{"attempt": number, "type": "idle", "time": "2026-01-01 00:00:00"} for number in (1, 2, 3)]
    yield Row(
        sentence="After three idle in a row the next counts as lost.",
        jobs=(job(), job({"results": before, **ONCE}, entry("lost", "idle", 421, "4.3.2"), before=3)),
        hosts=(host(1, idle=["421"], idle_after=0.3),),
        limits=limits,
    )
    yield Row(
        sentence="Idle entries are no attempts.",
        jobs=(job({"results": before, **ONCE}, entry("error", "rcpt to", 450, "4.2.0"), before=3),),
        hosts=(host(0, rcpt="4xx"),),
    )
    yield Row(
        sentence="An idle connection that the host closes while nothing waits is nobody's entry.",
        jobs=(job(), job(None, after=0, delay=0.6)),
        hosts=(host(2, 2, idle=["421"], idle_after=0.2),),
        limits=limits,
    )


# -- connections and hosts --------------------------------------------------------------------------------------------

SETUP = {
    "refuses the connection": (host(kind="refuses"), REFUSED),
    "does not answer": (host(kind="mute"), entry("connect", "connect")),
    "greets with 554": (host(greeting="554 5.7.1 Go away"), entry("noaccess", "init", 554, "5.7.1", "go away")),
}


def host_rows() -> Iterator[Row]:
    """Which host is spoken to, in which order, and which is left alone."""
    for kind, wanted in (("resets", entry("noaccess", "init")), ("far", entry("connect", "connect"))):
        yield Row(
            sentence=f"A host that is {kind} ends the attempt with {wanted.type}.",
            jobs=(job(ONCE, wanted),),
            hosts=(host(kind=kind),),
            real=False,
        )
    for words, (bad, wanted) in SETUP.items():
        yield Row(
            sentence=f"A host that {words} ends the attempt with {wanted.type}.",
            jobs=(job(ONCE, wanted),),
            hosts=(bad,),
        )
        yield Row(
            sentence=f"Where the first host {words}, the next is tried within the attempt.",
            jobs=(job(None, entry("success", "accept", 250, "2.0.0", host=2)),),
            hosts=(bad, host(1, 1), host(0, 0)),
        )
        yield Row(
            sentence=f"A host that {words} is offline at once: the next job waits, and no attempt is counted.",
            jobs=(job(ONCE, wanted), job(ONCE, wanted, after=0, not_before=2.5)),
            hosts=(bad,),
        )
        yield Row(
            sentence=f"A host that {words} is passed over by the next job.",
            jobs=(job(), job(None, entry("success", "accept", 250, "2.0.0", host=2), after=0, within=2)),
            hosts=(bad, host(2)),
        )
    yield from walk_rows()
    yield from offline_rows()


def walk_rows() -> Iterator[Row]:
    """From one host to the next."""
    yield Row(
        sentence="Hosts are tried in the order of their preference, not of the answer.",
        jobs=(job(None, entry("success", "accept", 250, "2.0.0", host=2)),),
        hosts=(host(0, 0), host(1, 1)),
        dns={
            "$DOMAIN": ["MX 20 b.$DOMAIN", "MX 5 a.$DOMAIN"],
            "a.$DOMAIN": ["A $H2"],
            "b.$DOMAIN": ["A $H1"],
        },
    )
    yield Row(
        sentence="The record of an attempt is that of the last host tried.",
        jobs=(job(ONCE, entry("noaccess", "init", 450, "4.2.0", host=3)),),
        hosts=(host(kind="refuses"), host(0, 1, greeting="5xx"), host(0, 1, greeting="4xx")),
    )
    for step in ("mail", "rcpt", "data", "end"):
        for does in ("4xx", "5xx"):
            yield Row(
                sentence=f"{does} at {step} ends the attempt: the other hosts are not asked.",
                jobs=(job(ONCE, entry("error", STATES[step], *CODES[does], host=1)),),
                hosts=(host(0, 1, **{step: does}), host(0, 0)),
            )
    for step in ("ehlo", "mail", "rcpt", "data", "end"):
        yield Row(
            sentence=f"A 421 at {step} goes on to the next host.",
            jobs=(job(None, entry("success", "accept", 250, "2.0.0", host=2)),),
            hosts=(host(0, 1, **{step: "421"}), host(1, 1)),
        )
    for does in ("silence", "close"):
        yield Row(
            sentence=f"A talk that ends by {does} does not go on to the next host.",
            jobs=(job(ONCE, entry("timeout" if does == "silence" else "lost", "rcpt to", host=1)),),
            hosts=(host(0, 1, rcpt=does), host(0, 0)),
        )
    yield Row(
        sentence="EHLO and HELO refused are noaccess, and the next host is tried.",
        jobs=(job(None, entry("success", "accept", 250, "2.0.0", host=2)),),
        hosts=(host(0, 1, ehlo="5xx", helo="5xx"), host(1, 1)),
    )
    yield Row(
        sentence="EHLO and HELO refused are noaccess in state helo.",
        jobs=(job(ONCE, entry("noaccess", "helo", 550, "5.1.1")),),
        hosts=(host(0, 1, ehlo="5xx", helo="5xx"),),
    )

    def both(ran: Ran) -> None:
        assert all(mx.mails for mx in ran.hosts), [len(mx.mails) for mx in ran.hosts]

    yield Row(
        sentence="Hosts of the same preference share the mail.",
        jobs=tuple(job() for _ in range(14)),
        hosts=(host(), host()),
        dns={"$DOMAIN": ["MX 10 a.$DOMAIN", "MX 10 b.$DOMAIN"], "a.$DOMAIN": ["A $H1"], "b.$DOMAIN": ["A $H2"]},
        limits={"connection-max-messages": 1},
        check=both,
    )


def offline_rows() -> Iterator[Row]:
    """Hosts that are left alone."""
    for does, kind in (("close", "lost"), ("silence", "timeout")):
        failed = entry(kind, "rcpt to")
        yield Row(
            sentence=f"Several {kind} in a short time take a host offline.",
            jobs=(
                job(ONCE, failed),
                job(ONCE, failed, after=0),
                job(ONCE, failed, after=1),
                job(None, after=2, not_before=2.4),
            ),
            hosts=(host(1, 4, rcpt=[does] * 3),),
        )
        yield Row(
            sentence=f"One {kind} does not take a host offline.",
            jobs=(job(ONCE, failed), job(None, after=0, within=2)),
            hosts=(host(1, 2, rcpt=[does]),),
        )
    for does in ("4xx", "5xx", "endless", "garbage", "421"):
        wanted = fate("rcpt", does)
        yield Row(
            sentence=f"A host that {WHAT[does]} at RCPT is not offline.",
            jobs=(job(ONCE, wanted), job(None, after=0, within=2)),
            hosts=(host(1, rcpt=[does]),),
        )
    yield Row(
        sentence="All hosts offline for long: the job waits at the broker, and is delivered when the first is back.",
        jobs=(
            job(ONCE, entry("noaccess", "init", 550, "5.1.1")),
            job(None, after=0, delay=0.2, not_before=6),
        ),
        hosts=(host(1, 2, greeting=["5xx"]),),
        limits={"offline-time": "9s"},
    )
    yield Row(
        sentence="A job whose time runs out while all hosts are offline is expired.",
        jobs=(
            job(ONCE, entry("noaccess", "init", 550, "5.1.1")),
            job({"maxdelivertime": "$TIME+2"}, entry("expired"), after=0, not_before=1, within=4.5),
        ),
        hosts=(host(0, 1, greeting=["5xx"]),),
        limits={"offline-time": "1h"},
    )


def connection_rows() -> Iterator[Row]:
    """How connections are used."""
    one = {"max-connections": 1}
    yield Row(
        sentence="One connection carries one job after the other, without RSET, and ends with QUIT.",
        jobs=tuple(job() for _ in range(4)),
        hosts=(host(4, 1, said={"RSET": 0, "QUIT": 1, "EHLO mail.example.com": 1}),),
        limits=one,
        lasts=2.5,
    )
    yield Row(
        sentence="Without PIPELINING, too.",
        jobs=tuple(job() for _ in range(4)),
        hosts=(host(4, 1, extensions=PLAIN, said={"RSET": 0, "QUIT": 1}),),
        limits=one,
        lasts=2.5,
    )
    yield Row(
        sentence="RSET is said where a transaction was left open, and only there.",
        jobs=(
            job({"recipient": "bad@$DOMAIN"}, entry("error", "rcpt to", 550, "5.1.1")),
            job(),
            job(),
        ),
        hosts=(host(2, 1, rcpt={"bad": "5xx"}, said={"RSET": 1}),),
        limits=one,
    )
    yield Row(
        sentence="A connection is closed after connection-max-messages.",
        jobs=tuple(job() for _ in range(4)),
        hosts=(host(4, 2, said={"QUIT": 2}),),
        limits={"connection-max-messages": 2, "max-connections": 1},
    )
    yield Row(
        sentence="messages-per-minute is an even pace, not a burst.",
        jobs=(
            job(None, within=1.9),
            job(None, not_before=0.9, within=3),
            job(None, not_before=1.9, within=4),
        ),
        hosts=(host(3),),
        limits={"messages-per-minute": 60, "connection-max-idle": "5s"},
        check=waited,
    )
    yield Row(
        sentence="A job whose time runs out while it is throttled is expired, and has no from and to.",
        jobs=(job(), job({"maxdelivertime": "$TIME+2"}, entry("expired"), not_before=1, within=4)),
        hosts=(host(1),),
        limits={"messages-per-minute": 2},
    )
    yield Row(
        sentence="More jobs than max-queue are all delivered.",
        jobs=tuple(job(None, within=30) for _ in range(30)),
        hosts=(host(30),),
        limits={"max-queue": 5, "max-connections": 2},
    )
    yield Row(
        sentence="Each job of a connection has its own outcome.",
        jobs=(
            job({"recipient": "a@$DOMAIN"}, entry("error", "rcpt to", 550, "5.1.1")),
            job({"recipient": "b@$DOMAIN"}),
            job({"recipient": "c@$DOMAIN", **ONCE}, entry("error", "rcpt to", 450, "4.2.0")),
            job({"recipient": "d@$DOMAIN"}),
            job({"envelope": "bad@example.com"}, entry("error", "mail from", 550, "5.1.1")),
            job({"recipient": "e@$DOMAIN"}),
        ),
        hosts=(host(3, 1, rcpt={"a": "5xx", "c": "4xx"}, mail={"bad": "5xx"}, said={"RSET": 3}),),
        limits=one,
    )
    yield Row(
        sentence="connects-per-minute is an even pace of connections.",
        jobs=(job(None, within=1.9), job(None, not_before=0.9, within=3)),
        hosts=(host(2, 2),),
        limits={"connects-per-minute": 60, "connection-max-messages": 1},
    )

    def never_more(ran: Ran) -> None:
        assert len(ran.hosts[0].connections) <= 3, len(ran.hosts[0].connections)

    yield Row(
        sentence="max-connections holds.",
        jobs=tuple(job() for _ in range(12)),
        hosts=(host(12, extensions=PLAIN),),
        limits={"max-connections": 3, "connection-max-idle": "5s"},
        check=never_more,
    )


def waited(ran: Ran) -> None:
    """The last one says how long it waited, and for which limit."""
    (_, body), *_ = ran.of(2)["results"]
    found = json.loads(body)["results"][0]["waited"]
    assert found["limit"] == "messages-per-minute" and 1 < found["seconds"] < 9, found


# -- DNS --------------------------------------------------------------------------------------------------------------


def dns_rows() -> Iterator[Row]:
    """Where mail goes."""

    def dns(sentence: str, zone: Mapping[str, list[str]], wanted: Any, **more: Any) -> Row:
        more.setdefault("hosts", (host(1 if wanted.type == "success" else 0),))
        return Row(sentence=sentence, jobs=(job({**more.pop("job", ONCE)}, wanted),), dns=dict(zone), **more)

    nohosts = entry("nohosts")
    null_mx = entry("error", None, 556, "5.1.10", "null MX", peer=False)
    yield dns("A null MX is a final error 556 without a connection.", {"$DOMAIN": ["MX 0 ."]}, null_mx, job={})
    yield dns("A domain that does not exist has no hosts.", {}, nohosts)
    yield dns("A DNS failure is nohosts.", {"$DOMAIN": ["SERVFAIL"]}, nohosts)
    yield dns("No answer from DNS is nohosts.", {"$DOMAIN": ["SILENT"]}, nohosts)
    yield dns("A domain with neither MX nor address has no hosts.", {"$DOMAIN": []}, nohosts)
    yield dns("A domain without MX is its own host.", {"$DOMAIN": ["A $H1"]}, SUCCESS)
    yield dns("MX hosts without address are no hosts.", {"$DOMAIN": ["MX 1 a.$DOMAIN"]}, nohosts)
    yield dns(
        "An MX host without address is passed over.",
        {"$DOMAIN": ["MX 1 a.$DOMAIN", "MX 2 b.$DOMAIN"], "b.$DOMAIN": ["A $H1"]},
        SUCCESS,
    )
    yield dns(
        "An MX host that is an alias is followed.",
        {"$DOMAIN": ["MX 1 a.$DOMAIN"], "a.$DOMAIN": ["CNAME b.$DOMAIN"], "b.$DOMAIN": ["A $H1"]},
        SUCCESS,
    )
    yield dns(
        "The entry names the MX host.",
        {"$DOMAIN": ["MX 1 a.$DOMAIN"], "a.$DOMAIN": ["A $H1"]},
        entry("success", "accept", 250, "2.0.0", more={"mx": "a.$DOMAIN", "duration": ..., "timing": ...}),
    )
    yield dns(
        "IPv6 works.",
        {"$DOMAIN": ["MX 1 a.$DOMAIN"], "a.$DOMAIN": ["AAAA ::1"]},
        entry("success", "accept", 250, "2.0.0", more={"to": "::1", "from": "::1"}),
        hosts=(host(1, 1, address="::1"),),
        in_memory=False,
    )
    literal = {"recipient": "one@[$H1]"}
    yield dns("An address literal is an address.", {}, SUCCESS, job=literal)
    for recipient in ("one@a..b", "one@-", f"one@{'x' * 64}.test", "one@[300.1.1.1]", "one@1.2.3.4"):
        yield dns(f"{recipient[:20]} has no hosts.", {}, nohosts, job={"recipient": recipient, **ONCE})
    yield dns(
        "A domain in Unicode is looked up in punycode.",
        {"xn--bcher-kva.$DOMAIN": ["A $H1"]},
        SUCCESS,
        job={"recipient": "one@bücher.$DOMAIN"},
    )
    yield dns(
        "A domain in punycode, and in capitals, is the same.",
        {"xn--bcher-kva.$DOMAIN": ["A $H1"]},
        SUCCESS,
        job={"recipient": "one@XN--BCHER-KVA.$DOMAIN"},
    )
    yield dns(
        "The domain of a result is in lower case, and capitals make no other domain.",
        {"a.$DOMAIN": ["A $H1"]},
        SUCCESS,
        job={"recipient": "One@A.$DOMAIN"},
    )
    yield dns(
        "A local part in quotes goes as it is.",
        {"a.$DOMAIN": ["A $H1"]},
        SUCCESS,
        job={"recipient": '"a b"@a.$DOMAIN'},
        hosts=(host(1, said={'RCPT TO:<"a b"@a.': 1}),),
    )
    yield Row(
        sentence="nohosts is tried again.",
        jobs=(job({"maxattempts": 2}, nohosts, nohosts, not_before=0.9),),
        hosts=(),
        dns={},
    )


# -- attempts and times -----------------------------------------------------------------------------------------------


def time_rows() -> Iterator[Row]:
    """Retries, expiry, waits."""
    soft = entry("error", "rcpt to", 450, "4.2.0")
    yield Row(
        sentence="4xx is tried again after the delays of the job, the last of which repeats; each has a retry copy.",
        jobs=(job({"retries": [1, 2]}, soft, soft, soft, SUCCESS, not_before=4.5, within=9),),
        hosts=(host(1, rcpt=["4xx"] * 3),),
    )
    yield Row(
        sentence="4xx is tried again after the configured delay.",
        jobs=(job(None, soft, SUCCESS, not_before=0.9, within=4),),
        hosts=(host(1, rcpt=["4xx"]),),
    )
    yield Row(
        sentence="5xx is final.",
        jobs=(job(None, entry("error", "rcpt to", 550, "5.1.1")),),
        hosts=(host(0, 1, rcpt="5xx"),),
    )
    yield Row(
        sentence="A soft failure at the attempt limit is final, with its own type, and no expired after it.",
        jobs=(job({"maxattempts": 2}, soft, soft),),
        hosts=(host(0, rcpt="4xx"),),
    )
    yield Row(
        sentence="The limit of attempts is six by default.",
        jobs=(job(None, *[soft] * 6, within=12),),
        hosts=(host(0, rcpt="4xx"),),
    )
    yield Row(
        sentence="A soft failure whose next try would come after maxdelivertime is final at once.",
        jobs=(job({"maxdelivertime": "$TIME+5", "retries": [10]}, soft, within=2),),
        hosts=(host(0, 1, rcpt="4xx"),),
    )
    yield Row(
        sentence="A soft failure whose next try would come after max-delivery-time is final at once.",
        jobs=(job({"retries": [10]}, soft, within=2, copies={"results": 1, "failure": 1}),),
        hosts=(host(0, 1, rcpt="4xx"),),
        group="more",
    )
    yield Row(
        sentence="A job over its maxdelivertime is expired, and nothing is connected.",
        jobs=(job({"maxdelivertime": "$TIME-5"}, entry("expired")),),
        hosts=(host(0, 0),),
    )
    old = {"attempt": 1, "type": "error", "time": "2026-01-01 00:00:00", "code": 450, "mine": 1}
    yield Row(
        sentence="A job with as many attempts as it may have is expired, and nothing is connected.",
        jobs=(job({"results": [old, old], "maxattempts": 2}, entry("expired"), before=2),),
        hosts=(host(0, 0),),
    )
    yield Row(
        sentence="maxattempts 0 is no limit.",
        jobs=(job({"results": [old] * 30, "maxattempts": 0}, soft, SUCCESS, before=30),),
        hosts=(host(1, rcpt=["4xx"]),),
    )
    yield Row(
        sentence="Both limits hold: attempts may be left, but the time is over.",
        jobs=(job({"maxattempts": 0, "maxdelivertime": "$TIME-1"}, entry("expired")),),
        hosts=(host(0, 0),),
    )
    yield from wait_rows()
    yield from hour_rows()


def hour_rows() -> Iterator[Row]:
    """Hours, with the default times; the clock of the tests makes nothing of them."""
    soft = entry("error", "rcpt to", 450, "4.2.0")

    def gaps(wanted: list[int]) -> Any:
        def check(ran: Ran) -> None:
            (_, body), *_ = ran.found["results"]
            times = [parse_time("time", one["time"]) for one in json.loads(body)["results"]]
            found = [int(later - earlier) for earlier, later in pairwise(times)]
            assert all(0 <= one - other <= 2 for one, other in zip(found, wanted, strict=True)), found

        return check

    def hours(sentence: str, *jobs: Job, longest: float, **more: Any) -> Row:
        more.setdefault("hosts", (host(0, rcpt="4xx"),))
        return Row(sentence=sentence, jobs=jobs, group="defaults", real=False, longest=longest, step=5.0, **more)

    yield hours(
        "The default schedule is 10m, 10m, 30m, 30m, 1h.",
        job(None, *[soft] * 6, within=9000),
        longest=9000,
        check=gaps([600, 600, 1800, 1800, 3600]),
    )
    schedule = [600, 600, 1800, 1800, 3600, 3600, *[7200] * 10]
    yield hours(
        "Without a limit of attempts the last delay repeats until the next try would be after 24 hours.",
        job({"maxattempts": 0}, *[soft] * 17, within=90000),
        longest=90000,
        check=gaps(schedule),
    )
    yield hours(
        "nextattempt in an hour is an hour.",
        job({"nextattempt": {"time": "$TIME+3600"}}, not_before=3599, within=3610),
        longest=4000,
        hosts=(host(1),),
    )
    tls = entry("tls", "starttls", *CODES["5xx"])
    yield Row(
        sentence="A host that failed at TLS is spoken to in clear for an hour, then tried with TLS again.",
        jobs=(
            job(None, tls, SUCCESS, within=700),
            job(None, after=0, within=10),
            job(None, tls, SUCCESS, after=1, delay=3600, within=700),
        ),
        hosts=(host(3, extensions=(*EXTENSIONS, "STARTTLS"), starttls=["5xx", "5xx"], said={"STARTTLS": 2}),),
        group="defaults",
        real=False,
        longest=9000,
        step=5.0,
    )
    yield hours(
        "A host is offline for five minutes.",
        job(ONCE, entry("noaccess", "init", 550, "5.1.1")),
        job(None, after=0, not_before=285, within=310),
        longest=600,
        hosts=(host(1, 2, greeting=["5xx"]),),
    )


def wait_rows() -> Iterator[Row]:
    """nextattempt and delayed."""
    for name, value in (("nextattempt", {"time": "$TIME+3"}), ("delayed", "$TIME+3")):
        yield Row(
            sentence=f"{name} is waited for.",
            jobs=(job({name: value}, not_before=1.9, within=6),),
            hosts=(host(1),),
        )
    for name, value in (("nextattempt", {"time": "$TIME-30"}), ("delayed", "$TIME-30")):
        yield Row(
            sentence=f"{name} in the past is no wait.",
            jobs=(job({name: value}, within=2),),
            hosts=(host(1),),
        )
    yield Row(
        sentence="A wait that is longer than delivery.hold is the broker's.",
        jobs=(job({"nextattempt": {"time": "$TIME+8"}}, not_before=6.9, within=12),),
        hosts=(host(1),),
    )
    yield Row(
        sentence="A job that is to wait for an hour is not delivered now.",
        jobs=(waiting({"nextattempt": {"time": "$TIME+3600"}}),),
        hosts=(host(0, 0),),
    )
    yield Row(
        sentence="The expiry of a job is not slept through.",
        jobs=(
            job(
                {"nextattempt": {"time": "$TIME+3600"}, "maxdelivertime": "$TIME+2"},
                entry("expired"),
                not_before=1,
                within=5,
            ),
        ),
        hosts=(host(0, 0),),
    )
    doubt = entry("lost", "received", doubt=True)
    yield Row(
        sentence="Lost after the final dot is in doubt, and tried again by default.",
        jobs=(job(None, doubt, SUCCESS),),
        hosts=(host(1, 2, end=["close"]),),
    )
    yield Row(
        sentence="in-doubt: fail makes it final.",
        jobs=(
            job(
                {"security": "opportunistic"},
                entry("timeout", "received", doubt=True),
                copies={"failure": 1},
            ),
        ),
        hosts=(host(0, 1, end=["silence"]),),
        group="only-failure",
    )
    yield Row(
        sentence="in-doubt: hold keeps it until it expires, and never sends it again.",
        jobs=(
            job(
                {"maxdelivertime": "$TIME+3"},
                doubt,
                entry("expired"),
                not_before=2,
                within=7,
                copies={"results": 2, "failure": 1, "retry": 1},
            ),
        ),
        hosts=(host(0, 1, end=["close"]),),
        group="more",
    )


# -- queues -----------------------------------------------------------------------------------------------------------


def queue_rows() -> Iterator[Row]:
    """Which queue gets what."""
    bad = entry("error", "rcpt to", 550, "5.1.1")
    soft = entry("error", "rcpt to", 450, "4.2.0")
    refuses = host(0, rcpt="5xx")
    own = {"results": "$ROW.mine", "success": "$ROW.good", "failure": "$ROW.bad", "retry": "$ROW.again"}

    def own_row(sentence: str, queues: Any, entries: tuple[Any, ...], copies: dict[str, int], **script: Any) -> Row:
        return Row(sentence=sentence, jobs=(job({"queues": queues}, *entries, copies=copies),), hosts=(host(**script),))

    yield own_row("A job's own queues get its success.", own, (SUCCESS,), {"mine": 1, "good": 1})
    yield own_row("A job's own queues get its failure.", own, (bad,), {"mine": 1, "bad": 1}, rcpt="5xx")
    yield own_row(
        "A job's own queues get its retries.", own, (soft, SUCCESS), {"mine": 1, "good": 1, "again": 1}, rcpt=["4xx"]
    )
    yield own_row("An empty queues gets nothing.", {}, (SUCCESS,), {})
    yield own_row("queues: null members are none.", {"results": None, "success": "$ROW.good"}, (SUCCESS,), {"good": 1})
    yield own_row("failures is failure.", {"failures": "$ROW.bad"}, (bad,), {"bad": 1}, rcpt="5xx")
    yield own_row(
        "Only its own success queue: a failure leaves no trace.", {"success": "$ROW.good"}, (bad,), {}, rcpt="5xx"
    )
    yield own_row(
        "queues with nothing for retries: none.", {"results": "$ROW.mine"}, (soft, SUCCESS), {"mine": 1}, rcpt=["4xx"]
    )
    yield own_row(
        "The outbox of a job is not looked at.", {"outbox": "$ROW.out", "results": "$ROW.mine"}, (SUCCESS,), {"mine": 1}
    )
    quiet = {"security": "opportunistic"}
    yield Row(
        sentence="With only failure on, a success leaves no trace.",
        jobs=(job(quiet, SUCCESS, copies={}),),
        hosts=(host(1),),
        group="only-failure",
    )
    yield Row(
        sentence="With only failure on, a failure is there once.",
        jobs=(job(quiet, bad, copies={"failure": 1}),),
        hosts=(refuses,),
        group="only-failure",
    )
    yield Row(
        sentence="With retry off, a retry leaves no trace.",
        jobs=(job(quiet, soft, soft, SUCCESS, copies={}),),
        hosts=(host(1, rcpt=["4xx", "4xx"]),),
        group="only-failure",
        lasts=5,
    )
    yield Row(
        sentence="With invalid off, what is no job is dropped.",
        jobs=(job(b"only-failure: no job", copies={}, entries=()),),
        hosts=(),
        group="only-failure",
    )
    yield Row(
        sentence="nohosts: fail makes a domain that does not exist final.",
        jobs=(job(None, entry("nohosts"), copies={"failure": 1}, within=2),),
        hosts=(),
        dns={},
        group="only-failure",
    )
    yield Row(
        sentence="nohosts: fail does not make a DNS failure final.",
        jobs=(job({"maxattempts": 2}, entry("nohosts"), entry("nohosts"), copies={"failure": 1}, not_before=0.9),),
        hosts=(),
        dns={"$DOMAIN": ["SERVFAIL"]},
        group="only-failure",
    )
    yield Row(
        sentence="TLS that is required and not offered is tls, and nothing is sent.",
        jobs=(job(ONCE, entry("tls", "starttls"), copies={"failure": 1}),),
        hosts=(host(0, 1, said={"MAIL": 0}),),
        group="only-failure",
    )
    yield Row(
        sentence="results-include-retries adds the retries to results; success off: only results.",
        jobs=(job({"maxdelivertime": "$TIME+20"}, soft, SUCCESS, copies={"results": 2, "retry": 1}),),
        hosts=(host(1, rcpt=["4xx"]),),
        group="more",
        check=results_end_with_success,
    )
    yield Row(
        sentence="smtp.ips are the local addresses.",
        jobs=(job(None, entry("success", "accept", 250, "2.0.0", more={"from": "127.0.0.9"}), copies={"results": 1}),),
        hosts=(host(1),),
        group="more",
    )
    yield Row(
        sentence="max-attempts of the configuration holds.",
        jobs=(job(None, soft, soft, copies={"results": 2, "failure": 1, "retry": 1}),),
        hosts=(host(0, rcpt="4xx"),),
        group="more",
    )


def results_end_with_success(ran: Ran) -> None:
    """The last one on the results queue is the success."""
    bodies = [json.loads(body) for _, body in ran.found["results"]]
    assert [one["results"][-1]["type"] for one in bodies] == ["error", "success"], bodies


def invalid_rows() -> Iterator[Row]:
    """Bodies that are no job at all."""
    bodies = {
        "a text": b"invalid: hello", "an array": b'["invalid", 1]', "a string": b'"invalid"', "a number": b"1e3",
        "null": b"null", "nothing": b"", "cut short": b'{"recipient": "one@example.org', "not UTF-8": b'{"a": "\xff"}',
        "two objects": b'{"a": 1}{"b": 2}', "with NaN": b'{"a": NaN}', "with a trailing comma": b'{"a": 1,}',
        "UTF-16": '{"a": 1}'.encode("utf-16"), "nested deeply": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "with a NUL": b'\0{"a": 1}', "with a raw line break": b'{"a": "\n"}',
    }  # fmt: skip
    for words, body in bodies.items():
        yield Row(
            sentence=f"A body that is {words} is no job: it is put into invalid, byte for byte.",
            jobs=(job(body, entries=(), copies={"invalid": 1}),),
            hosts=(),
            dns={},
        )
    yield Row(
        sentence="A body that says gzip and is none is invalid.",
        jobs=(job(b"invalid: no gzip", entries=(), copies={"invalid": 1}, encoding="gzip"),),
        hosts=(),
    )


# -- the job ----------------------------------------------------------------------------------------------------------

WRONG: tuple[tuple[str, Any], ...] = (
    ("recipient", 5), ("recipient", None), ("recipient", ""), ("recipient", "nobody"), ("recipient", "@$DOMAIN"),
    ("recipient", "one@"), ("recipient", "a b@$DOMAIN"), ("recipient", "one@$DOMAIN\r\nRCPT TO:<two@$DOMAIN>"),
    ("recipient", "one@$DOMAIN>"), ("recipient", ["one@$DOMAIN"]), ("recipient", "one@$DOMAIN, two@$DOMAIN"),
    ("envelope", 5), ("envelope", "nobody"), ("envelope", "a@b\r\nDATA"), ("envelope", ["a@b.c"]),
    ("mime", 5), ("mime", ["x"]), ("mime", None), ("mime", True),
    ("key", 5), ("keepmime", "yes"), ("keepmime", 2), ("keepmime", []),
    ("maxdelivertime", 5), ("maxdelivertime", "tomorrow"), ("maxdelivertime", "2026-13-01 00:00:00"),
    ("maxdelivertime", "2026-02-30 00:00:00"), ("maxdelivertime", "2026-01-01T00:00:00"),
    ("maxdelivertime", "2026-01-01 00:00"), ("maxdelivertime", ""), ("maxdelivertime", "2026-01-01 24:00:00"),
    ("maxattempts", -1), ("maxattempts", "6"), ("maxattempts", 1.5), ("maxattempts", 2**31), ("maxattempts", True),
    ("retries", 10), ("retries", "10"), ("retries", [-1]), ("retries", ["10"]), ("retries", [2**31]),
    ("retries", [1.5]), ("retries", {"1": 2}),
    ("nextattempt", 5), ("nextattempt", "2026-01-01 00:00:00"), ("nextattempt", {}), ("nextattempt", {"time": "soon"}),
    ("nextattempt", {"time": 5}), ("delayed", 5), ("delayed", "soon"), ("delayed", {"time": "2026-01-01 00:00:00"}),
    ("ips", "127.0.0.1"), ("ips", [5]), ("ips", {"a": 1}), ("pool", 5), ("pool", ["mine"]),
    ("queues", 5), ("queues", "x"), ("queues", ["x"]), ("queues", {"results": 5}), ("queues", {"failures": ["x"]}),
    ("smarthost", "x"), ("smarthost", {}), ("smarthost", {"hostname": 5}), ("smarthost", {"hostname": "x", "port": 0}),
    ("smarthost", {"hostname": "x", "port": 65536}), ("smarthost", {"hostname": "x", "port": "smtp"}),
    ("smarthost", {"hostname": "x", "username": 5}),
    ("results", {}), ("results", "x"), ("results", [5]), ("priority", "high"), ("priority", -1), ("priority", 256),
    ("tags", "x"), ("data", "x"), ("dkim", 5), ("dsn", 5), ("headers", "x"), ("inlinecss", "yes"), ("normalize", 5),
    ("security", "very"), ("security", 5), ("force", "yes"),
)  # fmt: skip


def wrong_rows() -> Iterator[Row]:
    """Jobs that cannot be used: final, nothing is connected, and the property is named."""
    for number, (name, value) in enumerate(WRONG):
        shown = json.dumps(value)[:40]
        yield Row(
            sentence=f"{name}: {shown} makes a job fail, and the description names it ({number}).",
            jobs=(job({name: value}, entry("error", None, None, None, name, peer=False)),),
            hosts=(host(0, 0),),
        )
    yield Row(
        sentence="A wrong job's own queues hold.",
        jobs=(
            job(
                {"maxattempts": "x", "queues": {"failure": "$ROW.bad"}},
                entry("error", None, None, None, "maxattempts", peer=False),
                copies={"bad": 1},
            ),
        ),
        hosts=(host(0, 0),),
    )
    yield Row(
        sentence="A message with half a surrogate pair cannot be sent: the job fails, and nothing is sent.",
        jobs=(
            job(
                '{"recipient":"one@$DOMAIN","row":"$ROW.0","mime":"Subject: x\\r\\n\\r\\n\\ud83d oh\\r\\n"}',
                entry("error", None, None, None, "mime", peer=False),
            ),
        ),
        hosts=(host(0, 0),),
    )


UNKNOWN = (
    '"float":1e3,"more":1.10', '"big":123456789012345678901234567890', '"negative":-0.0', '"exponent":1E+400',
    '"half":"\\ud83d"', '"halves":["\\ude00","\\ud83d\\ude00"]', '"\\ud83d":"a name"', '"text":"\\u0041\\/\\n"',
    '"nested":{"z":1,"a":{"y":[1,2,{"x":1e3}],"b":1.0}}', '"none":null,"empty":{},"list":[]', '"umlaut":"ä€😀"',
    '"b":1,"a":2,"c":3', '"spaced":[ 1 , 2 ]',
)  # fmt: skip


def result_rows() -> Iterator[Row]:
    """What comes back."""
    start = '{"mime":"Subject: x\\r\\n\\r\\nx\\r\\n","recipient":"One@$DOMAIN","row":"$ROW.0",'
    for unknown in UNKNOWN:
        yield Row(
            sentence=f"Properties that nobody knows come back byte for byte: {unknown}",
            jobs=(job(start + unknown + "}", kept=(f'"row":"$ROW.0",{unknown},"domain":"$DOMAIN","results":[',)),),
            hosts=(host(1),),
        )
        yield Row(
            sentence=f"So they do after a retry: {unknown}",
            jobs=(
                job(
                    start + unknown + ',"tail":1}',
                    entry("error", "rcpt to", 450, "4.2.0"),
                    SUCCESS,
                    kept=(f'"row":"$ROW.0",{unknown},"tail":1,',),
                ),
            ),
            hosts=(host(1, rcpt=["4xx"]),),
        )
    before = '"results":[{"attempt":1,"type":"error","time":"2026-01-01 00:00:00","mine":1e3,"more":"\\ud83d"} ]'
    yield Row(
        sentence="The results of an earlier life are kept byte for byte, and made longer.",
        jobs=(
            job(
                start + before + ',"tail":1}',
                SUCCESS,
                before=1,
                kept=(before.removesuffix("} ]") + '},{"attempt":2,"type":"success"', '"tail":1'),
            ),
        ),
        hosts=(host(1),),
    )
    for value in (True, 1):
        yield Row(
            sentence=f"keepmime {value!r} keeps the body, through a retry, too.",
            jobs=(
                job(
                    {"keepmime": value},
                    entry("error", "rcpt to", 450, "4.2.0"),
                    SUCCESS,
                    gone=(),
                ),
            ),
            hosts=(host(1, rcpt=["4xx"]),),
            check=has_mime,
        )
    for value in (False, 0):
        yield Row(
            sentence=f"keepmime {value!r} does not keep the body.",
            jobs=(job({"keepmime": value}),),
            hosts=(host(1),),
        )
    yield Row(
        sentence="A key is nodata where there is no store: found out when the connection is up.",
        jobs=(job({"mime": None, "key": "abc"}, entry("nodata", "data")),),
        hosts=(host(0, 1, said={"MAIL": 0}),),
    )
    plain = json.dumps({"recipient": "one@zipped.$DOMAIN", "row": "$ROW.0", "mime": MESSAGE})
    yield Row(
        sentence="A job that is compressed is read, and its result is not.",
        jobs=(Job(properties=plain, encoding="gzip"),),
        dns={"zipped.$DOMAIN": ["A $H1"]},
        hosts=(host(1),),
    )
    yield Row(
        sentence="A compressed job that is tried again is delivered.",
        jobs=(Job(properties=plain, encoding="gzip", entries=(entry("error", "rcpt to", 450, "4.2.0"), SUCCESS)),),
        dns={"zipped.$DOMAIN": ["A $H1"]},
        hosts=(host(1, rcpt=["4xx"]),),
    )
    for sender, wanted in (("", ""), (None, ""), ("me@example.com", "me@example.com")):
        yield Row(
            sentence=f"envelope {sender!r} is MAIL FROM:<{wanted}>.",
            jobs=(job({"envelope": sender}),),
            hosts=(host(1, said={f"MAIL FROM:<{wanted}>": 1}),),
        )
    yield Row(
        sentence="envelope null is MAIL FROM:<>.",
        jobs=(job('{"recipient":"one@$DOMAIN","row":"$ROW.0","envelope":null,"mime":"a: b\\r\\n\\r\\nx"}'),),
        hosts=(host(1, said={"MAIL FROM:<>": 1}),),
    )
    yield Row(
        sentence="A success without a text has no description; several lines of a reply are one.",
        jobs=(
            job(None, entry("success", "accept", 250, None)),
            job(None, entry("success", "accept", 250, "2.1.5", "one two"), after=0),
        ),
        hosts=(host(2, end=["250", "250 2.1.5 one\n250 2.1.5 two"]),),
        check=no_description,
    )


def no_description(ran: Ran) -> None:
    """The first has none."""
    (_, body), *_ = ran.of(0)["results"]
    assert "description" not in json.loads(body)["results"][0], body


def has_mime(ran: Ran) -> None:
    """The message is in the result and in the retry copy."""
    for queue in ("results", "success", "retry"):
        for _, body in ran.found[queue]:
            assert json.loads(body)["mime"] == MESSAGE, (queue, body)
    assert len(ran.hosts[0].mails) == 1 and ran.hosts[0].mails[0].message == MESSAGE.encode(), ran.hosts[0].mails


# -- how it is sent ---------------------------------------------------------------------------------------------------


def message_rows() -> Iterator[Row]:
    """What the host sees of a message."""
    yield Row(
        sentence="A message that is larger than the host takes is not sent: 552.",
        jobs=(job({"mime": MESSAGE + "x" * 500}, entry("error", "mail from", 552, "5.3.4", "at most 300")),),
        hosts=(host(0, extensions=("SIZE 300",), said={"MAIL": 0}),),
    )
    eight = {"mime": "Subject: x\r\n\r\nGrüße aus Köln\r\n"}

    def as_it_is(ran: Ran) -> None:
        (mail,) = ran.hosts[0].mails
        assert mail.message == eight["mime"].encode() and "BODY=8BITMIME" in mail.parameters, mail

    def in_ascii(ran: Ran) -> None:
        (mail,) = ran.hosts[0].mails
        assert mail.raw.isascii() and not mail.parameters, mail

    yield Row(
        sentence="An 8-bit message goes as it is to a host with 8BITMIME.",
        jobs=(job(eight),),
        hosts=(host(1, extensions=("8BITMIME",)),),
        check=as_it_is,
    )
    yield Row(
        sentence="An 8-bit message is made 7-bit for a host without 8BITMIME.",
        jobs=(job(eight),),
        hosts=(host(1, extensions=()),),
        check=in_ascii,
    )
    yield Row(
        sentence="An address in UTF-8 goes to a host with SMTPUTF8.",
        jobs=(job({"recipient": "jürgen@$DOMAIN"}),),
        hosts=(host(1, said={"RCPT TO:<jürgen@": 1}),),
        check=lambda ran: check_that("SMTPUTF8" in ran.hosts[0].mails[0].parameters, ran.hosts[0].mails),
    )
    yield Row(
        sentence="An address in UTF-8 does not go to a host without SMTPUTF8: 550 5.6.7.",
        jobs=(job({"recipient": "jürgen@$DOMAIN"}, entry("error", "mail from", 550, "5.6.7")),),
        hosts=(host(0, extensions=("8BITMIME",), said={"MAIL": 0}),),
    )
    dots = ".\r\n..\r\n.x\r\nx\n.\ny\r.\rz"

    def dotted(ran: Ran) -> None:
        (mail,) = ran.hosts[0].mails
        wanted = b"a: b\r\n\r\n.\r\n..\r\n.x\r\nx\r\n.\r\ny\r\n.\r\nz\r\n"
        assert mail.message == wanted, mail.message

    yield Row(
        sentence="Lines with dots arrive, and line ends of any kind are CRLF.",
        jobs=(job({"mime": "a: b\r\n\r\n" + dots}),),
        hosts=(host(1),),
        check=dotted,
    )
    large = "a: b\r\n\r\n" + "".join(f".{number:07}\r\n" for number in range(200_000))

    def whole(ran: Ran) -> None:
        (mail,) = ran.hosts[0].mails
        assert mail.message == large.encode(), len(mail.message)

    yield Row(
        sentence="A message of two megabytes arrives.",
        jobs=(job({"mime": large}),),
        hosts=(host(1),),
        check=whole,
    )


def check_that(fine: bool, what: Any) -> None:
    """An assertion as an expression."""
    assert fine, what


def source_rows() -> Iterator[Row]:
    """From which local address."""
    sent_from = lambda address: entry("success", "accept", 250, "2.0.0", more={"from": address})  # noqa: E731
    bind = entry("bind", None, peer=False)
    yield Row(sentence="ips is where it leaves from.", jobs=(job({"ips": ["127.0.0.5"]}, sent_from("127.0.0.5")),))
    yield Row(
        sentence="Addresses in ips that are not here are skipped.",
        jobs=(job({"ips": ["192.0.2.99", "nonsense", "127.0.0.6"]}, sent_from("127.0.0.6")),),
    )
    yield Row(
        sentence="Where none of ips is here, it is bind: final, nothing is connected.",
        jobs=(job({"ips": ["192.0.2.99"]}, bind),),
        hosts=(host(0, 0),),
    )
    yield Row(sentence="An empty ips is bind.", jobs=(job({"ips": []}, bind),), hosts=(host(0, 0),))
    yield Row(sentence="pool is where it leaves from.", jobs=(job({"pool": "mine"}, sent_from("127.0.0.7")),))
    yield Row(
        sentence="pool is ignored beside ips.",
        jobs=(job({"pool": "elsewhere", "ips": ["127.0.0.5"]}, sent_from("127.0.0.5")),),
    )
    yield Row(
        sentence="A pool of which no address is here is bind.",
        jobs=(job({"pool": "elsewhere"}, bind),),
        hosts=(host(0, 0),),
    )
    yield Row(
        sentence="A pool that is not configured is an error that names it.",
        jobs=(job({"pool": "nowhere"}, entry("error", None, None, None, "pool", "nowhere", peer=False)),),
        hosts=(host(0, 0),),
    )

    def both(ran: Ran) -> None:
        used = {json.loads(body)["results"][0]["from"] for _, body in ran.found["results"]}
        assert used == {"127.0.0.5", "127.0.0.6"}, used

    yield Row(
        sentence="Several local addresses take turns.",
        jobs=tuple(job({"ips": ["127.0.0.5", "127.0.0.6"]}) for _ in range(4)),
        hosts=(host(4),),
        limits={"connection-max-messages": 1},
        check=both,
    )
    yield Row(
        sentence="smtp.ips do not hold for a job with its own.",
        jobs=(job({"ips": ["127.0.0.5"]}, sent_from("127.0.0.5"), copies={"results": 1}),),
        group="more",
    )


def smarthost_rows() -> Iterator[Row]:
    """Instead of the MX."""
    there = {"smarthost": {"hostname": "$H1", "port": 0}}
    text = json.dumps({"recipient": "one@$DOMAIN", "row": "$ROW.0", "mime": MESSAGE, **there}).replace(
        ": 0}", ": $PORT}"
    )
    yield Row(
        sentence="A job's smarthost is where it goes; DNS is not asked.", jobs=(job(text),), hosts=(host(1),), dns={}
    )
    yield Row(
        sentence="A smarthost may be a name, and its port a string.",
        jobs=(job({"smarthost": {"name": "smart.$DOMAIN", "port": "$PORT"}}),),
        hosts=(host(1), host(0, 0)),
        dns={"smart.$DOMAIN": ["A $H1", "MX 1 mx.$DOMAIN"], "mx.$DOMAIN": ["A $H2"]},
    )
    login = {"smarthost": {"hostname": "$H1", "port": "$PORT", "username": "me", "password": "secret"}, **ONCE}
    yield Row(
        sentence="A smarthost's password is not sent in clear.",
        jobs=(job(login, entry("error", "auth", None, None, "clear")),),
        hosts=(host(0, 1, users={"me": "secret"}, said={"AUTH": 0, "MAIL": 0}),),
        dns={},
    )
    yield Row(
        sentence="The configured smarthost gets all mail.",
        jobs=(job(), job({"recipient": "two@other.$DOMAIN"}), job({"recipient": "three@[192.0.2.5]"})),
        hosts=(host(3, address=SMARTHOST),),
        dns={},
        group="smarthost",
    )
    yield Row(
        sentence="A job's own smarthost goes before the configured one.",
        jobs=(job({"smarthost": {"hostname": "$H1", "port": "$PORT"}}),),
        hosts=(host(1),),
        dns={},
        group="smarthost",
    )
    yield Row(
        sentence="auth-in-clear: the password is sent, and the mail goes.",
        jobs=(job(),),
        hosts=(host(1, 1, address=SMARTHOST, users={"me": "secret"}, said={"AUTH": 1}),),
        dns={},
        group="logins",
    )
    yield Row(
        sentence="A wrong password is an error in state auth, and final.",
        jobs=(
            job(
                {"smarthost": {"hostname": "$H1", "port": "$PORT", "username": "me", "password": "wrong"}},
                entry("error", "auth", 535, "5.7.8"),
            ),
        ),
        hosts=(host(0, 1, users={"me": "secret"}),),
        dns={},
        group="logins",
    )


def tls_rows() -> Iterator[Row]:
    """Encryption."""
    encrypted = entry("success", "accept", 250, "2.0.0", more={"cipher": ..., "certificate": ...})
    tls = entry("tls", "starttls")
    offers = (*EXTENSIONS, "STARTTLS")
    for security, certificate, wanted in (
        ("opportunistic", "self", encrypted), ("opportunistic", "old", encrypted), ("required", "self", encrypted),
        ("verified", "good", encrypted), ("verified", "self", tls), ("verified", "other", tls),
        ("verified", "old", tls),
    ):  # fmt: skip
        yield Row(
            sentence=f"security {security} and a certificate that is {certificate}: {wanted.type}.",
            jobs=(job({"security": security, **ONCE}, wanted),),
            hosts=(host(1 if wanted.type == "success" else 0, 1, certificate=certificate),),
            in_memory=False,
            check=None if wanted.type == "tls" else secure,
        )
    yield Row(
        sentence="A smarthost's password is sent over TLS.",
        jobs=(
            job({"smarthost": {"hostname": "$H1", "port": "$PORT", "username": "me", "password": "secret"}}, encrypted),
        ),
        hosts=(host(1, 1, certificate="self", users={"me": "secret"}, said={"AUTH": 1}),),
        in_memory=False,
    )
    yield Row(
        sentence="security none of the configuration: STARTTLS is not said.",
        jobs=(job(None, SUCCESS, copies={"results": 1}),),
        hosts=(host(1, 1, extensions=offers, said={"STARTTLS": 0}),),
        group="more",
    )
    for security in ("required", "verified"):
        yield Row(
            sentence=f"security {security} and no STARTTLS offered: tls, nothing is sent, nothing goes in clear later.",
            jobs=(job({"security": security, "maxattempts": 2}, tls, tls),),
            hosts=(host(0, 2, said={"MAIL": 0}),),
        )
    for does, words in (
        ("5xx", "is refused"),
        ("220 Go on", "stalls"),
        ("close", "is lost"),
        ("garbage", "is no SMTP"),
    ):
        tls = entry("tls", "starttls", *CODES.get(does, ()))
        yield Row(
            sentence=f"TLS that {words} is tls where it is opportunistic; the host is spoken to in clear then.",
            jobs=(job(None, tls, SUCCESS), job(None, after=0, within=2)),
            hosts=(host(2, extensions=offers, starttls=[does] * 9, said={"STARTTLS": 1}),),
            in_memory=does != "220 Go on",
        )
        yield Row(
            sentence=f"TLS that {words} goes on to the next host.",
            jobs=(job(None, entry("success", "accept", 250, "2.0.0", host=2)),),
            hosts=(host(0, 1, extensions=offers, starttls=does), host(1, 1)),
            in_memory=does != "220 Go on",
        )
        yield Row(
            sentence=f"TLS that {words} is tls where it is required, again and again.",
            jobs=(job({"security": "required", "maxattempts": 2}, tls, tls),),
            hosts=(host(0, 2, extensions=offers, starttls=does, said={"MAIL": 0}),),
            in_memory=does != "220 Go on",
        )


def secure(ran: Ran) -> None:
    """The host got it over TLS."""
    assert ran.hosts[0].mails[0].secure, ran.hosts[0].mails


MAKERS = (
    talk_rows, twice_rows, reset_rows, idle_rows, host_rows, connection_rows, dns_rows, time_rows, queue_rows,
    invalid_rows, wrong_rows, result_rows, message_rows, source_rows, smarthost_rows, tls_rows,
)  # fmt: skip
ROWS = [row for rows in MAKERS for row in rows()]
