"""A demonstration: the real engine, a throw-away queue, scripted mail hosts on loopback, a thousand mails."""
