"""A Redis server of our own, in a folder of its own, on a free loopback port."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.rabbit import free_ports


def redis_server() -> str | None:
    """The program; None where it is not installed."""
    return shutil.which("redis-server")


class Redis:
    """``options`` are settings of redis.conf, one a line; it keeps nothing over its end unless they say so."""

    def __init__(self, options: str = "", password: str | None = None, tls: tuple[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.port = free_ports(1)[0]
        self.password = password
        self.tls = tls is not None
        ports = f"port {self.port}" if tls is None else f"port 0\ntls-port {self.port}\ntls-auth-clients no"
        if tls is not None:
            ports += f"\ntls-cert-file {tls[0]}\ntls-key-file {tls[1]}"
        secret = "" if password is None else f"requirepass {password}"
        text = f"bind 127.0.0.1\n{ports}\ndir {self.folder}\nsave ''\nappendonly no\n{secret}\n{options}\n"
        (self.folder / "redis.conf").write_text(text)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        secret = "" if self.password is None else f":{self.password}@"
        return f"{'rediss' if self.tls else 'redis'}://{secret}localhost:{self.port}/1"

    def start(self) -> None:
        """Begin, and wait until it takes connections."""
        program = redis_server()
        assert program is not None
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, str(self.folder / "redis.conf")], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise AssertionError((self.folder / "log").read_text()) from None
                time.sleep(0.02)

    def kill9(self) -> None:
        """At once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def remove(self) -> None:
        """Nothing stays."""
        self.kill9()
        shutil.rmtree(self.folder, ignore_errors=True)
