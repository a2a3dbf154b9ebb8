"""What a description names is downloaded: images for their size, attachments, texts, blocks from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from twisted.internet.defer import CancelledError, DeferredList

from mailerq.content.responsive.block_shapes import (
    Block,
    Columns,
    Container,
    Html,
    Image,
    Import,
    TextBlock,
    Video,
    blocks,
)
from mailerq.content.responsive.compose import Got
from mailerq.content.responsive.description import Content, Description, decode, parse, refuse
from mailerq.content.responsive.reading import Reading
from mailerq.content.responsive.step import Downloader
from mailerq.content.responsive.tags import has_tag
from mailerq.content.responsive.videos import vimeo_question, vimeo_still, youtube_still
from mailerq.content.step import ContentError

MOST_URLS = 100
MOST_BYTES = 50_000_000
ROUNDS = 5
"""Imports may import, and videos have to be asked for first; then it is enough."""


class Want(Struct, frozen=True):
    """A URL, and the place in the description that names it."""

    url: str
    place: str


class Gathered(Struct):
    """A description that was read, what was downloaded for it (by URL), and stills of videos by theirs."""

    description: Description
    got: dict[str, Got] = {}
    stills: dict[str, str] = {}


async def gather(body: bytes, downloader: Downloader | None) -> Gathered:
    """The description in ``body``, with all that it needs. Raises ContentError, with all that went wrong."""
    gathered = Gathered(parse(body), {}, {})
    reading = _reading(gathered.description)
    for _ in range(ROUNDS):
        wants = [want for want in _wants(gathered) if want.url not in gathered.got]
        if wants and downloader is None:
            raise refuse(tuple(f"{want.place}: nothing can be downloaded here" for want in wants))
        if wants and downloader is not None:
            await _fetch(wants, gathered, downloader)
        imported = _use(gathered, reading)
        if reading.faults:
            raise refuse(reading.reasons())
        if not wants and not imported:
            return gathered
    raise refuse((f"content: what it imports imports again, more than {ROUNDS - 2} times",))


def _use(gathered: Gathered, reading: Reading) -> bool:
    """Put what came where it belongs. Whether there were blocks among it."""
    imported = False
    for block in list(_all(_blocks(gathered.description))):
        if isinstance(block, Import) and block.blocks is None:
            block.blocks = _imported(block, gathered.got[block.url].body, reading)
            imported = True
        elif isinstance(block, Video):
            _find_still(block, gathered, reading)
    return imported


def _reading(description: Description) -> Reading:
    """Counts go on where the description's own end."""
    reading = Reading()
    reading.blocks = sum(1 for _ in _all(_blocks(description)))
    return reading


def _blocks(description: Description) -> tuple[Block, ...]:
    return description.content.blocks if isinstance(description.content, Content) else ()


def _all(found: tuple[Block, ...]) -> Iterator[Block]:
    """Blocks, and those in them; those that no mail shows need nothing."""
    for block in found:
        if block.visibility.output == "webonly":
            continue
        yield block
        if isinstance(block, Container | Import):
            yield from _all(block.blocks or ())
        elif isinstance(block, Columns):
            for column in block.columns:
                yield from _all(column.blocks)


def _wants(gathered: Gathered) -> Iterator[Want]:
    for number, attachment in enumerate(gathered.description.attachments):
        if attachment.url and attachment.body is None:
            yield Want(attachment.url, f"attachments[{number}].url")
    for block in _all(_blocks(gathered.description)):
        if isinstance(block, Image):
            if block.width is None and not has_tag(block.src):
                yield Want(block.src, f"{block.place}.src")
        elif isinstance(block, Import) or (isinstance(block, Html | TextBlock) and not block.content and block.url):
            yield Want(block.url, f"{block.place}.url")
        elif isinstance(block, Video) and (question := _question(block)):
            yield Want(question, f"{block.place}.url")


def _question(block: Video) -> str | None:
    if block.thumbnail or youtube_still(block.url):
        return None
    return vimeo_question(block.url)


def _find_still(block: Video, gathered: Gathered, reading: Reading) -> None:
    question = _question(block)
    if question is None:
        return
    still = vimeo_still(gathered.got[question].body) if question in gathered.got else None
    if still:
        gathered.stills[block.url] = still
    else:
        reading.fault(f"{block.place}.url", "Vimeo gives no still of this video")


async def _fetch(wants: list[Want], gathered: Gathered, downloader: Downloader) -> None:
    places: dict[str, str] = {}
    for want in wants:
        places.setdefault(want.url, want.place)
    if len(places) + len(gathered.got) > MOST_URLS:
        place = list(places.values())[max(MOST_URLS - len(gathered.got), 0)]
        raise refuse((f"{place}: is one download more than the {MOST_URLS} that a message may need",))
    fetching = [downloader.fetch(url) for url in places]
    try:
        results = await DeferredList(fetching, consumeErrors=True)
    except CancelledError:
        for one in fetching:
            one.cancel()
        raise
    _look_at(
        [(want_place, success, result) for want_place, (success, result) in zip(places.values(), results, strict=True)]
    )
    for url, (_, download) in zip(places, results, strict=True):
        gathered.got[url] = Got(download.body, download.type)
    if sum(len(one.body) for one in gathered.got.values()) > MOST_BYTES:
        raise refuse((f"content: its downloads are more than {MOST_BYTES} bytes in all",))


def _look_at(results: list[tuple[str, bool, Any]]) -> None:
    """All that failed; final if one of them is."""
    reasons, passing = [], True
    for place, success, failure in results:
        if success:
            continue
        error = failure.value
        if not isinstance(error, ContentError):
            failure.raiseException()
        reasons.append(f"{place}: {error.what}")
        passing = passing and error.passing
    if reasons:
        raise refuse(tuple(reasons), passing)


def _imported(block: Import, body: bytes, reading: Reading) -> tuple[Block, ...]:
    """A block, an array of blocks, or an object with ``blocks`` (in ``content``, as in a description, too)."""
    place = f"{block.place}.blocks"
    try:
        value = decode(body)
    except ContentError as error:
        reading.fault(f"{block.place}.url", error.reasons[0].replace("the description", "what is there"))
        return ()
    if isinstance(value, dict) and isinstance(value.get("content"), dict) and "type" not in value:
        value = value["content"]
    if isinstance(value, dict):
        value = [value] if "type" in value else value.get("blocks")
    reading.columns = int(block.in_columns)
    found = blocks(value, place, reading)
    reading.columns = 0
    return found
