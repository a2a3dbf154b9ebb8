"""OpenSMTPD, set up for bulk mail over loopback."""

from __future__ import annotations

import os

from benchmarks.compare.accounting import Group
from benchmarks.compare.box import Box
from benchmarks.compare.contender import Load
from benchmarks.compare.messages import address, domain
from benchmarks.compare.peer import Peer

USERS = ("opensmtpd", "opensmtpq")
CONFIG = """\
listen on 127.0.0.1 port {port} hostname bench.example
smtp limit max-mails 1000000
mta limit max-conn-per-host {each} max-conn-per-route {each} max-conn-per-domain {each} max-conn-per-relay {each}
mta limit max-conn-per-source {connections} max-conn-per-connector {connections}
mta limit conn-delay-route 0 conn-delay-relay 0 reconn-delay-route 0 session-mail-max 1000
scheduler limit max-inflight 20000 max-schedule 100
"""


class Opensmtpd(Peer):
    """To hold mail, its transfer agent is paused."""

    name = "OpenSMTPD"
    share = 0.25

    def __init__(self, box: Box, group: Group, port: int, sink: int) -> None:
        super().__init__(box, group, port, sink)
        tool = box.files / "usr/sbin/smtpctl"
        if tool.exists():  # what the installation of the package would do
            os.chown(tool, 0, box.groups["opensmtpq"])
            tool.chmod(0o2755)
        self.about = (
            f"{box.version}; without the delays between connections that are built in (5 s for a route), 1,000 messages"
            " a session; each message is synced to the disk before it is accepted"
        )

    def start(self, load: Load, holding: bool) -> None:
        """A new spool; ``smtpd`` makes its folders itself."""
        self.clear("var/spool/smtpd", "run")
        self.box.folder("run")
        self.box.folder("var/spool/smtpd", mode=0o711)
        self.box.folder("var/lib/opensmtpd/empty")
        lines = [CONFIG.format(port=self.port, each=load.each, connections=load.connections)]
        for number in range(load.domains):
            lines.append(f'action "r{number}" relay host "smtp://{address(number)}:{self.sink}"')
            lines.append(f'match from any for domain "{domain(number)}" action "r{number}"')
        self.box.write("etc/smtpd.conf", *lines)
        self.launch([self.box.path("smtpd"), "-d"])
        if holding:
            self.box.call([self.box.path("smtpctl"), "pause", "mta"])

    def release(self) -> None:
        """Go on."""
        self.box.call([self.box.path("smtpctl"), "resume", "mta"])

    def left(self) -> int:
        """A folder for each message, in folders by the first two digits of their names."""
        return sum(1 for _ in (self.box.root / "var/spool/smtpd/queue").glob("*/*"))
