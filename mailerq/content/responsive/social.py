"""Places where people follow and share: their names, colours and addresses. Pure.

They are shown as coloured labels with the name in them, not as icons: an icon would have to be on some server, and that
server would learn who reads the mail.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Struct

from mailerq.content.responsive.block_shapes import Block, FontOr, known
from mailerq.content.responsive.kinds import Align, Attributes, Pixels, Text, one_of
from mailerq.content.responsive.reading import Reader, Reading, object_of, read
from mailerq.content.responsive.urls import LinkOr, escaped, target

_ROUNDED = ("flower", "glossy", "grey", "leaf", "polygon", "rectangular", "rounded", "roundedcorners", "waterdrop")
MOST = 30
GONE = ("googleplus", "google2", "googleplus2")
"""Closed since 2019: left out, wherever it is still asked for."""


class Platform(Struct, frozen=True):
    """``follow``: the address of somebody there, with ``{}`` for who it is; ``share``: the address that shares, with
    ``{url}``, ``{title}`` and ``{text}``; '' where there is none."""

    name: str
    colour: str
    follow: str = ""
    share: str = ""


PLATFORMS = {
    "facebook": Platform(
        "Facebook", "#1877f2", "https://www.facebook.com/{}", "https://www.facebook.com/sharer/sharer.php?u={url}"
    ),
    "twitter": Platform("X", "#0f1419", "https://x.com/{}", "https://x.com/intent/post?url={url}&text={text}"),
    "linkedin": Platform(
        "LinkedIn",
        "#0a66c2",
        "https://www.linkedin.com/in/{}",
        "https://www.linkedin.com/sharing/share-offsite/?url={url}",
    ),
    "instagram": Platform("Instagram", "#c13584", "https://www.instagram.com/{}"),
    "youtube": Platform("YouTube", "#cc0000", "https://www.youtube.com/@{}"),
    "vimeo": Platform("Vimeo", "#1a7ea8", "https://vimeo.com/{}"),
    "pinterest": Platform(
        "Pinterest",
        "#bd081c",
        "https://www.pinterest.com/{}",
        "https://www.pinterest.com/pin/create/button/?url={url}&description={text}",
    ),
    "reddit": Platform(
        "Reddit", "#c93a00", "https://www.reddit.com/user/{}", "https://www.reddit.com/submit?url={url}&title={title}"
    ),
    "tumblr": Platform(
        "Tumblr",
        "#35465c",
        "https://{}.tumblr.com/",
        "https://www.tumblr.com/widgets/share/tool?canonicalUrl={url}&title={title}",
    ),
    "whatsapp": Platform("WhatsApp", "#128c4b", "https://wa.me/{}", "https://wa.me/?text={text}%20{url}"),
    "telegram": Platform("Telegram", "#1c7fb8", "https://t.me/{}", "https://t.me/share/url?url={url}&text={text}"),
    "xing": Platform(
        "XING", "#126567", "https://www.xing.com/profile/{}", "https://www.xing.com/spi/shares/new?url={url}"
    ),
    "mail": Platform("Mail", "#5a6470", "mailto:{}", "mailto:?subject={title}&body={text}%20{url}"),
    "bluesky": Platform(
        "Bluesky", "#0a6ed1", "https://bsky.app/profile/{}", "https://bsky.app/intent/compose?text={text}%20{url}"
    ),
    "threads": Platform("Threads", "#101010", "https://www.threads.net/@{}"),
    "tiktok": Platform("TikTok", "#101010", "https://www.tiktok.com/@{}"),
    "snapchat": Platform("Snapchat", "#4a4a00", "https://www.snapchat.com/add/{}"),
    "github": Platform("GitHub", "#24292f", "https://github.com/{}"),
    "flickr": Platform("Flickr", "#c7006f", "https://www.flickr.com/people/{}"),
    "soundcloud": Platform("SoundCloud", "#b34700", "https://soundcloud.com/{}"),
}
_OTHER_COLOUR = "#5a6470"


class Icon(Struct, frozen=True):
    """``size``: how high, in pixels."""

    type: Annotated[str, Reader(one_of(*_ROUNDED))] = "rounded"
    size: Pixels = 32

    @property
    def radius(self) -> int:
        """Of its corners, in pixels."""
        return {"rectangular": 0, "rounded": self.size or 0, "flower": self.size or 0}.get(self.type, 6)


class Follower(Struct, frozen=True):
    """Where one place leads."""

    platform: str
    url: str
    attributes: tuple[tuple[str, str], ...] = ()


class _Named(Struct, frozen=True):
    identifier: Text = ""
    url: Text = ""
    attributes: Attributes = ()


def _followers(value: Any, place: str, reading: Reading) -> tuple[Follower, ...] | None:
    if not isinstance(value, dict) or len(value) > MOST:
        reading.expected(place, f"an object of at most {MOST} platforms", value)
        return None
    found = []
    for name, member in value.items():
        where = f"{place}.{name[:40]}"
        if name.lower() in GONE or member is None:
            continue
        said = read(_Named, member, where, reading) if isinstance(member, dict) else _Named(identifier=member)
        who = said.url or said.identifier
        if not isinstance(who, str) or not who.strip():
            reading.expected(where, "a name or an address", member)
            continue
        url = follow_url(name.lower(), who.strip())
        if url is None:
            reading.fault(where, f"needs an address with https://, since {name[:40]} is not known by names")
        elif (checked := target(url, where, reading)) is not None:
            found.append(Follower(name.lower(), checked, said.attributes))
    return tuple(found)


def follow_url(platform: str, who: str) -> str | None:
    """The address of ``who``, which may be an address itself."""
    if who.lower().startswith(("http://", "https://", "mailto:")):
        return who
    pattern = PLATFORMS[platform].follow if platform in PLATFORMS else ""
    return pattern.replace("{}", escaped(who.lstrip("@")) if platform != "mail" else who) if pattern else None


class Follow(Block):
    """Labels that lead to places where one can be followed."""

    kind: ClassVar[str] = "follow"
    needed: ClassVar[tuple[str, ...]] = ("platforms",)
    label: Text = ""
    platforms: Annotated[tuple[Follower, ...], Reader(_followers)] = ()
    icon: Annotated[Icon, object_of(Icon)] = Icon()
    font: FontOr = None
    align: Align = "left"


def _sharers(value: Any, place: str, reading: Reading) -> tuple[str, ...] | None:
    if not isinstance(value, list) or len(value) > MOST:
        reading.expected(place, f"an array of at most {MOST} names", value)
        return None
    found = []
    for number, name in enumerate(value):
        if not isinstance(name, str):
            reading.expected(f"{place}[{number}]", "a name", name)
        elif name.lower() in PLATFORMS and PLATFORMS[name.lower()].share:
            found.append(name.lower())
        elif name.lower() not in GONE:
            names = ", ".join(key for key, one in PLATFORMS.items() if one.share)
            reading.expected(f"{place}[{number}]", f"one of {names}", name)
    return tuple(found)


class _Facebook(Struct, frozen=True):
    appid: Text = ""
    redirect_uri: Text = ""
    attributes: Attributes = ()


def _hashtags(value: Any, place: str, reading: Reading) -> str | None:
    tags = value if isinstance(value, list) else [value]
    if not all(isinstance(tag, str) for tag in tags):
        reading.expected(place, "an array of texts", value)
        return None
    return ",".join(tags)


class _Twitter(Struct, frozen=True):
    hashtags: Annotated[str, Reader(_hashtags)] = ""
    via: Text = ""
    attributes: Attributes = ()


class Share(Block):
    """Labels that share an address."""

    kind: ClassVar[str] = "share"
    needed: ClassVar[tuple[str, ...]] = ("platforms",)
    label: Text = ""
    platforms: Annotated[tuple[str, ...], Reader(_sharers)] = ()
    icon: Annotated[Icon, object_of(Icon)] = Icon()
    link: LinkOr = None
    description: Text = ""
    facebook: Annotated[_Facebook, object_of(_Facebook)] = _Facebook()
    twitter: Annotated[_Twitter, object_of(_Twitter)] = _Twitter()
    font: FontOr = None
    align: Align = "left"

    def url_at(self, platform: str, shared: str) -> str:
        """The address that shares ``shared`` there."""
        title = self.link.title if self.link else ""
        values = {"{url}": shared, "{title}": title, "{text}": self.description or title}
        pattern = PLATFORMS[platform].share
        if platform == "facebook" and self.facebook.appid:
            pattern = "https://www.facebook.com/dialog/share?app_id={app}&display=page&href={url}&redirect_uri={back}"
            values |= {"{app}": self.facebook.appid, "{back}": self.facebook.redirect_uri or shared}
        if platform == "twitter":
            pattern += "&hashtags={tags}" if self.twitter.hashtags else ""
            pattern += "&via={via}" if self.twitter.via else ""
            values |= {"{tags}": self.twitter.hashtags, "{via}": self.twitter.via.lstrip("@")}
        for name, value in values.items():
            pattern = pattern.replace(name, escaped(value))
        return pattern


known(Follow, Share)


def label_of(platform: str) -> tuple[str, str]:
    """Name and colour."""
    if platform in PLATFORMS:
        return PLATFORMS[platform].name, PLATFORMS[platform].colour
    return platform.capitalize(), _OTHER_COLOUR
