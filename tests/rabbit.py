"""A RabbitMQ of our own for tests: its own node name, ports, data, cookie and epmd, all under one temporary directory.

It disturbs no other node on this host and none disturbs it. Runs as any user.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

HOMES = ("/usr/lib/rabbitmq/bin", "/usr/local/sbin", "/usr/sbin", "/opt/rabbitmq/sbin")
START = 60.0


def rabbitmq_home() -> str | None:
    """Where RabbitMQ's own scripts are (Debian's in /usr/sbin insist on the user rabbitmq); None: not installed."""
    return next((home for home in HOMES if os.access(f"{home}/rabbitmq-server", os.X_OK)), None)


def free_ports(count: int) -> list[int]:
    """Ports nobody uses now, below the ephemeral range."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


class Rabbit:
    """One node. ``start`` and ``wait_ready`` it; ``remove`` it at the end."""

    def __init__(self, tls: bool = False) -> None:
        self.home = rabbitmq_home()
        self.directory = Path(tempfile.mkdtemp(prefix="rabbit-"))
        self.port, self.tls_port, self.dist_port, self.epmd_port = free_ports(4)
        self.node = f"t{os.getpid()}x{self.port}@localhost"
        self.tls = tls
        self.ca = str(self.directory / "ca.pem")
        self._server: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._prepare()

    def _prepare(self) -> None:
        for name in ("mnesia", "log"):
            (self.directory / name).mkdir()
        cookie = self.directory / ".erlang.cookie"
        cookie.write_text("".join(random.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=20)))
        cookie.chmod(0o400)
        (self.directory / "plugins").write_text("[].\n")
        lines = [
            f"listeners.tcp.local = 127.0.0.1:{self.port}",
            "loopback_users = none",
            "log.file.level = warning",
            "vm_memory_high_watermark.relative = 0.4",
            "disk_free_limit.absolute = 1MB",
        ]
        if self.tls:
            make_certificates(self.directory)
            lines += [
                f"listeners.ssl.local = 127.0.0.1:{self.tls_port}",
                f"ssl_options.cacertfile = {self.ca}",
                f"ssl_options.certfile = {self.directory / 'server.pem'}",
                f"ssl_options.keyfile = {self.directory / 'server.key'}",
                "ssl_options.verify = verify_none",
            ]
        (self.directory / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.directory / "advanced.config").write_text("[].\n")

    @property
    def environment(self) -> dict[str, str]:
        """For the server and for rabbitmqctl."""
        here = str(self.directory)
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LANG": "C.UTF-8",
            "HOME": here,
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": f"{here}/mnesia",
            "RABBITMQ_LOG_BASE": f"{here}/log",
            "RABBITMQ_CONFIG_FILE": f"{here}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{here}/advanced.config",
            "RABBITMQ_CONF_ENV_FILE": f"{here}/no-such-file",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{here}/plugins",
            "RABBITMQ_PID_FILE": f"{here}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def start(self) -> None:
        """Start the node; it is not ready yet."""
        if self._epmd is None:
            self._epmd = subprocess.Popen(
                ["epmd", "-address", "127.0.0.1", "-port", str(self.epmd_port)],
                env=self.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        with (self.directory / "output").open("ab") as output:
            self._server = subprocess.Popen(
                [f"{self.home}/rabbitmq-server"],
                env=self.environment,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        # Whoever kills the tests kills the node too: the guard's input ends with this process.
        self._guard = subprocess.Popen(
            [
                "sh",
                "-c",
                'read -r _; kill -9 "-$1" "$2" 2>/dev/null; rm -rf "$3"',
                "guard",
                str(self._server.pid),
                str(self._epmd.pid),
                str(self.directory),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _dismiss_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None and guard.stdin is not None:
            guard.kill()
            guard.wait(10)
            guard.stdin.close()

    def wait_ready(self) -> None:
        """Return when it takes connections; AssertionError with its output after a minute."""
        until = time.monotonic() + START
        while time.monotonic() < until:
            if self._server is None or self._server.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.1)
        raise AssertionError(
            "RabbitMQ did not start:\n" + (self.directory / "output").read_text("utf-8", "replace")[-3000:]
        )

    def _answers(self) -> bool:
        """A broker that is up answers a wrong protocol header with its own."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.settimeout(2)
                probe.sendall(b"AMQP\x09\x09\x09\x09")
                return probe.recv(8).startswith(b"AMQP")
        except OSError:
            return False

    def ctl(self, *arguments: str) -> str:
        """rabbitmqctl; its output. AssertionError if it fails. Takes a second or two."""
        done = subprocess.run(
            [f"{self.home}/rabbitmqctl", "-q", *arguments],
            env=self.environment,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"rabbitmqctl {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def eval(self, expression: str) -> str:
        """An Erlang expression, inside the node."""
        return self.ctl("eval", expression)

    def kill9(self) -> None:
        """The whole server, at once."""
        self._dismiss_guard()
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait(10)
            self._server = None

    def stop(self) -> None:
        """End it in order, by force after ten seconds."""
        if self._server is not None:
            try:
                os.killpg(self._server.pid, signal.SIGTERM)
                self._server.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
            self.kill9()

    def remove(self) -> None:
        """Nothing stays."""
        self.kill9()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait(10)
        shutil.rmtree(self.directory, ignore_errors=True)

    def url(
        self, user: str = "guest", password: str = "guest", vhost: str = "/", tls: bool = False, host: str = ""
    ) -> str:
        """Its address."""
        scheme, port = ("amqps", self.tls_port) if tls else ("amqp", self.port)
        where = host or ("localhost" if tls else "127.0.0.1")
        return f"{scheme}://{quote(user, '')}:{quote(password, '')}@{where}:{port}/{quote(vhost, '')}"


def make_certificates(directory: Path) -> None:
    """A CA (ca.pem) and a certificate of it for ``localhost`` only (server.pem, server.key)."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, issuer: str, key: Any, signer: Any, ca: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    (directory / "ca.pem").write_bytes(certificate("Test CA", "Test CA", ca_key, ca_key, True))
    (directory / "server.pem").write_bytes(certificate("localhost", "Test CA", key, ca_key, False))
    (directory / "server.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
