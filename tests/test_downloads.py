"""Downloads from real servers on this machine, by names whose addresses the tests play; time is the tests' too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_network
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from mailerq.attempt import Type
from mailerq.content.download_rules import DownloadRules
from mailerq.content.downloads import Download, Downloads
from mailerq.content.step import ContentError
from tests.certificates import make

LOOPBACK = (ip_network("127.0.0.0/8"),)
the_reactor: Any = reactor


class Played:
    """The real reactor, but for time: that is a Clock's."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.seconds, self.callLater, self.advance = self.clock.seconds, self.clock.callLater, self.clock.advance

    def __getattr__(self, name: str) -> Any:
        return getattr(the_reactor, name)


class Names:
    """Plays DNS: the addresses of a name, or one list of them after the other. ``asked``: in order."""

    def __init__(self, **addresses: Any) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        found = self.addresses.get(host.partition(".")[0])
        if isinstance(found, list):
            return found.pop(0)
        if found is None:
            if host[0].isdigit() or ":" in host:
                return [host]
            raise LookupError(f"{host} has no address")
        return found


class Answer(Resource):
    """Answers with what a function does, and keeps the requests."""

    isLeaf = True

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        super().__init__()
        self.answer = answer
        self.requests: list[Any] = []
        self.came: list[Deferred[Any]] = []
        self.gone: list[Any] = []

    def render_GET(self, request: Any) -> Any:
        self.requests.append(request)
        request.notifyFinish().addErrback(lambda _: self.gone.append(request))
        if self.came:
            the_reactor.callLater(0, self.came.pop(0).callback, request)
        return self.answer(request)

    def next(self) -> Deferred[Any]:
        """Fires when a request has come."""
        self.came.append(Deferred())
        return self.came[-1]


def content(body: bytes = b"body", code: int = 200, **headers: str) -> Callable[[Any], bytes]:
    def answer(request: Any) -> bytes:
        request.setResponseCode(code)
        for name, value in headers.items():
            request.setHeader(name.replace("_", "-"), value)
        return body

    return answer


def silent(request: Any) -> Any:
    return NOT_DONE_YET


class Raw(Protocol):
    """A server that says the same bytes to everybody, or a stream of them until it is cut off."""

    factory: Any

    def connectionMade(self) -> None:
        self.factory.connections += 1

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(self.factory.said)
        if self.factory.stream:
            transport.registerProducer(self, False)
        else:
            transport.loseConnection()

    def resumeProducing(self) -> None:
        self.factory.sent += len(self.factory.stream)
        self.transport.write(self.factory.stream)  # type: ignore[union-attr]

    def stopProducing(self) -> None:
        pass

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.lost += 1


class Case(TestCase):
    """``served`` makes a server; ``downloads`` what is tested, which may go to this machine."""

    def setUp(self) -> None:
        self.reactor = Played()
        self.names = Names(www=("127.0.0.1",), other=("127.0.0.1",))
        self.downloads = self.made(allow=LOOPBACK)

    def made(self, trust: Any = None, **rules: Any) -> Downloads:
        return Downloads(self.reactor, DownloadRules(**rules), self.names, trust)

    def served(self, factory: Any, context: Any = None, host: str = "www.example") -> str:
        """Its URL, without a slash at the end."""
        listen, more = (the_reactor.listenSSL, (context,)) if context else (the_reactor.listenTCP, ())
        port = listen(0, factory, *more, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return f"http{'s' if context else ''}://{host}:{port.getHost().port}"

    def site(self, answer: Callable[[Any], Any], context: Any = None) -> tuple[Answer, str]:
        resource = Answer(answer)
        site = Site(resource, timeout=None)
        site.displayTracebacks = False
        return resource, self.served(site, context)

    def raw(self, said: bytes = b"", stream: bytes = b"") -> tuple[Any, str]:
        factory: Any = Factory.forProtocol(Raw)
        factory.said, factory.stream, factory.connections, factory.lost, factory.sent = said, stream, 0, 0, 0
        factory.noisy = False
        return factory, self.served(factory)

    async def fails(self, url: str, passing: bool, *words: str, downloads: Downloads | None = None) -> str:
        """It cannot be downloaded, for that reason."""
        try:
            await (downloads or self.downloads).fetch(url)
        except ContentError as error:
            self.assertEqual((error.type, error.passing), (Type.RESPONSIVE, passing), error.what)
            for word in words:
                self.assertIn(word, error.what)
            self.assertEqual(error.reasons, (error.what,))
            return error.what
        raise self.failureException(f"{url} was downloaded")

    async def settle(self) -> None:
        """Let all that is on its way between sockets arrive."""
        for _ in range(20):
            turn: Deferred[None] = Deferred()
            the_reactor.callLater(0, turn.callback, None)
            await turn


class Fetching(Case):
    """What comes."""

    async def test_download(self) -> None:
        """Body, type and URL; the request says who asks, and that nothing is to be compressed."""
        site, url = self.site(content(b"GIF", content_type="Image/GIF; charset=x"))
        found = await self.downloads.fetch(f"{url}/a b?c#d")
        self.assertEqual(found, Download(b"GIF", "image/gif", f"{url}/a%20b?c"))
        headers = site.requests[0].requestHeaders
        self.assertEqual(headers.getRawHeaders("accept-encoding"), ["identity"])
        self.assertEqual(headers.getRawHeaders("user-agent"), ["mailerq"])
        self.assertIsNone(headers.getRawHeaders("authorization"))

    async def test_empty(self) -> None:
        """No body is a body; a type that is none is ''."""
        _, url = self.site(content(b"", content_type="x"))
        self.assertEqual(await self.downloads.fetch(url), Download(b"", "", f"{url}/"))

    async def test_without_length(self) -> None:
        """A server that ends with the connection, and one that sends chunks."""
        for said in (
            b"HTTP/1.0 200 OK\r\n\r\nbody",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        ):
            _, url = self.raw(said)
            self.assertEqual((await self.downloads.fetch(url)).body, b"body")

    async def test_codes(self) -> None:
        """404 and 410 are for ever; what else is not 200 may pass."""
        for code in (404, 410):
            await self.fails(self.site(content(code=code))[1], False, str(code))
        for code in (204, 206, 400, 401, 403, 429, 500, 503):
            await self.fails(self.site(content(code=code))[1], True, str(code))

    async def test_cut_short(self) -> None:
        """Half a body is none."""
        for said in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nbody",
            b"",
            b"HTTP/1.1 200",
            b"220 mail.example ESMTP\r\n",
        ):
            await self.fails(self.raw(said)[1], True)

    async def test_nobody_there(self) -> None:
        """A host that refuses, and one without address: that may pass."""
        port = the_reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        number = port.getHost().port
        await port.stopListening()
        await self.fails(f"http://www.example:{number}/", True, "refused")
        await self.fails("http://nowhere.example/", True, "nowhere.example has no address")

    async def test_no_http(self) -> None:
        """Other schemes never will."""
        for url in ("ftp://www.example/", "file:///etc/passwd", "x", ""):
            await self.fails(url, False)
        self.assertEqual(self.names.asked, [])

    async def test_other_addresses_are_tried(self) -> None:
        """A host whose first address does not answer has others."""
        _, url = self.site(content())
        self.names.addresses["www"] = ("127.0.0.9", "127.0.0.1")
        self.assertEqual((await self.downloads.fetch(url)).body, b"body")

    async def test_login(self) -> None:
        """A login in the URL goes to that server, and is in no error."""
        site, url = self.site(content(code=403))
        told = await self.fails(url.replace("//", "//user:secret@"), True)
        self.assertNotIn("secret", told)
        self.assertEqual(site.requests[0].getHeader("authorization"), "Basic dXNlcjpzZWNyZXQ=")


class Redirects(Case):
    """Where a server says that it is elsewhere."""

    async def test_followed(self) -> None:
        """To other hosts, and to paths; what comes says where it was."""
        _, there = self.site(content(b"there"))
        _, url = self.site(content(code=302, location=there.replace("www", "other") + "/x"))
        self.assertEqual(
            await self.downloads.fetch(url), Download(b"there", "text/html", there.replace("www", "other") + "/x")
        )

    async def test_login_stays(self) -> None:
        """Another server does not get the login; the same does."""
        other, there = self.site(content())
        site, url = self.site(
            lambda request: content(code=302, location="/b" if request.path == b"/a" else there)(request)
        )
        await self.downloads.fetch(url.replace("//", "//u:p@") + "/a")
        self.assertEqual([request.getHeader("authorization") for request in site.requests], ["Basic dTpw"] * 2)
        self.assertIsNone(other.requests[0].getHeader("authorization"))

    async def test_no_more_than_five(self) -> None:
        """A loop ends."""
        site, url = self.site(content(code=301, location="/again"))
        await self.fails(url, True, "redirected more than 5 times")
        self.assertEqual(len(site.requests), 6)

    async def test_looked_at(self) -> None:
        """A redirect to an address that may not be used, or to no http, is refused for good; no login of it is told."""
        inner, private = self.site(content(b"secret"))
        self.names.addresses["www"] = ("127.0.0.2",)
        self.downloads = self.made(allow=(ip_network("127.0.0.1"),))
        self.names.addresses["other"] = ("127.0.0.1",)
        for location, word in (
            (private, "127.0.0.2"),
            ("http://169.254.169.254/latest/meta-data/", "169.254.169.254"),
            ("http://[::1]/", "::1"),
            ("file:///etc/passwd", "http"),
            ("//u:secret@[::ffff:127.0.0.1]/", "::ffff"),
        ):
            _, url = self.site(content(code=302, location=location))
            told = await self.fails(url.replace("www", "other"), False, word)
            self.assertNotIn("secret", told)
        self.assertEqual(inner.requests, [])

    async def test_without_location(self) -> None:
        """A redirect to nowhere."""
        await self.fails(self.site(content(code=302))[1], True)


class Addresses(Case):
    """Where a connection may go."""

    async def test_private(self) -> None:
        """Nothing is connected to that is not public: neither by a name nor by an address."""
        factory, url = self.raw(b"HTTP/1.0 200 OK\r\n\r\nsecret")
        downloads = self.made()
        for host in ("www.example", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"):
            await self.fails(url.replace("www.example", host), False, "public", downloads=downloads)
        await self.settle()
        self.assertEqual(factory.connections, 0)

    async def test_rebinding(self) -> None:
        """A name is asked for once, and what it says then is where the connection goes: there is no second answer that
        could lead elsewhere."""
        factory, url = self.raw(b"HTTP/1.0 200 OK\r\n\r\nbody")
        self.names.addresses["www"] = [["127.0.0.1"], ["10.0.0.1"]]
        self.assertEqual((await self.downloads.fetch(f"{url}/1")).body, b"body")
        self.assertEqual(self.names.asked, ["www.example"])
        await self.fails(f"{url}/2", False, "10.0.0.1")
        self.assertEqual((self.names.asked, factory.connections), (["www.example"] * 2, 1))

    async def test_mixed(self) -> None:
        """Of several addresses only those are connected to that may be used."""
        _, url = self.raw(b"HTTP/1.0 200 OK\r\n\r\nbody")
        self.names.addresses["www"] = ("10.0.0.1", "192.168.0.1", "::1", "127.0.0.1")
        connected: list[str] = []
        self.reactor.connectTCP = lambda host, *more, **options: (
            connected.append(host) or the_reactor.connectTCP(host, *more, **options)
        )
        await self.downloads.fetch(url)
        self.assertEqual(connected, ["127.0.0.1"])

    async def test_denied(self) -> None:
        """What is denied goes before what is allowed."""
        factory, url = self.raw()
        downloads = self.made(allow=LOOPBACK, deny=(ip_network("127.0.0.1"),))
        await self.fails(url, False, "downloads.deny", downloads=downloads)
        self.assertEqual(factory.connections, 0)


class Bounds(Case):
    """In size, time and number."""

    async def test_length_that_is_said(self) -> None:
        """What says that it is too large does not come."""
        _, url = self.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n")
        await self.fails(url, False, "more than 10 bytes", downloads=self.made(allow=LOOPBACK, max_size=10))

    async def test_endless_body(self) -> None:
        """What does not end is cut off."""
        chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        for head in (b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
            factory, url = self.raw(head, chunk)
            await self.fails(
                url, False, "more than 100000 bytes", downloads=self.made(allow=LOOPBACK, max_size=100_000)
            )
            await self.settle()
            self.assertEqual(factory.lost, 1)

    async def test_exact_size(self) -> None:
        """As much as is allowed may come."""
        _, url = self.site(content(b"x" * 10))
        self.assertEqual(len((await self.made(allow=LOOPBACK, max_size=10).fetch(url)).body), 10)

    async def test_endless_header(self) -> None:
        """A header that does not end is cut off long before it fills the memory."""
        for stream in (b"X: y\r\n" * 1000, b"x" * 5000, b"HTTP/1.1 100 Continue\r\n\r\n" * 100):
            factory, url = self.raw(b"HTTP/1.1 200 OK\r\n" * stream.startswith(b"X"), stream)
            await self.fails(url, True)
            await self.settle()
            self.assertEqual(factory.lost, 1)
            self.assertLess(factory.sent, 10_000_000)

    async def test_slow(self) -> None:
        """A server that is slow gets so much time, and no more, however it fills it; and is left alone for a while."""
        for answer in (silent, lambda request: request.write(b"x") or NOT_DONE_YET):
            site, url = self.site(answer)
            came, failing = site.next(), Deferred.fromCoroutine(self.fails(url, True, "too long"))
            request = await came
            for _ in range(29):
                self.reactor.advance(1.0)
                if answer is not silent:
                    request.write(b"x")
                await self.settle()
            self.assertFalse(failing.called)
            self.reactor.advance(1.1)
            await failing
            await self.settle()
            self.assertEqual(site.gone, [request])
            await self.fails(url, True, "too long")
            self.assertEqual(len(site.requests), 1)

    async def test_slow_redirects(self) -> None:
        """The time is for all redirects together."""
        waiting, there = self.site(silent)
        _, url = self.site(lambda request: (self.reactor.advance(20.0), content(code=302, location=there)(request))[1])
        came, failing = waiting.next(), Deferred.fromCoroutine(self.fails(url, True, "too long"))
        await came
        self.reactor.advance(10.1)
        await failing

    async def test_slow_names(self) -> None:
        """A name server that does not answer ends it, too."""
        never: Deferred[Any] = Deferred()

        async def names(host: str) -> Any:
            return await never

        downloads = Downloads(self.reactor, DownloadRules(), names)
        failing = Deferred.fromCoroutine(self.fails("http://x.example/", True, "too long", downloads=downloads))
        self.reactor.advance(30.1)
        await failing

    async def test_parallel(self) -> None:
        """So many at a time, so many of one host; the others come when these are done, or give up."""
        site, url = self.site(silent)
        downloads = self.made(allow=LOOPBACK, max_parallel=3, max_per_host=2)
        fetched = [downloads.fetch(f"{url}/{number}") for number in range(4)]
        fetched += [downloads.fetch(f"{url.replace('www', 'other')}/{number}") for number in range(4)]
        await self.settle()
        self.assertEqual(sorted(request.getHeader("host")[:3] for request in site.requests), ["oth", "www", "www"])
        done = 0
        while done < 8:
            self.assertLessEqual(len(site.requests) - done, 3)
            site.requests[done].finish()
            done += 1
            await self.settle()
        await gatherResults(fetched)

    async def test_waiting_ends(self) -> None:
        """Who waits too long for others fails, and that is not remembered."""
        site, url = self.site(silent)
        downloads = self.made(allow=LOOPBACK, max_parallel=1, timeout=1000.0)
        first = downloads.fetch(f"{url}/1")
        failing = Deferred.fromCoroutine(self.fails(f"{url}/2", True, "too many", downloads=downloads))
        await self.settle()
        self.reactor.advance(120.1)
        await failing
        site.requests[0].finish()
        await first
        again = downloads.fetch(f"{url}/2")
        await self.settle()
        site.requests[1].finish()
        await again

    async def test_compressed(self) -> None:
        """What is compressed is refused: nobody knows how large it gets."""
        for coding in ("gzip", "br", "deflate, identity", "x"):
            await self.fails(self.site(content(content_encoding=coding))[1], False, "compressed")
        self.assertEqual((await self.downloads.fetch(self.site(content(content_encoding="identity"))[1])).body, b"body")


class Memory(Case):
    """What is asked for more than once."""

    async def test_remembered(self) -> None:
        """For a while, and then not."""
        site, url = self.site(content())
        for seconds, count in ((0, 1), (3599, 1), (2, 2)):
            self.reactor.advance(seconds)
            await self.downloads.fetch(url)
            self.assertEqual(len(site.requests), count)
        self.assertIsInstance(self.successResultOf(self.downloads.fetch(url)), Download)

    async def test_as_the_server_says(self) -> None:
        """``no-store`` is obeyed, also of a redirect on the way."""
        site, url = self.site(content(cache_control="no-store"))
        way, there = self.site(content(code=302, location=url, cache_control="max-age=100"))
        for _ in range(2):
            await self.downloads.fetch(there)
        self.assertEqual((len(site.requests), len(way.requests)), (2, 2))

    async def test_failures(self) -> None:
        """Are remembered for a short time."""
        site, url = self.site(content(code=500))
        for seconds, count in ((0, 1), (29, 1), (2, 2)):
            self.reactor.advance(seconds)
            await self.fails(url, True)
            self.assertEqual(len(site.requests), count)

    async def test_off(self) -> None:
        """Nothing is kept where that is said."""
        site, url = self.site(content())
        downloads = self.made(allow=LOOPBACK, cache=None)
        for _ in range(2):
            await downloads.fetch(url)
        self.assertEqual(len(site.requests), 2)

    async def test_one_for_all(self) -> None:
        """Who asks at the same time gets the same download; one who gives up takes nothing from the others."""
        site, url = self.site(silent)
        first, second, third = (self.downloads.fetch(url) for _ in range(3))
        await self.settle()
        second.cancel()
        self.failureResultOf(second)
        site.requests[0].write(b"x")
        site.requests[0].finish()
        self.assertIs((await first).body, (await third).body)
        self.assertEqual(len(site.requests), 1)

    async def test_nobody_wants_it(self) -> None:
        """When all have given up it ends at once; who comes then begins anew."""
        site, url = self.site(silent)
        only = self.downloads.fetch(url)
        await self.settle()
        only.cancel()
        self.failureResultOf(only)
        again = self.downloads.fetch(url)
        await self.settle()
        self.assertEqual((len(site.requests), site.gone), (2, site.requests[:1]))
        site.requests[1].finish()
        self.assertEqual((await again).body, b"")
        self.assertEqual(self.reactor.clock.getDelayedCalls(), [])

    async def test_other_rules(self) -> None:
        """What was remembered under other rules is forgotten, and what comes then is not remembered."""
        site, url = self.site(silent)
        old = self.downloads.fetch(url)
        await self.settle()
        self.downloads.use(DownloadRules(), self.names)
        await self.fails(url, False, "public")
        site.requests[0].finish()
        await old
        await self.fails(url, False, "public")


class Certificates(Case):
    """https."""

    async def test_verified(self) -> None:
        """A certificate for that name of a CA that is trusted is needed; what is wrong with it may pass."""
        ca = make("CA", ca=True)
        good, wrong = make("www.example", issuer=ca), make("other.example", issuer=ca)
        old, own = make("www.example", issuer=ca, days=-1), make("www.example")
        downloads = self.made(allow=LOOPBACK, trust=ca.trust())
        _, url = self.site(content(), good.context())
        self.assertEqual((await downloads.fetch(url)).body, b"body")
        await self.fails(url, True, "TLS", "certificate", downloads=self.made(allow=LOOPBACK))
        for certificate in (wrong, old, own):
            site, url = self.site(content(), certificate.context())
            await self.fails(url, True, "TLS", "certificate", downloads=downloads)
            self.assertEqual(site.requests, [])

    async def test_address(self) -> None:
        """A certificate for an address."""
        ca = make("CA", ca=True)
        _, url = self.site(content(), make("127.0.0.1", issuer=ca).context())
        downloads = self.made(allow=LOOPBACK, trust=ca.trust())
        self.assertEqual((await downloads.fetch(url.replace("www.example", "127.0.0.1"))).body, b"body")

    async def test_no_tls(self) -> None:
        """A server that speaks no TLS."""
        await self.fails(self.raw(b"HTTP/1.0 200 OK\r\n\r\n")[1].replace("http:", "https:"), True, "TLS")


class Odd(Case):
    """Servers that say anything."""

    async def test_any_answer(self) -> None:
        """Whatever a server says is a download or a ContentError; and nothing is left of it."""
        random = Random(5)
        pieces = [
            *(
                b"HTTP/1.1 ",
                b"HTTP/1.0 ",
                b"200",
                b" OK",
                b"302",
                b"\r\n",
                b"\r\n",
                b"\r\n\r\n",
                b"\n",
                b"Location: /x\r\n",
            ),
            *(
                b"Content-Length: ",
                b"4",
                b"-1",
                b"99999999999999999999",
                b"Transfer-Encoding: chunked\r\n",
                b"gzip",
                b"a",
            ),
            *(
                b"Location: http://[\r\n",
                b"Location: \xff\xfe\r\n",
                b"Content-Type: \xff\r\n",
                b"Connection: close\r\n",
            ),
            *(b"0\r\n\r\n", b":", b" ", b"\0", b"\xff", b"Content-Encoding: ", b"100 Continue\r\n\r\n", b"204", b"304"),
        ]
        for number in range(150):
            start = b"HTTP/1.1 200 OK\r\n" if number % 2 else b"HTTP/1.1 302 X\r\nLocation: "
            said = start * (number % 5 != 0) + b"".join(random.choices(pieces, k=random.randrange(12)))
            _, url = self.raw(said)
            try:
                await self.downloads.fetch(url)
            except ContentError as error:
                self.assertIs(error.type, Type.RESPONSIVE)
        self.assertEqual(self.reactor.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])
