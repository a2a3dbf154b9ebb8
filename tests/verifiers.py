"""Others who verify signatures: dkimpy in this process; OpenDKIM and Mail::DKIM of the distribution where they are.

zone = Zone(); zone.publish("s1", "example.org", key)
zone.dkim(message)            # of each DKIM-Signature, from the top, whether it is right
zone.arc(message)             # "pass", "fail" or "none"
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import dkim

from mailerq.content.dkim_key import SigningKey, new_key

_PERL = r"""
use strict; no warnings;
use Mail::DKIM::Verifier; use Mail::DKIM::ARC::Verifier; use Mail::DKIM::DNS;
my ($zone, $file) = @ARGV;
my %zone;
open(my $lines, '<', $zone);
while (<$lines>) { chomp; my ($name, $record) = split / /, $_, 2; $zone{$name} = $record; }
package Record;
sub new { bless { t => $_[1] } } sub type { 'TXT' } sub char_str_list { $_[0]{t} } sub txtdata { $_[0]{t} }
package main;
*Mail::DKIM::DNS::query_async = sub {
    my ($name, $type, %p) = @_;
    my $got = $p{Callbacks}{Success}->(exists $zone{$name} ? Record->new($zone{$name}) : ());
    return sub { $got };
};
for my $kind ('Mail::DKIM::Verifier', 'Mail::DKIM::ARC::Verifier') {
    my $verifier = $kind->new();
    open(my $message, '<:raw', $file);
    while (<$message>) { $verifier->PRINT($_); }
    $verifier->CLOSE;
    print $verifier->result, "\n";
}
"""


@lru_cache
def rsa(number: int = 0) -> tuple[str, SigningKey]:
    """A key that all tests share: its PEM, and the key."""
    return new_key("rsa", 2048)


@lru_cache
def ed25519() -> tuple[str, SigningKey]:
    """The same of the other kind."""
    return new_key("ed25519", 0)


def opendkim() -> str | None:
    """Where it is."""
    return shutil.which("opendkim") or shutil.which("opendkim", path="/usr/sbin")


@lru_cache
def mail_dkim() -> bool:
    """Whether Perl has it."""
    perl = shutil.which("perl")
    if perl is None:
        return False
    return subprocess.run([perl, "-MMail::DKIM", "-e1"], capture_output=True, check=False).returncode == 0


class Zone:
    """The records that are published."""

    def __init__(self) -> None:
        self.records: dict[str, str] = {}
        logging.getLogger("dkimpy").disabled = True

    def publish(self, selector: str, domain: str, key: SigningKey) -> None:
        self.records[f"{selector}._domainkey.{domain}"] = key.record

    def txt(self, name: bytes, timeout: int = 5) -> bytes | None:
        record = self.records.get(name.decode().rstrip("."))
        return None if record is None else record.encode()

    def dkim(self, message: bytes) -> list[bool]:
        verifier = dkim.DKIM(message)
        count = sum(name.lower() == b"dkim-signature" for name, _ in verifier.headers)
        return [self._right(message, number) for number in range(count)]

    def _right(self, message: bytes, number: int) -> bool:
        try:
            return bool(dkim.DKIM(message).verify(number, dnsfunc=self.txt))
        except dkim.DKIMException:  # it says why
            return False

    def arc(self, message: bytes) -> str:
        state, _, _ = dkim.arc_verify(message, dnsfunc=self.txt)
        return "none" if state is None else state.decode()

    def write(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        path = folder / "zone"
        path.write_text("".join(f"{name} {record}\n" for name, record in self.records.items()))
        return path.resolve()

    def opendkim(self, message: bytes, folder: Path) -> bool:
        """Whether OpenDKIM finds a signature and finds it right."""
        program = opendkim()
        assert program is not None
        config, file = folder / "conf", folder / "message"
        zone = self.write(folder)
        config.write_text(f"Mode v\nTestPublicKeys {zone}\nSyslog no\n")
        file.write_bytes(message)
        done = subprocess.run([program, "-x", config, "-v", "-v", "-t", file], capture_output=True, check=False)
        said = done.stdout + done.stderr
        return b"succeeded" in said and b"failed" not in said

    def mail_dkim(self, message: bytes, folder: Path) -> list[str]:
        """What Mail::DKIM says of DKIM and ARC."""
        zone, file = self.write(folder), folder / "message"
        file.write_bytes(message)
        done = subprocess.run(["perl", "-e", _PERL, zone, file], capture_output=True, check=True, text=True)
        return done.stdout.split()
