"""Exim, set up for bulk mail over loopback."""

from __future__ import annotations

from benchmarks.compare.accounting import Group
from benchmarks.compare.box import Box
from benchmarks.compare.contender import IN_CONNECTIONS, Load
from benchmarks.compare.messages import address, domain
from benchmarks.compare.peer import Peer

USERS = ("Debian-exim",)
RUNNERS = 4
CONFIG = """\
primary_hostname = bench.example
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts =
acl_smtp_rcpt = all
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = {accept}
smtp_accept_queue_per_connection = 0
split_spool_directory = true
queue_run_max = {runners}
keep_environment =
{hold}
begin acl
all:
  accept
begin routers
all:
  driver = manualroute
  transport = smtp
  route_data = ${{lookup{{$domain}}lsearch{{/etc/exim4/routes}}}}
  self = send
begin transports
smtp:
  driver = smtp
  port = {sink}
  allow_localhost = true
  hosts_avoid_tls = *
begin retry
* * F,1h,1m
"""


class Exim(Peer):
    """To hold mail, it only queues; several queue runners at once deliver it."""

    name = "Exim"
    share = 0.1

    def __init__(self, box: Box, group: Group, port: int, sink: int) -> None:
        super().__init__(box, group, port, sink)
        self.about = (
            f"{box.version}; delivers at once, without a limit to the messages of a connection; deliver alone:"
            f" {RUNNERS} queue runners; split spool; each message is synced to the disk before it is accepted"
        )

    def start(self, load: Load, holding: bool) -> None:
        """A new spool."""
        self.clear("var/spool/exim4", "var/log/exim4")
        for path in ("var/spool/exim4", "var/log/exim4"):
            self.box.folder(path, "Debian-exim")
        routes = [f"{domain(number)}: {address(number)}" for number in range(load.domains)]
        self.box.write("etc/exim4/routes", *routes)
        config = CONFIG.format(
            port=self.port,
            accept=2 * IN_CONNECTIONS,
            runners=RUNNERS,
            sink=self.sink,
            hold="queue_only = true" if holding else "",
        )
        self.box.write("etc/exim4/exim4.conf", config)
        self.launch([self.box.path("exim4"), "-bdf"])

    def release(self) -> None:
        """Several runners, each over the whole queue in an order of its own; a message is locked by who delivers it."""
        for _ in range(RUNNERS):
            self.spawn([self.box.path("exim4"), "-q"])

    def left(self) -> int:
        """Two files each, the envelope in ``…-H``."""
        return sum(1 for _ in (self.box.root / "var/spool/exim4/input").glob("**/*-H"))
