"""Responsive mail: a description (JSON) becomes a message.

``description.py`` and ``block_shapes.py`` say what a description may have, ``reading.py`` reads it and finds all faults
at once; ``gathering.py`` downloads what it names; ``layout.py`` and ``blocks.py`` write MJML, of which ``html.py``
makes HTML that works in mail programs; ``compose.py`` puts the message together; ``step.py`` is the content step.
"""
