"""A Postfix of our own for tests: own folder, own port on loopback; keeps each message as a file, as it was received.

Needs root, as Postfix does. It uses no mailbox, sends nothing on, and disturbs no other Postfix on this host.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.rabbit import free_ports

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/lib
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.example
mydestination =
inet_interfaces = loopback-only
inet_protocols = all
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}
virtual_mailbox_domains = kept.example
virtual_transport = keep
keep_destination_recipient_limit = 1
smtpd_recipient_restrictions = permit_mynetworks, reject
message_size_limit = 60000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
smtpd_client_connection_rate_limit = 0
smtputf8_enable = yes
strict_smtputf8 = no
local_header_rewrite_clients =
alias_maps =
alias_database =
"""

MASTER = """
{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
postlog unix-dgram n - n - 1 postlogd
keep unix - n n - 4 pipe user=nobody argv=/bin/sh {folder}/keep ${{user}}
"""

KEEP = """#!/bin/sh
cat > "{folder}/kept/.$1.$$" && mv "{folder}/kept/.$1.$$" "{folder}/kept/$1"
"""


def postfix_program() -> str | None:
    """Where Postfix is; None: not installed, or we may not start it."""
    found = shutil.which("postfix") or shutil.which("/usr/sbin/postfix")
    return found if os.getuid() == 0 else None


class Postfix:
    """Accepts mail for ``*@kept.example`` on ``port`` of 127.0.0.1 and ::1."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postfix-"))
        self.folder.chmod(0o755)
        self.port = free_ports(1)[0]
        for name in ("spool", "lib", "log", "kept", "conf"):
            (self.folder / name).mkdir(mode=0o755)
        shutil.chown(self.folder / "lib", "postfix")
        shutil.chown(self.folder / "kept", "nobody")
        words = {"folder": self.folder, "port": self.port}
        (self.folder / "conf" / "main.cf").write_text(MAIN.format(**words))
        (self.folder / "conf" / "master.cf").write_text(MASTER.format(**words))
        (self.folder / "keep").write_text(KEEP.format(**words))

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._postfix("start")
        end = time.monotonic() + 20
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            if time.monotonic() > end:
                raise AssertionError(f"Postfix does not answer: {self.log()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it, and remove all it had."""
        self._postfix("abort")
        shutil.rmtree(self.folder, ignore_errors=True)

    def received(self, local_part: str) -> bytes | None:
        """The message for ``local_part@kept.example``, line ends LF, without the Received field that Postfix put before
        it; None while there is none."""
        path = self.folder / "kept" / local_part
        if not path.exists():
            return None
        return _without_trace(path.read_bytes())

    def log(self) -> str:
        """What Postfix wrote."""
        path = self.folder / "log" / "mail.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def _postfix(self, command: str) -> None:
        program = postfix_program()
        assert program is not None, "Postfix is not installed, or this is not root"
        done = subprocess.run([program, "-c", self.folder / "conf", command], capture_output=True, check=False)
        assert done.returncode == 0 or command == "abort", f"postfix {command}: {done.stderr.decode()}{self.log()}"


def _without_trace(message: bytes) -> bytes:
    lines = message.split(b"\n")
    assert lines[0].startswith(b"Received: "), lines[:3]
    first = 1
    while lines[first][:1] in (b" ", b"\t"):
        first += 1
    return b"\n".join(lines[first:])
