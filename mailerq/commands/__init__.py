"""The commands of ``mailerq``: one module each, with ``add_arguments(parser)`` and ``run(arguments, settings)``.

A module is imported only when its command is called. A command that needs no settings has ``run(arguments)`` and
``NEEDS_SETTINGS = False``. What goes wrong is raised as ``Failed``.
"""

from __future__ import annotations


class Failed(Exception):
    """The command could not do it. The text, one line, says why."""
