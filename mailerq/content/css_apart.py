"""What inlines CSS, in a process of its own: see ``apart.py``. A list of HTML texts in, the same with styles out."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mailerq.content.apart import serve

MOST = 10_000_000
"""Characters that all texts together may become."""


def prepare() -> Callable[[bytes], bytes]:
    """Nothing is ever loaded. Rules that no attribute can say (``:hover``, ``@media``) stay in their style blocks;
    those that went into attributes are taken out there."""
    from css_inline import CSSInliner, InlineError

    inliner = CSSInliner(
        load_remote_stylesheets=False,
        keep_link_tags=True,
        keep_style_tags=True,
        keep_at_rules=True,
        remove_inlined_selectors=True,
    )
    decode = msgspec.msgpack.Decoder(list[str]).decode
    encode = msgspec.msgpack.encode
    encode([inliner.inline("<style>p{color:red}</style><p>x</p>")])  # all that is loaded late is there

    def inline(content: bytes) -> bytes:
        try:
            styled = [inliner.inline(html) for html in decode(content)]
        except InlineError as error:
            raise ValueError(str(error)) from None
        if sum(map(len, styled)) > MOST:
            raise ValueError(f"it becomes larger than {MOST} characters")
        return encode(styled)

    return inline


if __name__ == "__main__":
    serve(prepare)
