"""Several engines on one outbox at a real RabbitMQ, with their limits in a real Redis: all their limits together hold.

Each engine has a folder of its own and shares nothing with the others but the broker and the store. Hosts note when
mail came, and the tests judge what they noted, as in ``test_limits.py``.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, TestCase

from tests.rabbit import rabbitmq_home
from tests.redis import Redis, redis_server
from tests.scenarios.harness import Engine, rabbit, sleep, until
from tests.scenarios.namespaces import Namespace
from tests.scenarios.stage import TEXT, Stamper
from tests.scenarios.test_limits import JITTER, too_near

reactor: Any = real_reactor
_numbers = itertools.count(1)


class Machines:
    """Engines of machines, ``settings`` for each; ``hosts`` at ``127.5.0.1``, …, one for each domain."""

    def __init__(
        self,
        hosts: Mapping[str, Stamper],
        machines: Sequence[Mapping[str, Any]],
        places: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self.hosts = dict(hosts)
        number = next(_numbers)
        addresses = places or {domain: f"127.5.{number}.{place}" for place, domain in enumerate(hosts, 1)}
        self.engines: list[Engine] = []
        prefix = f"machines-{os.getpid()}-{number}."
        port: Any = "$PORT"
        for one in machines:
            machine = dict(one)
            broker = rabbit().url(host=machine.pop("broker_host", ""))
            config = {"dns": {"hosts": addresses}, "control": None, **settings, **machine}
            config["smtp"] = {"port": port, "tls": "none", **settings.get("smtp", {}), **machine.get("smtp", {})}
            engine = Engine(config, broker, prefix)
            port = self.engines[0].port if self.engines else engine.port
            self.engines.append(engine)
        self.ports = [
            reactor.listenTCP(port, host, interface=addresses[domain], backlog=200) for domain, host in hosts.items()
        ]
        self.results: list[dict[str, Any]] = []

    async def live(self) -> None:
        """All begin."""
        for engine in self.engines:
            engine.start()
        for engine in self.engines:
            await engine.running()
        await self.engines[0].connect()

    async def publish(self, domain: str, count: int, **more: Any) -> None:
        """So many jobs; the senders' local parts are their numbers."""
        jobs = [
            {"recipient": f"r{number}@{domain}", "envelope": f"{number}@example.com", "mime": TEXT, **more}
            for number in range(count)
        ]
        await self.engines[0].publish([json.dumps(job).encode() for job in jobs])

    async def take(self) -> None:
        """The results that there are."""
        while bodies := await self.engines[0].take("results", 1000):
            self.results += map(json.loads, bodies)

    async def results_of(self, count: int, within: float = 30.0) -> list[dict[str, Any]]:
        """Wait for so many results."""
        end = reactor.seconds() + within
        while len(self.results) < count:
            if reactor.seconds() > end:
                raise AssertionError(f"{len(self.results)} results of {count} within {within:g} s: {self.logs()}")
            await self.take()
            await sleep(0.05)
        return self.results

    def logs(self) -> str:
        """The last of what they have logged."""
        return "\n---\n".join(engine.log[-3000:] for engine in self.engines)

    async def close(self) -> None:
        """Nothing stays."""
        for engine in self.engines:
            await engine.remove()
        for port in self.ports:
            await port.stopListening()
        for host in self.hosts.values():
            host.drop()


async def until_async(condition: Callable[[], Awaitable[bool]], within: float = 60.0) -> None:
    """Wait until it is true."""
    end = reactor.seconds() + within
    while not await condition():
        if reactor.seconds() > end:
            raise AssertionError("it did not come about in time")
        await sleep(0.1)


def beyond(times: Sequence[float], per_minute: float) -> float:
    """By how many mails the fullest window, of whatever length, is above rate x length."""
    times = sorted(times)
    pairs = ((first, last) for first in range(len(times)) for last in range(first, len(times)))
    return max(last - first + 1 - (times[last] - times[first] + JITTER) * per_minute / 60 for first, last in pairs)


class MachinesTest(TestCase):
    """Servers and engines of one test."""

    timeout = 120

    def setUp(self) -> None:
        """What has to be installed."""
        if rabbitmq_home() is None:
            raise SkipTest("rabbitmq-server is not installed")
        self.machines: Machines | None = None
        self.redis: Redis | None = None

    async def tearDown(self) -> None:
        """Nothing stays."""
        if self.machines is not None:
            await self.machines.close()
        if self.redis is not None:
            self.redis.remove()

    def store(self, **options: Any) -> Redis:
        """A Redis that runs."""
        if redis_server() is None:
            raise SkipTest("redis-server is not installed")
        self.redis = Redis(**options)
        self.redis.start()
        return self.redis

    async def begin(self, hosts: Mapping[str, Stamper], workers: Sequence[int] = (1, 1), **settings: Any) -> Machines:
        """Equal engines, running, with so many workers each."""
        self.machines = machines = Machines(hosts, [{"workers": count} for count in workers], **settings)
        await machines.live()
        return machines


class SharedLimits(MachinesTest):
    """Limits that hold for two machines together."""

    async def test_limits(self) -> None:
        """A slow pace holds exactly, as one engine would keep it; a fast one but for one mail of each machine at once;
        connections are never more than the limit. One machine has two workers."""
        hosts = {"slow.test": Stamper(), "fast.test": Stamper(), "narrow.test": Stamper(delay=0.2)}
        limits = [
            {"domain": "slow.test", "messages-per-minute": 50},
            {"domain": "fast.test", "messages-per-minute": 1200},
            {"domain": "narrow.test", "max-connections": 3},
        ]
        machines = await self.begin(hosts, (1, 2), limits=limits, **{"limits-store": self.store().url})
        for domain, count in (("slow.test", 6), ("fast.test", 150), ("narrow.test", 45)):
            await machines.publish(domain, count)
        results = await machines.results_of(201, 60)
        self.assertEqual({job["results"][-1]["type"] for job in results}, {"success"})
        slow = [came[0] for came in hosts["slow.test"].came]
        fast = [came[0] for came in hosts["fast.test"].came]
        self.assertEqual(too_near(slow, 60 / 50), [])
        self.assertLessEqual(beyond(fast, 1200), 3)
        self.assertLessEqual(max(number for _, _, number in hosts["narrow.test"].connected), 3)

    async def test_store_gone(self) -> None:
        """Redis is killed: both go on with the shares that they have, and say so once; when it is back, empty, they
        tell it what they hold, and say so. The limit holds all the time."""
        hosts = {"fast.test": Stamper()}
        store = self.store()
        limits = [{"domain": "fast.test", "messages-per-minute": 1200}]
        machines = await self.begin(hosts, limits=limits, **{"limits-store": store.url})
        await machines.publish("fast.test", 200)
        await until(lambda: len(hosts["fast.test"].came) > 20, 30, "mail")
        store.kill9()
        before = len(hosts["fast.test"].came)
        await until(lambda: all("is gone" in engine.log for engine in machines.engines), 20, "a word of it")
        self.assertGreater(len(hosts["fast.test"].came), before + 20)
        store.start()
        await until(lambda: all("is back" in engine.log for engine in machines.engines), 20, "a word of it")
        await machines.results_of(200, 40)
        self.assertLessEqual(beyond([came[0] for came in hosts["fast.test"].came], 1200), 2)
        self.assertEqual([engine.log.count("is gone") for engine in machines.engines], [1, 1])


class Killed(MachinesTest):
    """Nodes keep no state that another needs."""

    async def test_classic(self) -> None:
        """One of three engines is killed in full flow: the others finish its jobs, none is lost."""
        await self._kill_one("classic")

    async def test_quorum(self) -> None:
        """So it is over a quorum queue."""
        await self._kill_one("quorum")

    async def _kill_one(self, kind: str) -> None:
        hosts = {"a.test": Stamper(delay=0.01), "b.test": Stamper(delay=0.01)}
        queues = {"type": kind, "window": 200, "success": None, "failure": None, "retry": None, "invalid": None}
        machines = await self.begin(hosts, (1, 1, 1), queues=queues)
        count = 800
        await machines.publish("a.test", count)
        await machines.publish("b.test", count)
        await until(lambda: len(hosts["a.test"].came) > count // 4, 30, "mail")
        machines.engines[1].kill9()
        wanted = {f"r{number}@{domain}" for domain in hosts for number in range(count)}
        await until_async(lambda: self._told(machines, wanted))
        self.assertEqual({job["results"][-1]["type"] for job in machines.results}, {"success"})

    async def _told(self, machines: Machines, wanted: set[str]) -> bool:
        await machines.take()
        return wanted <= {job["recipient"] for job in machines.results}


class LocalAddresses(MachinesTest):
    """Jobs that need a local address of another machine."""

    async def test_elsewhere(self) -> None:
        """A job leaves from the machine that has its address, whoever takes it first; a job for an address that no
        machine has fails as where there is one machine; no attempt is counted on the way, and nothing of it stands in
        the result."""
        spaces = [Namespace(), Namespace()]
        for space in spaces:
            if not space.begin():
                raise SkipTest("network namespaces cannot be made here")
            self.addCleanup(lambda space=space: Deferred.fromCoroutine(space.remove()))
            space.forward(int(rabbit().port))
        hosts = {"a.test": Stamper()}
        one, two = (space.address for space in spaces)
        machines = self.machines = Machines(
            hosts,
            [{"broker_host": space.ours, "smtp": {"ips": [space.address]}} for space in spaces],
            places={"a.test": spaces[0].ours},
            queues={"by-address": True},
        )
        for engine, space in zip(machines.engines, spaces, strict=True):
            engine.within = space.command
        await machines.live()
        await machines.publish("a.test", 40, ips=[one])
        await machines.publish("a.test", 40, ips=[two], key_of="two")
        await machines.publish("a.test", 3, ips=["192.0.2.77"])
        results = await machines.results_of(83)
        for job in results:
            (entry,) = job["results"]
            self.assertEqual((entry["attempt"], "seen" in job, "nextattempt" in job), (1, False, False))
            asked = job["ips"][0]
            if asked == "192.0.2.77":
                self.assertEqual(entry["type"], "bind")
            else:
                self.assertEqual((entry["type"], entry["from"]), ("success", asked))
