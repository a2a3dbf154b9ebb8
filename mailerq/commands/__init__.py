"""The commands of ``mailerq``: one module each, with ``add_arguments(parser)`` and ``run(arguments, settings)``.

A module is imported only when its command is called. A command that needs no settings has ``run(arguments)`` and
``NEEDS_SETTINGS = False``. What goes wrong is raised as ``Failed``.
"""

from __future__ import annotations

import argparse
import os


class Failed(Exception):
    """The command could not do it. The text, one line, says why."""


def queue_name(text: str) -> str:
    """An argument that names a queue; no broker has one with an empty name, RabbitMQ none of more than 255 bytes."""
    size = len(os.fsencode(text))
    if not 0 < size <= 255:
        raise argparse.ArgumentTypeError("the name is empty" if not size else "the name is longer than 255 bytes")
    return text
