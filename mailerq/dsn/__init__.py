"""Delivery status notifications: what a job asks for, how a host is asked (RFC 3461), what the sender is told (RFC
3464).

``asked.py`` reads the property ``dsn``, ``keys.py`` the section of the configuration; ``parameters.py`` writes what a
host is told, ``notices.py`` says when the sender is told something, ``report.py`` writes the message that tells it. All
of it is pure; mails that ask for nothing never come here.
"""
