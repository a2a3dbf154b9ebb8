"""A root of its own for a program of the distribution: its own ``/etc``, ``/var``, ``/run``, ``/dev``; the system's
``/usr``, with the files of the program's package laid over it, for reading only.

Mounted in a mount namespace of its own, so the system sees nothing of it, and it is gone with the last process. The
program finds its files where its package puts them, whatever is installed on this system. Needs root.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.compare.accounting import Group
from benchmarks.compare.messages import address, domain
from benchmarks.compare.packages import Missing, unpack

_ENTER = """
set -e
root=$1 files=$2; shift 2
if [ -d "$files/usr" ]
then mount -t overlay -o "ro,lowerdir=$files/usr:/usr" overlay "$root/usr"
else mount --bind /usr "$root/usr"; mount -o remount,bind,ro "$root/usr"
fi
mount --bind /proc "$root/proc"
for one in null zero random urandom; do mount --bind "/dev/$one" "$root/dev/$one"; done
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin LC_ALL=C "$@"
"""
_HOST_FILES = ("ld.so.cache", "services", "localtime")
_FIRST_ID = 60650  # neither Debian's users nor systemd's
PATIENCE = 60.0


class Box:
    """The root. ``users``: the users and groups that the program looks for; a name that this system knows keeps its
    number, others get one that nobody has here."""

    def __init__(self, folder: Path, package: str, users: Sequence[str], domains: int = 0) -> None:
        if os.getuid():
            raise Missing(f"{package} needs root")
        if shutil.which("unshare") is None:
            raise Missing(f"{package} needs unshare (package util-linux)")
        self.root, self.files = folder / "root", folder / "files"
        self.version = unpack(package, self.files)
        self._make_places()
        free = _free_ids(len(users))
        self.users = {name: _user(name, number) for name, number in zip(users, free, strict=True)}
        self.groups = {name: _group(name, number) for name, number in zip(users, free, strict=True)}
        self._make_etc(domains)
        self.call([self.path("true")])

    def path(self, program: str) -> str:
        """Where a program is, inside; Missing if nowhere."""
        for folder in ("usr/sbin", "usr/bin", "usr/lib/postfix/sbin"):
            if (self.files / folder / program).exists() or Path("/", folder, program).exists():
                return f"/{folder}/{program}"
        raise Missing(f"there is no {program}")

    def _make_places(self) -> None:
        for name in ("usr", "etc", "var", "run", "dev", "proc", "tmp", "var/log", "var/spool", "var/lib"):
            (self.root / name).mkdir(parents=True, mode=0o755)
        (self.root / "var/run").symlink_to("/run")
        (self.root / "tmp").chmod(0o1777)
        for name in ("bin", "sbin", "lib", "lib32", "lib64"):
            (self.root / name).symlink_to(f"usr/{name}")
        for name in ("null", "zero", "random", "urandom"):
            (self.root / "dev" / name).touch()

    def _make_etc(self, domains: int) -> None:
        etc = self.root / "etc"
        for name in _HOST_FILES:
            if Path("/etc", name).exists():
                shutil.copyfile(Path("/etc", name), etc / name)
        ids = [(name, self.users[name], self.groups[name]) for name in self.users]
        ids += [("root", 0, 0), ("nobody", 65534, 65534)]
        users = [f"{name}:x:{user}:{group}::/var/lib/empty:/usr/sbin/nologin" for name, user, group in ids]
        self.write("etc/passwd", *users)
        self.write("etc/group", *(f"{name}:x:{group}:" for name, _, group in ids), "nogroup:x:65534:")
        hosts = [f"{address(number)} mx.{domain(number)}" for number in range(domains)]
        self.write("etc/hosts", "127.0.0.1 localhost bench.example", *hosts)
        self.write("etc/nsswitch.conf", "passwd: files", "group: files", "services: files", "hosts: files")
        self.write("etc/resolv.conf", "nameserver 127.0.0.1", "lookup file")
        self.write("etc/mailname", "bench.example")
        (self.root / "var/lib/empty").mkdir()

    def write(self, path: str, *lines: str) -> None:
        """A file inside, readable by all."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("\n".join(lines) + "\n")
        place.chmod(0o644)

    def folder(self, path: str, user: str = "root", group: str = "", mode: int = 0o755) -> Path:
        """A folder inside, made if it is missing; where it is outside."""
        place = self.root / path
        place.mkdir(parents=True, exist_ok=True)
        os.chown(place, self.users.get(user, 0), self.groups.get(group or user, 0))
        place.chmod(mode)
        return place

    def inside(self, command: list[str]) -> list[str]:
        """The command line that runs ``command`` inside."""
        enter = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", _ENTER, "box"]
        return [*enter, str(self.root), str(self.files), *command]

    def call(self, command: list[str], group: Group | None = None) -> str:
        """Run it to its end; what it says. Missing if it fails."""
        full = self.inside(command)
        full = group.command(full) if group is not None else full
        done = subprocess.run(full, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise Missing(f"{' '.join(command)}: {said[-1] if said else f'status {done.returncode}'}")
        return done.stdout


def _user(name: str, otherwise: int) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return otherwise


def _group(name: str, otherwise: int) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return otherwise


def _free_ids(count: int) -> list[int]:
    used = {user.pw_uid for user in pwd.getpwall()} | {group.gr_gid for group in grp.getgrall()}
    return [number for number in range(_FIRST_ID, _FIRST_ID + count + len(used)) if number not in used][:count]
