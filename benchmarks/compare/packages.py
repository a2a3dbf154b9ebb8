"""Programs of the distribution, taken from their packages without installing them: Debian's mail servers exclude each
other as packages, and none of them is to be set up on this system."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

NETWORK = 120.0  # seconds for a download


class Missing(Exception):
    """A program cannot be had here. The text says why."""


def unpack(package: str, folder: Path) -> str:
    """Put the files of a package, and of those it needs that are not installed, below ``folder``; its version.

    Nothing is put there for an installed package: the system's own files are used. Missing if it cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if version := _installed(package):
        return version
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Missing(f"{package} is not installed, and there is no apt-get to fetch it with")
    archives = folder.with_name(f"{folder.name}-archives")
    archives.mkdir()
    try:
        version = _fetch(package, archives)
    except Missing:  # often the lists of packages are old, or there are none
        _run(["apt-get", "update", "-q"], archives)
        version = _fetch(package, archives)
    for name in ("bin", "sbin", "lib"):  # older packages know these as folders
        (folder / "usr" / name).mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(f"usr/{name}")
    for archive in sorted(archives.glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(archive), str(folder)], archives)
    shutil.rmtree(archives)
    return version


def _fetch(package: str, archives: Path) -> str:
    """Download it and what it needs; its version."""
    needed = _needed(package)
    _run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *needed], archives)
    return needed[package]


def _installed(package: str) -> str:
    """Its version; empty: it is not installed."""
    if shutil.which("dpkg-query") is None:
        return ""
    asked = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package]
    status, _, version = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.partition(" ")
    return version if status == "installed" else ""


def _needed(package: str) -> dict[str, str]:
    """Package → version: what apt would install, had it to; nothing is changed."""
    told = _run(["apt-get", "install", "-s", "-q", "--no-install-recommends", package], Path("/"))
    found = {}
    for line in told.splitlines():
        if line.startswith("Inst "):  # Inst name [old version] (new version …
            found[line.split()[1]] = line.partition("(")[2].split()[0]
    if package not in found:
        raise Missing(f"apt-get knows no way to install {package}")
    return found


def _run(command: list[str], folder: Path) -> str:
    environment = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=NETWORK, check=False
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"{' '.join(command)}: no end after {NETWORK:.0f} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Missing(f"{' '.join(command)}: {said[-1] if said else f'status {done.returncode}'}")
    return done.stdout
