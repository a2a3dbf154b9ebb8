"""Bounce classes: in one word, what kept a mail from being delivered."""

from __future__ import annotations

GREYLISTED = "greylisted"
BOUNCE_CLASSES: dict[str, str] = {
    "bad-mailbox": "there is no such mailbox, or its address is wrong",
    "bad-domain": "the domain takes no mail, or does not exist",
    "inactive-mailbox": "the mailbox is disabled, or has moved",
    "mailbox-full": "the mailbox is full",
    "message-too-large": "the message is larger than the host or the mailbox takes",
    "content": "something in the message is not taken: its form, an attachment, a link",
    "spam": "the message is taken for spam",
    "virus": "the message is taken for a virus",
    "policy": "a rule of the host or of the recipient forbids it",
    "authentication": "SPF, DKIM, DMARC or the reverse DNS name are missing or wrong",
    "blocklist": "the local address, or the sender's domain, is on a list or has a bad reputation",
    "rate-limited": "too many mails in too short a time",
    "too-many-connections": "too many connections",
    GREYLISTED: "unknown senders have to come again (greylisting)",
    "relaying": "the host does not take mail for this recipient from us",
    "protocol": "what was said is not SMTP as the other side understands it",
    "temporary-host": "the host cannot work now",
    "dns": "no host was found for the domain",
    "network": "no connection to the host, or it was lost",
    "tls": "TLS could not be set up, or is asked for",
    "timeout": "the host did not answer in time",
    "expired": "the time or the attempts of the job were used up",
    "local": "something of ours: the job, an address, a login",
    "other": "none of these",
}
