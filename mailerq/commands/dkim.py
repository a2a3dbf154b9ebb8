"""Keys that sign mail: make one, with the record for DNS and the lines for the configuration; or look whether DNS has
the records of those that are configured."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator
from typing import Any

from mailerq.commands import Failed
from mailerq.commands.dns_questions import DnsQuestions, Unanswered

NEEDS_SETTINGS = False  # to make a key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``new DOMAIN`` and ``check [DOMAIN]``."""
    what = parser.add_subparsers(dest="what", required=True, metavar="new|check")
    new = what.add_parser("new", help="make a key, and say what belongs into DNS and the configuration")
    new.add_argument("domain", metavar="DOMAIN", type=_name, help="the domain that signs")
    new.add_argument("--selector", metavar="S", type=_name, default="mailerq", help="default: mailerq")
    new.add_argument("--type", choices=("rsa", "ed25519"), default="rsa", help="default: rsa, which everybody verifies")
    new.add_argument("--bits", type=int, choices=(1024, 2048, 3072, 4096), default=2048, help="of RSA; default: 2048")
    new.add_argument("--out", metavar="FILE", help="where the key goes (default: SELECTOR.DOMAIN.pem)")
    check = what.add_parser("check", help="ask DNS whether it has the public half of each configured key")
    check.add_argument(
        "domain", metavar="DOMAIN", type=_name, nargs="?", help="only the keys for mail from this domain"
    )
    for one in (new, check):
        one.add_argument("-c", "--config", metavar="FILE", default=argparse.SUPPRESS, help="the configuration")


def _name(text: str) -> str:
    from mailerq.properties import is_dns_name
    from mailerq.smtp.address import a_label

    name = text.rstrip(".")
    if not is_dns_name(name):
        raise argparse.ArgumentTypeError(f"{text!r} is no name in DNS")
    return name.lower() if name.isascii() else a_label(name)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    if arguments.what == "new":
        return _new(arguments)
    from mailerq.cli import find_config
    from mailerq.settings import load

    return _check(load(find_config(arguments.config)), arguments.domain)


def _new(arguments: argparse.Namespace) -> int:
    from mailerq.content.dkim_key import new_key
    from mailerq.content.dkim_record import zone_line

    domain, selector = arguments.domain, arguments.selector
    path = os.path.abspath(arguments.out or f"{selector}.{domain}.pem")
    pem, key = new_key(arguments.type, arguments.bits)
    with _fresh(path) as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    print(f"The key is in {path}; only you can read it.\n")
    print("For DNS:\n")
    print(zone_line(f"{selector}._domainkey.{domain}", key.record))
    print("\nFor the configuration:\n")
    print(f"dkim:\n  - {{domain: {domain}, selector: {_yaml(selector)}, key-file: {_yaml(path)}}}")
    print("\nWhen the record is in DNS: mailerq dkim check")
    return 0


def _fresh(path: str) -> Any:
    """A file that was not there, for its owner alone."""
    try:
        return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii")
    except FileExistsError:
        raise Failed(f"{path} is there already, and is not overwritten") from None
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror}") from None


def _yaml(text: str) -> str:
    """``text`` so that YAML takes it for a text."""
    return text if re.fullmatch(r"[A-Za-z/][A-Za-z0-9/._-]*", text) and len(text) > 3 else json.dumps(text)


def _check(settings: Any, domain: str | None) -> int:
    from mailerq.content.dkim_keyring import Keyring
    from mailerq.content.dkim_rules import open_key_files

    rules = settings.dkim if domain is None else Keyring(settings.dkim).rules_for(domain)
    if not rules:
        whose = f"for mail from {domain}" if domain else "in the configuration"
        raise Failed(f"{settings.source}: there is no key {whose}")
    for path in open_key_files(rules):
        print(f"note: everybody on this machine can read {path}: chmod o-r {path}")
    right = True
    for agrees, line in _judged(settings, rules, domain):
        print(f"{settings.source}:{line}", flush=True)
        right = right and agrees
    return 0 if right else 1


def _judged(settings: Any, rules: Any, domain: str | None) -> Iterator[tuple[bool, str]]:
    """For each key whether DNS agrees, and a line that says so."""
    from mailerq.content.dkim_record import disagreement, remarks

    ask = _asker(settings.dns)
    for rule in rules:
        whose = rule.signing_domain or domain or rule.domain
        if any(sign in whose for sign in "*?[/"):
            yield True, f"{rule.line}: {whose} is a pattern: say of which domain, mailerq dkim check DOMAIN"
            continue
        name = f"{rule.selector}._domainkey.{whose}"
        records, why = ask(name)
        why = why or disagreement(records, rule.key)
        if why:
            yield False, f"{rule.line}: {name}: {why}"
            continue
        remark = remarks(records)
        yield True, f"{rule.line}: {name}: agrees ({rule.key.kind}, {rule.key.bits} bits){'; ' * bool(remark)}{remark}"


def _asker(settings: Any) -> Any:
    """A function that gives the TXT records of a name, and why there is no answer."""
    questions = DnsQuestions(settings)

    def ask(name: str) -> tuple[list[bytes], str]:
        try:
            return [b"".join(record.strings) for record in questions.ask(name, "TXT")], ""
        except Unanswered as why:
            return [], f"DNS has no answer: {why}"

    return ask
