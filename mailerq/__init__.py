"""An outbound mail engine: takes jobs from a queue, delivers them by SMTP, and says what came of each."""

__version__ = "0.1.0"
