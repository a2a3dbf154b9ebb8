"""Postfix, set up for bulk mail over loopback."""

from __future__ import annotations

from benchmarks.compare.accounting import Group
from benchmarks.compare.box import Box
from benchmarks.compare.contender import Load
from benchmarks.compare.messages import address, domain
from benchmarks.compare.peer import Peer

MAIN = """\
compatibility_level = 3.6
queue_directory = /var/spool/postfix
data_directory = /var/lib/postfix
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = bench.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
maillog_file = /var/log/mail.log
disable_dns_lookups = yes
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
transport_maps = texthash:/etc/postfix/transport
alias_maps =
alias_database =
local_recipient_maps =
default_process_limit = {connections}
smtp_destination_concurrency_limit = {each}
"""
MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
{hold}qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
WAITING = ("incoming", "active", "deferred", "hold")
USERS = ("postfix", "postdrop")
OWN = (*WAITING, "bounce", "corrupt", "defer", "flush", "saved", "trace", "private")


class Postfix(Peer):
    """To hold mail it runs without its queue manager; to release it, it is started again, with it."""

    name = "Postfix"
    share = 0.5

    def __init__(self, box: Box, group: Group, port: int, sink: int) -> None:
        super().__init__(box, group, port, sink)
        self.about = (
            f"{box.version}; defaults, but for the limits; finds connections to keep by itself"
            " (`smtp_connection_cache_on_demand`); each message is synced to the disk before it is accepted"
        )
        self._load: Load | None = None

    def start(self, load: Load, holding: bool) -> None:
        self._load = load
        self.clear("var/spool/postfix", "var/lib/postfix", "var/log")
        self.box.folder("var/log")
        self.box.folder("var/lib/postfix", "postfix")
        spool = self.box.folder("var/spool/postfix")
        for name in OWN:
            self.box.folder(f"var/spool/postfix/{name}", "postfix", "root", 0o700)
        self.box.folder("var/spool/postfix/pid")
        self.box.folder("var/spool/postfix/maildrop", "postfix", "postdrop", 0o1730)
        self.box.folder("var/spool/postfix/public", "postfix", "postdrop", 0o710)
        self._spool = spool
        numbers = range(load.domains)
        routes = [f"{domain(number)} smtp:[{address(number)}]:{self.sink}" for number in numbers]
        self.box.write("etc/postfix/transport", *routes)
        self._run(holding)

    def _run(self, holding: bool) -> None:
        assert self._load is not None
        main = MAIN.format(connections=self._load.connections, each=self._load.each)
        if holding:  # else each message waits for the queue manager for a second
            main += "in_flow_delay = 0\n"
        self.box.write("etc/postfix/main.cf", main)
        self.box.write("etc/postfix/master.cf", MASTER.format(port=self.port, hold="#" if holding else ""))
        self.launch(["/usr/lib/postfix/sbin/master", "-d", "-c", "/etc/postfix"])

    def release(self) -> None:
        self.end()
        self._run(holding=False)

    def left(self) -> int:
        return sum(1 for name in WAITING for path in (self._spool / name).rglob("*") if path.is_file())
