"""Keys as a store can hold them: of any text, one that is short enough and has no character the store refuses."""

from __future__ import annotations

import hashlib

MARK = "mailerq~"
"""What keys begin with that are not the job's own; a job's own key that begins so is marked itself."""


def text_key(key: str, most: int) -> str:
    """``key`` itself where it is UTF-8 of at most ``most`` bytes without NUL, as nearly all are, so that other programs
    find and make bodies by the same key. Of others a digest: two keys never have the same."""
    raw = key.encode("utf-8", "surrogatepass")
    if len(raw) <= most and "\0" not in key and not key.startswith(MARK) and _is_text(key):
        return key
    return MARK + hashlib.sha256(raw).hexdigest()


def _is_text(key: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in key)


_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.@+=:,~!()'")


def path_key(key: str, most: int) -> str:
    """``key`` as a path of an object store: letters, digits and ``-_.@+=:,~!()'`` stand for themselves, as does ``/``
    between parts that are not empty, ``.`` or ``..``; every other byte is written ``%XX``. Two keys never have the
    same; a path over ``most`` bytes is a digest, too."""
    if not key.startswith(MARK):
        path = "/".join(_part(part) for part in key.split("/"))
        if key and len(path) <= most:
            return path
    return MARK + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _part(part: str) -> str:
    if part in ("", ".", ".."):
        return {"": "%", ".": "%2E", "..": "%2E%2E"}[part]
    if _PLAIN.issuperset(part):
        return part
    return "".join(
        char if char in _PLAIN else "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
        for char in part
    )
