"""How often Python looks for garbage that holds itself (objects that name each other in a ring).

All else is freed at once, when the last name for it is gone, and so is every mail: nothing on its way is a ring. Python
looks each time there are 700 objects more than before, and again and again at all that is in hand, which with
thousands of mails is a tenth of the time. So it looks after ``MORE`` objects more, and never at what was there from the
start (modules, functions, settings).

What that promises of memory: rings that are made (a connection with its transport, a failure with its traceback) are
found when there are ``MORE`` objects more, which is some 10 MB.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

MORE = 50_000
SELDOM = 10  # looks at the young for each at the older, and of those for each at all


_ARENA_MAX = -8  # the name of that bound in glibc's malloc.h


def one_heap() -> None:
    """To be called before any thread is started: one heap for all of them. glibc has one for each, and what one thread
    takes and another frees breaks them up: with the thread of the embedded queue, a process grew by 8 MB each 100,000
    messages. Python lets one thread at a time work anyway. Where malloc is another's, nothing happens."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def settle() -> None:
    """To be called once, when all parts are built."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(MORE, SELDOM, SELDOM)
