"""SMTP as a client: ``factory`` makes a connection, ``client`` talks, ``tracker`` knows what a reply means."""
