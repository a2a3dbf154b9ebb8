"""Responsive mail: what a description names elsewhere."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailerq.attempt import Type
from mailerq.content.chain import take
from mailerq.content.responsive.gathering import MOST_URLS
from mailerq.content.responsive.step import ComposeStep
from mailerq.content.step import ContentError, Occasion
from mailerq.content.steps import make_chain
from mailerq.settings import Settings
from tests.descriptions import NOW, Web, composed, html, job_of, part, read_message, reasons


def content(*blocks: Any, **members: Any) -> dict[str, Any]:
    """A description of these blocks."""
    return {"content": {"blocks": list(blocks)}, **members}


def page(value: Any) -> tuple[bytes, str]:
    """JSON somewhere."""
    return json.dumps(value).encode(), "application/json"


class Downloads(SynchronousTestCase):
    """What is asked for."""

    def test_once(self) -> None:
        """The same image is asked for once; what nobody sees, or has its width, not at all."""
        web = Web({"https://example.org/a": (b"", "")})
        one = {"type": "image", "src": "https://example.org/a"}
        hidden = {"type": "image", "src": "https://example.org/b", "visibility": {"output": "webonly"}}
        composed(content(one, one, hidden, {"type": "image", "src": "https://example.org/c", "width": 10}), web)
        self.assertEqual(web.asked, ["https://example.org/a"])

    def test_failed(self) -> None:
        """What cannot be had now makes the message fail for now, with each reason and its place."""
        web = Web({"https://example.org/a": None, "https://example.org/b": None})
        description = content(
            {"type": "image", "src": "https://example.org/a"}, attachments=[{"url": "https://example.org/b"}]
        )
        with self.assertRaises(ContentError) as caught:
            composed(description, web)
        error = caught.exception
        self.assertEqual((error.type, error.passing), (Type.RESPONSIVE, True))
        self.assertEqual(
            error.reasons,
            (
                "attachments[0].url: https://example.org/b cannot be downloaded: no answer",
                "content.blocks[0].image.src: https://example.org/a cannot be downloaded: no answer",
            ),
        )

    def test_failed_for_good(self) -> None:
        """What can never be had makes it fail for good."""
        web = Web({"https://example.org/a": None})
        with self.assertRaises(ContentError) as caught:
            composed(content(*({"type": "image", "src": f"https://example.org/{name}"} for name in "ab")), web)
        self.assertFalse(caught.exception.passing)
        self.assertEqual(len(caught.exception.reasons), 2)

    def test_too_many(self) -> None:
        """So many downloads, and no more, of which none is begun."""
        web = Web()
        blocks = [{"type": "image", "src": f"https://example.org/{number}"} for number in range(MOST_URLS + 1)]
        (found,) = reasons(content(*blocks), web)
        self.assertEqual(
            found,
            f"content.blocks[{MOST_URLS}].image.src: is one download more than the {MOST_URLS} that a message may need",
        )
        self.assertEqual(web.asked, [])

    def test_too_much(self) -> None:
        """So many bytes in all."""
        body = b"x" * 10_000_000
        web = Web({f"https://example.org/{number}": (body, "") for number in range(6)})
        found = reasons({"text": "x", "attachments": [{"url": url} for url in web.pages]}, web)
        self.assertIn("more than 50000000 bytes", found[0])

    def test_given_up(self) -> None:
        """Who gives up gives up what is being downloaded."""
        cancelled: list[Any] = []

        class Slow:
            """Never answers."""

            def fetch(self, url: str) -> Deferred[Any]:
                """Notes that it is cancelled."""
                return Deferred(cancelled.append)

        job = job_of(content({"type": "image", "src": "https://example.org/a"}))
        gathering = ComposeStep(Slow()).gather(job.described(), job)
        gathering.addErrback(lambda _: None)
        gathering.cancel()
        self.assertEqual(len(cancelled), 1)

    def test_nothing_to_ask(self) -> None:
        """Where there is nobody to ask, what has to be asked for is refused, and the rest composed."""
        for blocks, fails in (([], False), ([{"type": "import", "url": "https://example.org/"}], True)):
            job = job_of(content(*blocks))
            out: list[Any] = []
            ComposeStep().gather(job.described(), job).addBoth(out.append)
            self.assertEqual(hasattr(out[0], "check") and out[0].check(ContentError) is not None, fails)


class Texts(SynchronousTestCase):
    """Texts and HTML from elsewhere."""

    def test_url(self) -> None:
        """They are put where they would have been; texts are escaped there, too."""
        web = Web({"https://example.org/a": ("<b>ä</b>".encode(), "text/html")})
        self.assertIn("<b>ä</b>", html({"type": "html", "url": "https://example.org/a"}, web=web))
        self.assertIn("&lt;b&gt;ä&lt;/b&gt;", html({"type": "text", "url": "https://example.org/a"}, web=web))

    def test_template(self) -> None:
        """An address that is downloaded cannot be personalised."""
        (found,) = reasons(content({"type": "html", "url": "https://example.org/{$a}"}))
        self.assertIn("content.blocks[0].html.url: is downloaded before", found)


class Imports(SynchronousTestCase):
    """Blocks from elsewhere."""

    def test_forms(self) -> None:
        """One block, an array, an object with blocks, a whole description."""
        block = {"type": "text", "content": "imported"}
        for value in (block, [block], {"blocks": [block]}, {"content": {"blocks": [block]}}):
            web = Web({"https://example.org/a": page(value)})
            self.assertIn("imported", html({"type": "import", "url": "https://example.org/a"}, web=web))

    def test_again(self) -> None:
        """They may import, and have images."""
        web = Web(
            {
                "https://example.org/a": page({"type": "import", "url": "https://example.org/b"}),
                "https://example.org/b": page({"type": "image", "src": "https://example.org/c"}),
                "https://example.org/c": (b"GIF89a\x05\0\x06\0", "image/gif"),
            }
        )
        self.assertIn('width="5"', html({"type": "import", "url": "https://example.org/a"}, web=web))

    def test_twice(self) -> None:
        """The same may be imported at several places, and in what is imported."""
        block = {"type": "import", "url": "https://example.org/a"}
        pages = {
            "https://example.org/a": page({"type": "text", "content": "again"}),
            "https://example.org/b": page(block),
        }
        self.assertEqual(
            html(block, block, {**block, "url": "https://example.org/b"}, web=Web(pages)).count("again"), 3
        )

    def test_for_ever(self) -> None:
        """But not for ever: not each other, and not what is made up as it is asked for."""
        web = Web({"https://example.org/a": page([{"type": "import", "url": "https://example.org/a"}] * 3)})
        self.assertIn("imports again", reasons(content({"type": "import", "url": "https://example.org/a"}), web)[0])
        many = {
            f"https://example.org/{n}": page({"type": "import", "url": f"https://example.org/{n + 1}"})
            for n in range(9)
        }
        self.assertIn(
            "imports again", reasons(content({"type": "import", "url": "https://example.org/0"}), Web(many))[0]
        )

    def test_faults(self) -> None:
        """What is wrong in what is imported is said with its place."""
        for value, wanted in (
            ([{"type": "text"}], "content.blocks[0].import.blocks[0].text.content: is missing"),
            (5, "content.blocks[0].import.blocks: expected an array of blocks, got 5"),
        ):
            web = Web({"https://example.org/a": page(value)})
            self.assertEqual(reasons(content({"type": "import", "url": "https://example.org/a"}), web), (wanted,))
        web = Web({"https://example.org/a": (b"<html>", "")})
        self.assertIn(
            "what is there is no JSON", reasons(content({"type": "import", "url": "https://example.org/a"}), web)[0]
        )

    def test_in_columns(self) -> None:
        """Columns cannot be imported into columns."""
        web = Web({"https://example.org/a": page({"type": "columns", "columns": [{}]})})
        columns = {"type": "columns", "columns": [{"blocks": [{"type": "import", "url": "https://example.org/a"}]}]}
        self.assertIn("columns cannot be", reasons(content(columns), web)[0])


class Videos(SynchronousTestCase):
    """Stills of videos."""

    def test_youtube(self) -> None:
        """The still of YouTube follows from the address, in all its forms."""
        for url in (
            "https://www.youtube.com/watch?v=zSQCH1qyIDo",
            "http://youtu.be/zSQCH1qyIDo?t=1",
            "https://m.youtube.com/shorts/zSQCH1qyIDo",
        ):
            made = html({"type": "video", "url": url})
            self.assertIn('src="https://img.youtube.com/vi/zSQCH1qyIDo/hqdefault.jpg"', made)
            self.assertIn(f'href="{url}"', made)

    def test_vimeo(self) -> None:
        """Vimeo is asked."""
        question = "https://vimeo.com/api/oembed.json?url=https%3A%2F%2Fvimeo.com%2F12345678"
        web = Web({question: page({"thumbnail_url": "https://i.vimeocdn.com/1.jpg"})})
        self.assertIn(
            'src="https://i.vimeocdn.com/1.jpg"', html({"type": "video", "url": "https://vimeo.com/12345678"}, web=web)
        )
        web = Web({question: page({"thumbnail_url": "javascript:x"})})
        self.assertIn("no still", reasons(content({"type": "video", "url": "https://vimeo.com/12345678"}), web)[0])

    def test_others(self) -> None:
        """Others need a thumbnail."""
        self.assertIn("give a thumbnail", reasons(content({"type": "video", "url": "https://example.org/v"}))[0])
        made = html({"type": "video", "url": "https://example.org/v", "thumbnail": "https://example.org/t.jpg"})
        self.assertIn('src="https://example.org/t.jpg"', made)


class Chains(SynchronousTestCase):
    """The step in its chain."""

    def test_first(self) -> None:
        """It is taken for what is described, before all others."""
        job = job_of({"text": "x"}, data={"a": 1})
        steps = make_chain(Settings()).steps_for(job, True)
        self.assertEqual([step.name for step in steps][:2], ["compose", "personalise"])

    def taken(self, description: Any, **members: Any) -> str:
        """The HTML after all steps."""
        job = job_of(description, **members)
        steps = make_chain(Settings(), Web()).steps_for(job, True)
        out: list[Any] = []
        steps[0].gather(job.described(), job).addCallback(out.append)  # type: ignore[attr-defined]
        made = take(steps, job.described(), job, Occasion(NOW, True, {"compose": out[0]}))
        return part(read_message(made), "text/html") + part(read_message(made), "text/plain")

    def test_personalised(self) -> None:
        """Tags are filled in wherever they stand: in texts, addresses, HTML and the text part."""
        blocks = (
            {"type": "text", "content": '{if $n > 2 && $n < 9}{$a_b|default:"<b>"}{/if}'},
            {"type": "button", "label": "x", "link": "https://example.org/{$a_b}?b={$n}"},
            {"type": "html", "content": '<i>{$gone|default:"<u>"}</i>'},
        )
        made = self.taken(content(*blocks), data={"a_b": "Jö", "n": 3})
        for wanted in (">Jö<", 'href="https://example.org/Jö?b=3"', "<i><u></i>", "(https://example.org/Jö?b=3)"):
            self.assertIn(wanted, made)
        self.assertNotIn("{", made.partition("<body")[2])

    def test_data_of_the_description(self) -> None:
        """A description may have data of its own; those of the job go before."""
        description = content({"type": "text", "content": "Hi {$name}"}, data={"name": "Ann"})
        self.assertIn("Hi Ann", self.taken(description))
        self.assertIn("Hi Bob", self.taken(description, data={"name": "Bob"}))
