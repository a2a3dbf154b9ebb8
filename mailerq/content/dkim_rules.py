"""Which keys sign whose mail: the section ``dkim`` of the configuration. Key files are read here, once.

What reading a key needs is imported where there is one: most configurations have none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from mailerq.content.dkim_key import LONGEST, SigningKey, read_key
from mailerq.patterns import is_regex, trouble
from mailerq.shapes import Read, each_entry, items, scalar, switch, text, time, word, wrong
from mailerq.yaml_source import Entry, Node, Problem, Table, Wrong, quoted

WAYS = ("relaxed/simple", "relaxed/relaxed", "simple/simple", "simple/relaxed", "relaxed", "simple")


@attrs.frozen(kw_only=True)
class DkimRule:
    """One entry. ``domain``: whose mail, by the domain in From: a name, a pattern of the shell or ``/…/``.
    ``signing_domain``: what ``d=`` says, None: the domain in From. ``expire``: seconds that a signature holds, None:
    for ever. ``key_file``: where the key was read, if it was."""

    domain: str
    selector: str
    key: SigningKey
    key_file: str | None = None
    signing_domain: str | None = None
    expire: float | None = None
    headers: tuple[str, ...] = ()
    canonicalization: str = "relaxed/simple"
    priority: int = 0
    protocols: tuple[str, ...] = ("dkim",)
    report: bool = False
    line: int = attrs.field(default=0, eq=False)


def _whose(node: Node) -> str:
    given = text(node)
    if is_regex(given):
        if what := trouble(given):
            raise wrong(node, what)
        return given
    given = given.lower().rstrip(".")
    if any(sign in given for sign in "*?["):
        return given
    return _name(node)


def _name(node: Node) -> str:
    from mailerq.properties import is_dns_name
    from mailerq.smtp.address import a_label

    given = text(node).rstrip(".")
    if not is_dns_name(given):
        raise wrong(node, f"{quoted(given)} is no name in DNS")
    return given.lower() if given.isascii() else a_label(given)


def _key(node: Node) -> SigningKey:
    return _read(node, scalar(node).text)


def _key_file(node: Node) -> tuple[str, SigningKey]:
    path = text(node)
    try:
        with Path(path).open("rb") as file:
            content = file.read(LONGEST + 1)
    except (OSError, ValueError) as error:
        raise wrong(node, f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return path, _read(node, content.decode("utf-8", "replace"), f"what is in {path} ")


def _read(node: Node, given: str, before: str = "") -> SigningKey:
    try:
        return read_key(given)
    except ValueError as error:
        raise wrong(node, f"{before}{error}") from None


def _header(node: Node) -> str:
    from mailerq.content.dkim_signing import signable
    from mailerq.properties import FIELD_NAME

    given = text(node)
    if not FIELD_NAME.fullmatch(given):
        raise wrong(node, f"{quoted(given)} is no name of a header field")
    if not signable(given):
        raise wrong(node, f"{given} cannot be signed: it changes on the way")
    return given.lower()


def _priority(node: Node) -> int:
    given = scalar(node).text.strip()
    if not re.fullmatch("-?[0-9]{1,9}", given, re.ASCII):
        raise wrong(node, f"{quoted(given)} is no whole number")
    return int(given)


READ: dict[str, Read] = {
    "domain": _whose,
    "selector": _name,
    "key": _key,
    "key-file": _key_file,
    "signing-domain": _name,
    "expire": time(),
    "headers": items(_header, single=True),
    "canonicalization": word(*WAYS),
    "priority": _priority,
    "protocols": items(word("dkim", "arc"), single=True),
    "report": switch,
}
KEYS = tuple(READ)


def dkim_rule(node: Node) -> DkimRule:
    """An entry of ``dkim``."""
    if not isinstance(node, Table):
        raise wrong(node, "must be a mapping, as in {domain: example.org, selector: s1, key-file: /etc/mailerq/s1.pem}")
    values: dict[str, Any] = {}

    def read(name: str, entry: Entry) -> None:
        value = READ[name](entry.node)
        if name == "key-file":
            values["key_file"], values["key"] = value
        else:
            values[name.replace("-", "_")] = value

    problems = each_entry(node, KEYS, read, "cannot be null (leave it out)")
    problems += [Problem(node.mark, name, "is missing") for name in ("domain", "selector") if name not in node.entries]
    given = [name for name in ("key", "key-file") if name in node.entries]
    if not given:
        problems.append(Problem(node.mark, "key", "is missing (or key-file)"))
    elif len(given) > 1:
        problems.append(Problem(node.entries["key-file"].mark, "key-file", "there is a key as well: one is needed"))
    if not problems:
        problems = _contradictions(node, values)
    if problems:
        raise Wrong(problems)
    return DkimRule(line=node.mark.line, **values)


def _contradictions(node: Table, values: dict[str, Any]) -> list[Problem]:
    protocols = values.get("protocols")
    if protocols == ():
        return [Problem(node.entries["protocols"].mark, "protocols", "names none")]
    if protocols and "arc" in protocols and values["key"].kind != "rsa":
        return [Problem(node.entries["protocols"].mark, "protocols", "ARC needs an RSA key")]
    return []


def open_key_files(rules: Iterable[DkimRule]) -> list[str]:
    """The key files that everybody on this machine can read."""
    found = []
    for path in dict.fromkeys(rule.key_file for rule in rules if rule.key_file):
        try:
            if os.stat(path).st_mode & 0o004:
                found.append(path)
        except OSError:
            continue
    return found
