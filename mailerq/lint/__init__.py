"""What large providers and the RFCs would find missing or wrong in a message.

``message.py`` takes it apart, ``rules.py`` is what is looked for (each rule a row of a table: ``headers.py``,
``lines.py``, ``mime.py``, ``html.py``, ``lists.py``, ``authentication.py``), ``records.py`` judges what DNS says of the
sender, ``report.py`` writes it down. All pure; ``mailerq/commands/lint.py`` reads the file and asks DNS.
"""
