"""Plays about limits, each in a process of its own: ``python -m tests.scenarios.plays NAME [BROKER [WORKERS]]`` prints
what was seen as JSON. They take their time, so the tests let them run side by side; ``test_limits.py`` judges.
"""

from __future__ import annotations

import json
import os
import random
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from tests.scenarios.harness import reactor, sleep
from tests.scenarios.stage import Stage, Stamper

FULL = bool(os.environ.get("MAILERQ_FULL"))
APART = 4.0  # seconds between two mails where an engine is killed: longer than it needs to start
SIZE = 6000  # bytes of those mails
OTHERS = tuple(f"d{number}.test" for number in range(10))

Act = Callable[[Stage], Coroutine[Any, Any, None]]
PLAYS: dict[str, tuple[Mapping[str, Stamper], dict[str, Any], Act]] = {}


def play(hosts: Mapping[str, Stamper], **settings: Any) -> Callable[[Act], Act]:
    """What is played with those hosts, by domain, and those settings."""

    def keep(act: Act) -> Act:
        PLAYS[act.__name__] = hosts, settings, act
        return act

    return keep


def slow(per_minute: int) -> list[dict[str, Any]]:
    """Limits with a slow domain."""
    return [{"domain": "slow.test", "messages-per-minute": per_minute}]


@play({"slow.test": Stamper()}, limits=slow(60))
async def even(stage: Stage) -> None:
    """60 jobs at 60 a minute, watched for 30 s from the first one on."""
    await stage.publish("slow.test", 60)
    await stage.live()
    await stage.arrive(1)
    await sleep(30.0)


@play({domain: Stamper() for domain in ("slow.test", *OTHERS)}, limits=slow(30), queues={"window": 500})
async def crowd(stage: Stage) -> None:
    """3,000 jobs for a slow domain, then 300 for ten others, all there before the engine starts; it may hold 500."""
    await stage.publish("slow.test", 3000)
    for domain in OTHERS:
        await stage.publish(domain, 30)
    await stage.live()
    await stage.results_of(300, *OTHERS)
    stage.notes["slow"] = stage.count("slow.test")


def one_in(seconds: float) -> list[dict[str, Any]]:
    """Each kind of limit, for a domain of its own: a mail in so many seconds."""
    rate = 60.0 / seconds
    return [
        {"domain": "messages.test", "messages-per-minute": f"{rate:g}"},
        {"domain": "bytes.test", "bytes-per-minute": f"{rate * SIZE:.0f}"},
        {"domain": "connects.test", "connects-per-minute": f"{rate:g}", "connection-max-messages": 1},
        {"domain": "remote.test", "ip-messages-per-minute": f"{rate:g}"},
        {"domain": "source.test", "ip": "127.0.0.9", "messages-per-minute": f"{rate:g}"},
    ]


async def publish_in_size(stage: Stage) -> None:
    """60 jobs for each host, of ``SIZE`` bytes."""
    text = "Subject: hello\r\n\r\n"
    text += "x" * (SIZE - len(text) - 2) + "\r\n"
    for domain in stage.hosts:
        await stage.publish(domain, 60, text)


@play(
    {limit["domain"]: Stamper() for limit in one_in(APART)},
    limits=one_in(APART),
    delivery={"retry-interval": "1s", "max-attempts": 0, "drain": "5s"},
    smtp={"ips": ["127.0.0.9"]},
)
async def lives(stage: Stage) -> None:
    """An engine that is killed again and again, and stopped once, mostly right after a mail."""
    dice = random.Random(os.environ.get("SEED", "1"))
    await publish_in_size(stage)
    end = reactor.seconds() + (120.0 if FULL else 32.0)
    count = 0
    while reactor.seconds() < end:
        count += 1
        await stage.live()
        await stage.arrive(stage.count() + dice.randrange(1, 5), within=APART * 2)
        await sleep(dice.choice((0.0, 0.02, 0.1, 0.5)))
        if count == 3:
            await stage.engine.stop()
        else:
            stage.engine.kill9()
    stage.notes["lives"] = count


@play(
    {limit["domain"]: Stamper() for limit in one_in(APART)},
    limits=one_in(APART),
    delivery={"retry-interval": "1s", "max-attempts": 0, "drain": "5s"},
    smtp={"ips": ["127.0.0.9"]},
)
async def killed_workers(stage: Stage) -> None:
    """Workers that are killed again and again, mostly right after a mail, while the others go on."""
    dice = random.Random(os.environ.get("SEED", "1"))
    await publish_in_size(stage)
    await stage.live()
    end = reactor.seconds() + (120.0 if FULL else 32.0)
    stage.notes["lives"] = 0
    while reactor.seconds() < end:
        await stage.arrive(stage.count() + dice.randrange(1, 5), within=APART * 2)
        await sleep(dice.choice((0.0, 0.02, 0.1, 0.5)))
        if stage.engine.workers():
            stage.engine.kill_worker(dice.randrange(3))
            stage.notes["lives"] += 1


@play(
    {"narrow.test": Stamper(delay=0.2, most=3)},
    limits=[{"domain": "narrow.test", "max-connections": 10, "max-queue": 10000, "offline-time": "2s"}],
    delivery={"retry-interval": "2s"},
)
async def crowded(stage: Stage) -> None:
    """A host that greets with 421 what comes beyond three connections; 8 s later it bears ten."""
    host = stage.hosts["narrow.test"]
    jobs = 3200 if FULL else 200
    await stage.publish("narrow.test", jobs)
    await stage.live()
    await stage.arrive(1)
    await sleep(8.0)
    stage.notes["wider"] = reactor.seconds()
    host.most = 10
    await stage.results_of(jobs, within=260.0 if FULL else 40.0)


async def faster_and_slower(stage: Stage, fresh: int, lasts: float) -> None:
    """60 a minute, after the fourth mail 600 and so many jobs more, some seconds later 60 again."""
    await stage.publish("slow.test", 140)
    await stage.live()
    await stage.arrive(4)
    await sleep(0.3)
    stage.notes["faster"] = await stage.hang_up(slow(600))
    await stage.publish("slow.test", fresh)
    await sleep(lasts)
    stage.notes["slower"] = await stage.hang_up(slow(60))
    await sleep(5.0)


@play({"slow.test": Stamper()}, limits=slow(60))
async def changed(stage: Stage) -> None:
    """Limits that are changed, and there is always mail at hand."""
    await faster_and_slower(stage, 60, 3.0)


@play({"slow.test": Stamper()}, limits=slow(60))
async def hurried(stage: Stage) -> None:
    """Limits that are changed, and almost all mail is parked: it asks again within six seconds."""
    await faster_and_slower(stage, 0, 10.0)


@play(
    {"grey.test": Stamper(grey=1.0)},
    smtp={"ips": ["127.0.0.1", "127.0.0.2", "127.0.0.3"]},
    responses=[{"text": "greylisting in action", "class": "greylisted", "sticky": True, "retry-in": "2s"}],
)
async def grey(stage: Stage) -> None:
    """A greylisting host, and three local addresses to choose from."""
    await stage.publish("grey.test", 30)
    await stage.live()
    await stage.results_of(30)


@play(
    {"paused.test": Stamper(), "other.test": Stamper()},
    limits=[{"domain": "*.test", "messages-per-minute": 240}],
)
async def paused(stage: Stage) -> None:
    """A domain is paused by command, over a restart and a kill, and resumed; another one goes on meanwhile."""
    await stage.publish("paused.test", 20)
    await stage.publish("other.test", 80)
    await stage.live()
    await stage.arrive(4, "paused.test")
    await stage.command("pause", "--domain", "paused.test")
    stage.notes["paused"] = reactor.seconds()
    await sleep(3.0)
    await stage.engine.stop()
    await stage.live()
    await sleep(2.0)
    stage.engine.kill9()
    await stage.live()
    await sleep(2.0)
    await stage.collect()
    stage.notes["ended while paused"] = len([job for job in stage.results if job["domain"] == "paused.test"])
    stage.notes["resumed"] = reactor.seconds()
    await stage.command("resume", "--domain", "paused.test")
    await stage.results_of(20, "paused.test", within=45.0)


@play(
    {"slow.test": Stamper()},
    limits=[{"domain": "*", "max-connections": 7}, *slow(30)],
)
async def explained(stage: Stage) -> None:
    """What ``explain`` and ``sites`` say of a slow domain."""
    await stage.publish("slow.test", 100)
    await stage.live()
    await stage.arrive(2)
    stage.notes["explain"] = await stage.command("explain", "slow.test")
    stage.notes["sites"] = await stage.command("sites")
    lines = stage.engine.config.read_text().splitlines()
    key = next(number for number, line in enumerate(lines, 1) if "messages-per-minute" in line)
    stage.notes["places"] = [f"{stage.engine.config.name}:{number}" for number in (key, key - 1, key - 2)]


async def show(name: str, broker: str = "sqlite", workers: str = "1") -> None:
    """Play, and print what was seen; where it broke, ``error`` says how."""
    hosts, settings, act = PLAYS[name]
    stage = Stage(hosts, broker, workers=int(workers), **settings)
    try:
        await stage.engine.connect()
        await act(stage)
        await stage.collect()
    except Exception:
        stage.notes["error"] = traceback.format_exc()
    finally:
        await stage.close()
    print(json.dumps(stage.seen()))


if __name__ == "__main__":
    react(lambda _: Deferred.fromCoroutine(show(*sys.argv[1:])))
