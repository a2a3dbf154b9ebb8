"""A PostgreSQL server of our own: its own cluster in a temporary folder, a free loopback port, an unprivileged user."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.rabbit import free_ports
from tests.store_contract import PASSWORD

USER = "mailerq"
START = 30.0


def postgres_programs() -> str | None:
    """The folder of ``initdb`` and ``postgres``, of the newest version; None where they are not installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda path: int(path.split("/")[4]))
    if found:
        return os.path.dirname(found[-1])
    there = shutil.which("postgres")
    return os.path.dirname(there) if there and shutil.which("initdb") else None


class PostgreSQL:
    """One cluster. ``start`` it; ``remove`` it at the end. ``fsync``: whether it outlives a power cut."""

    def __init__(self, fsync: bool = False) -> None:
        self._fsync = "on" if fsync else "off"
        self.programs = postgres_programs()
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self.port = free_ports(1)[0]
        self.process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:  # the server refuses to run as root
            owner = pwd.getpwnam("postgres")
            self._as = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self._make()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def _make(self) -> None:
        secret = self.folder / "secret"
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o644)
        done = subprocess.run(
            [
                *(f"{self.programs}/initdb", "-D", str(self.folder / "cluster"), "-U", USER, "-A", "scram-sha-256"),
                *("--pwfile", str(secret), "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"),
            ],
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **self._as,
        )
        assert done.returncode == 0, f"initdb: {done.stdout}{done.stderr}"
        with (self.folder / "cluster" / "postgresql.conf").open("a") as conf:
            conf.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{self.folder}'\n"
                f"fsync = {self._fsync}\nshared_buffers = 16MB\nmax_connections = 40\nmax_wal_size = 64MB\n"
            )

    def start(self) -> None:
        """Begin, and wait until it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [f"{self.programs}/postgres", "-D", str(self.folder / "cluster")],
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as,
            )
        # Whoever kills the tests ends the server too: the guard's input ends with this process.
        script = 'read -r _; kill -3 "$1" 2>/dev/null; sleep 1; rm -rf "$2"'
        self._guard = subprocess.Popen(
            ["sh", "-c", script, "guard", str(self.process.pid), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + START
        while not self._answers():
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError((self.folder / "log").read_text("utf-8", "replace")[-3000:])
            time.sleep(0.05)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """A statement of its own, and the rows it gives."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def freeze(self, frozen: bool) -> None:
        """Stop the whole server as it is, or let it go on: a host that no longer answers."""
        assert self.process is not None
        for pid in [self.process.pid, *_children(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def _dismiss_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None and guard.stdin is not None:
            guard.kill()
            guard.wait(10)
            guard.stdin.close()

    def stop(self) -> None:
        """As an operator restarts it: connections are closed with a word."""
        self._dismiss_guard()
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill9()
            self.process = None

    def kill9(self) -> None:
        """At once, its children with it."""
        self._dismiss_guard()
        if self.process is not None:
            pids = [self.process.pid, *_children(self.process.pid)]
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def remove(self) -> None:
        """Nothing stays."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
