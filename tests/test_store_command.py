"""``mailerq store``: bodies by key, put and got from outside."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.test_cli import ROOT, Command

BODY = b"Subject: \xff\x00 any bytes\r\n\r\nand no line end"


class Store(Command):
    """With each kind of store on this machine."""

    def heads(self) -> list[dict[str, object]]:
        """What the files in the directory say of themselves."""
        files = (self.place / "var" / "bodies").glob("*/*")
        return [json.loads(file.read_bytes().partition(b"\n")[0]) for file in files]

    def test_round(self) -> None:
        """What was put is printed byte for byte; removed, it is not found, and may be removed again."""
        for store in ("directory:var/bodies", "sqlite:var/bodies.db", "{address: 'sqlite:b.db', compress: gzip}"):
            self.configure(f"store: {store}\n")
            body = BODY * 100
            self.assertEqual(self.good("store", "put", "a/b ü", stdin=body), b"")
            self.assertEqual(self.good("store", "get", "a/b ü"), body)
            self.assertEqual(self.good("store", "remove", "a/b ü"), b"")
            self.assertEqual(self.bad("store", "get", "a/b ü"), "mailerq: nothing is found by the key 'a/b ü'\n")
            self.good("store", "remove", "a/b ü")

    def test_ttl(self) -> None:
        """--ttl says how long it is kept; without it that is the longest time of a mail and the store's ttl."""
        self.configure("store: {address: 'directory:var/bodies', ttl: 2d}\ndelivery: {max-delivery-time: 1d}\n")
        self.good("store", "put", "for ever", "--ttl", "never", stdin=BODY)
        self.good("store", "put", "an hour", "--ttl", "1h", stdin=BODY)
        self.good("store", "put", "as usual", stdin=BODY)
        expires = {str(head["key"]): head.get("expires") for head in self.heads()}
        self.assertIsNone(expires["for ever"])
        self.assertLess(abs(float(str(expires["an hour"])) - time.time() - 3600), 60)
        self.assertLess(abs(float(str(expires["as usual"])) - time.time() - 3 * 86400), 60)

    def test_no_store(self) -> None:
        """Without a store that is said in one line."""
        expected = "mailerq: there is no message store: the configuration has no `store`\n"
        self.assertEqual(self.bad("store", "get", "key"), expected)

    def test_down(self) -> None:
        """A store that cannot be used is said in one line."""
        (self.place / "file").touch()
        self.configure("store: directory:file/bodies\n")
        for action in ("put", "get", "remove"):
            errors = self.bad("store", action, "key")
            self.assertEqual(len(errors.splitlines()), 1, errors)
            self.assertIn("directory:file/bodies: Not a directory", errors)

    def test_cannot_be_unpacked(self) -> None:
        """So is a body that is damaged."""
        self.configure("store: directory:var/bodies\n")
        self.good("store", "put", "key", stdin=BODY)
        (file,) = (self.place / "var" / "bodies").glob("*/*")
        file.write_bytes(b'{"key": "key", "size": 20}\n' + gzip.compress(BODY)[:20])
        self.assertIn("damaged", self.bad("store", "get", "key"))

    def test_wrong_calls(self) -> None:
        """What is called wrongly is said."""
        self.configure("store: directory:var/bodies\n")
        self.assertIn("required: ACTION", self.bad("store", status=2))
        self.assertIn("the key is empty", self.bad("store", "get", "", status=2))
        self.assertIn("more than nothing", self.bad("store", "put", "key", "--ttl", "0s", status=2))
        self.assertIn("is no time", self.bad("store", "put", "key", "--ttl", "soon", status=2))
        self.assertIn("no UTF-8", self.bad("store", "get", os.fsdecode(b"\xff"), status=2))
        self.good("store", "put", "-c", "etc/mailerq.yaml", "--", "-key", stdin=BODY)
        self.assertEqual(self.good("store", "-c", "etc/mailerq.yaml", "get", "--", "-key"), BODY)

    def test_documentation(self) -> None:
        """The commands of docs/content.md do what it says."""
        section = (ROOT / "docs" / "content.md").read_text().partition("## Bodies by key")[2].partition("\n## ")[0]
        fences = re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)
        (first, *_), texts = ([body for kind, body in fences if kind == fence] for fence in ("yaml", "text"))
        self.configure(first)
        (self.place / "may-news.eml").write_bytes(BODY)
        mailerq = self.place / "mailerq"
        mailerq.write_text(f'#!/bin/sh\nexec {sys.executable} -m mailerq "$@"\n')
        mailerq.chmod(0o700)
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{self.place}:{os.environ['PATH']}"}
        lines = [line.removeprefix("$ ") for text in texts for line in text.splitlines() if line.startswith("$ ")]
        lines.sort(key=lambda line: line == "mailerq store remove may-news")  # at the end
        script = "set -e\n" + "\n".join(lines)
        done = subprocess.run(["sh", "-c", script], cwd=self.place, env=environ, capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""), done)
        self.assertIn(BODY, done.stdout)
        self.assertIn(b'\n{"key": "may-news"', done.stdout.replace(BODY, b"\n"))
        self.assertEqual(self.heads(), [])
        self.assertIn(b'"key": "may-news"', self.good("consume", "outbox"))


class Permissions(Command):
    """Bodies are for their user alone."""

    def test_modes(self) -> None:
        """Directories are 0700, files 0600, whatever the umask."""
        self.addCleanup(os.umask, os.umask(0))
        for store in ("directory:var/bodies", "sqlite:db/bodies.db"):
            self.configure(f"store: {store}\n")
            self.good("store", "put", "key", stdin=BODY)
        for top in (self.place / "var" / "bodies", self.place / "db"):
            for path in [top, *top.rglob("*")]:
                self.assertEqual(oct(path.stat().st_mode & 0o777), "0o700" if path.is_dir() else "0o600", str(path))
        self.assertTrue(Path(self.place / "db" / "bodies.db").exists())
