"""A played MongoDB: the wire protocol (OP_MSG, and OP_QUERY for the greeting), and of the commands those few that the
store uses, with the limits of the real one. It shows that we speak the protocol and mean the right things; what a real
server does beyond that, it cannot show.

The protocol: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from typing import Any

import bson
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
LARGEST = 16 << 20
_CODEC: Any = bson.CodecOptions(tz_aware=True)
Document = dict[str, Any]


class Refusal(Exception):
    """A command that fails: code and message."""


class PlayedMongo:
    """``documents``: by collection, then by encoded ``_id``. ``listen`` on a port; ``deaf``: takes commands and says
    nothing. ``refusal``: what each command but the greeting is answered with. ``commands``: what was asked, in order.
    ``lose``: the connection is closed, this many times, after a command was carried out, before it is answered."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[bytes, Document]] = {}
        self.commands: list[Document] = []
        self.indexes: list[Document] = []
        self.deaf = False
        self.lose = 0
        self.refusal: Refusal | None = None
        self.password: str | None = None  # of the user mailerq, who then has to say it
        self.port = 0
        self.tls: Any = None
        self._listening: Any = None
        self.lines: set[_Line] = set()

    def listen(self) -> None:
        """The first time on a free port, then on the same one."""
        factory = Factory()
        factory.buildProtocol = lambda _: _Line(self)  # type: ignore[method-assign]
        at: Any = reactor
        if self.tls is None:
            self._listening = at.listenTCP(self.port, factory, interface="127.0.0.1")
        else:
            self._listening = at.listenSSL(self.port, factory, self.tls, interface="127.0.0.1")
        self.port = self._listening.getHost().port

    async def close(self) -> None:
        """As if killed."""
        listening, self._listening = self._listening, None
        if listening is not None:
            await listening.stopListening()
        for line in list(self.lines):
            line.transport.abortConnection()

    def answer(self, command: Document, line: _Line) -> Document:
        """What a command gives."""
        name = next(iter(command))
        if name.lower() in ("ismaster", "hello"):
            return {
                "ok": 1.0,
                "ismaster": True,
                "maxBsonObjectSize": LARGEST,
                "maxWireVersion": 21,
                "minWireVersion": 0,
            }
        if name.startswith("sasl"):
            return line.sasl(command)
        self.commands.append(command)
        try:
            if self.refusal is not None:
                raise self.refusal
            if self.password is not None and not line.known:
                raise Refusal(13, f"command {name} requires authentication")
            action = getattr(self, f"do_{name}", None)
            if action is None:
                raise Refusal(59, f"no such command: '{name}'")
            return {**action(self.documents.setdefault(str(command[name]), {}), command), "ok": 1.0}
        except Refusal as refusal:
            code, text = refusal.args
            return {"ok": 0.0, "code": code, "codeName": "Refused", "errmsg": text}

    def do_find(self, documents: dict[bytes, Document], command: Document) -> Document:
        """One batch of at most 16 MiB, as ``singleBatch`` says."""
        found, size = [], 0
        for document in _matching(documents, command.get("filter", {}))[: command.get("limit") or None]:
            shown = _shown(document, command.get("projection"))
            size += len(bson.encode(shown, codec_options=_CODEC))
            if found and size > LARGEST:
                break
            found.append(shown)
        return {"cursor": {"id": 0, "ns": "played", "firstBatch": found}}

    def do_update(self, documents: dict[bytes, Document], command: Document) -> Document:
        """Whole documents only."""
        count, made = 0, []
        for index, update in enumerate(command["updates"]):
            new = update["u"]
            assert not any(name.startswith("$") for name in new)
            if len(bson.encode(new, codec_options=_CODEC)) > LARGEST:
                raise Refusal(10334, "BSONObj size is invalid: Size must be between 0 and 16793600(16MB)")
            there = _matching(documents, update["q"])
            count += 1
            if not there and not update.get("upsert"):
                count -= 1
                continue
            if not there:
                made.append({"index": index, "_id": new["_id"]})
            documents[_name(new["_id"])] = new
        return {"n": count, "nModified": count - len(made), **({"upserted": made} if made else {})}

    def do_findAndModify(self, documents: dict[bytes, Document], command: Document) -> Document:
        """Replaces or removes one; gives what was there."""
        there = _matching(documents, command["query"])[:1]
        if command.get("remove"):
            self.do_delete(documents, {"deletes": [{"q": command["query"], "limit": 1}]})
        else:
            self.do_update(documents, {"updates": [{"q": command["query"], "u": command["update"], "upsert": True}]})
        return {"value": _shown(there[0], command.get("fields")) if there else None}

    def do_delete(self, documents: dict[bytes, Document], command: Document) -> Document:
        """One, or all."""
        count = 0
        for delete in command["deletes"]:
            for document in _matching(documents, delete["q"])[: delete["limit"] or None]:
                del documents[_name(document["_id"])]
                count += 1
        return {"n": count}

    def do_createIndexes(self, documents: dict[bytes, Document], command: Document) -> Document:
        """It is noted."""
        self.indexes += command["indexes"]
        return {"numIndexesAfter": len(self.indexes) + 1}


def _name(value: Any) -> bytes:
    return bson.encode({"": value}, codec_options=_CODEC)


def _shown(document: Document, fields: Any) -> Document:
    return document if fields is None else {name: document[name] for name in fields if name in document}


def _matching(documents: dict[bytes, Document], which: Document) -> list[Document]:
    exact = which.get("_id")
    if exact is not None and not (isinstance(exact, dict) and next(iter(exact)).startswith("$")):
        there = documents.get(_name(exact))
        candidates = [there] if there is not None else []
    else:
        candidates = list(documents.values())
    return [one for one in candidates if all(_fits(one, name, wanted) for name, wanted in which.items())]


def _fits(document: Document, name: str, wanted: Any) -> bool:
    value = document.get(name)
    if not (isinstance(wanted, dict) and next(iter(wanted)).startswith("$")):
        return bool(_name(value) == _name(wanted))
    for operator, operand in wanted.items():
        if operator == "$in" and _name(value) not in {_name(one) for one in operand}:
            return False
        if operator == "$exists" and (name in document) is not operand:
            return False
        if operator == "$lte" and not (type(value) is type(operand) and value <= operand):  # types are not mixed
            return False
        if operator not in ("$in", "$exists", "$lte"):
            raise Refusal(2, f"unknown operator: {operator}")
    return True


class _Line(Protocol):
    """One connection."""

    transport: Any

    def __init__(self, mongo: PlayedMongo) -> None:
        self._mongo = mongo
        self._rest = bytearray()
        self._said: list[bytes] = []  # of the talk about who it is
        self.known = False
        mongo.lines.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Called by Twisted."""
        self._rest += data
        while len(self._rest) >= 4:
            (size,) = struct.unpack_from("<i", self._rest)
            if len(self._rest) < size:
                return
            message = bytes(self._rest[:size])
            del self._rest[:size]
            self._take(message)

    def connectionLost(self, reason: Any = None) -> None:
        """Called by Twisted."""
        self._mongo.lines.discard(self)

    def sasl(self, command: Document) -> Document:
        """SCRAM-SHA-1, RFC 5802, section 3; the password is hashed first, as MongoDB wants it."""
        said = bytes(command["payload"])
        if "saslStart" in command:
            first = said.removeprefix(b"n,,")
            nonce = first.partition(b",r=")[2] + b"played"
            self._said = [first, b"r=" + nonce + b",s=" + base64.b64encode(b"salt") + b",i=4096"]
            return {"conversationId": 1, "payload": self._said[1], "done": False, "ok": 1.0}
        if not said:
            return {"conversationId": 1, "payload": b"", "done": True, "ok": 1.0}
        bare, _, proof = said.rpartition(b",p=")
        digest = hashlib.md5(f"mailerq:mongo:{self._mongo.password}".encode()).hexdigest().encode()
        salted = hashlib.pbkdf2_hmac("sha1", digest, b"salt", 4096)
        talk = b",".join([*self._said, bare])
        client = hmac.digest(salted, b"Client Key", "sha1")
        signature = hmac.digest(hashlib.sha1(client).digest(), talk, "sha1")
        if bytes(a ^ b for a, b in zip(client, signature, strict=True)) != base64.b64decode(proof):
            return {"ok": 0.0, "code": 18, "codeName": "AuthenticationFailed", "errmsg": "Authentication failed."}
        self.known = True
        server = hmac.digest(hmac.digest(salted, b"Server Key", "sha1"), talk, "sha1")
        return {"conversationId": 1, "payload": b"v=" + base64.b64encode(server), "done": False, "ok": 1.0}

    def _take(self, message: bytes) -> None:
        _, request, _, code = struct.unpack_from("<iiii", message)
        query = code == OP_QUERY
        command = _query(message) if query else _command(message)
        if query and "ismaster" not in command:
            reply: Document = {"ok": 0.0, "code": 352, "errmsg": "Unsupported OP_QUERY command"}
        else:
            reply = self._mongo.answer(command, self)
        if self._mongo.deaf:
            return
        if self._mongo.lose and not query:
            self._mongo.lose -= 1
            self.transport.abortConnection()
            return
        document = bson.encode(reply, codec_options=_CODEC)
        body = struct.pack("<iqii", 8, 0, 0, 1) + document if query else b"\0\0\0\0\0" + document
        header = struct.pack("<iiii", 16 + len(body), 0, request, OP_REPLY if query else OP_MSG)
        self.transport.write(header + body)


def _query(message: bytes) -> Document:
    end = message.index(b"\0", 20)
    return bson.decode(message[end + 9 :], codec_options=_CODEC)


def _command(message: bytes) -> Document:
    """The section with the command, and those with documents beside it."""
    at, command, beside = 20, {}, {}
    while at < len(message):
        kind, at = message[at], at + 1
        (size,) = struct.unpack_from("<i", message, at)
        if kind == 0:
            command = bson.decode(message[at : at + size], codec_options=_CODEC)
        else:
            name_end = message.index(b"\0", at + 4)
            beside[message[at + 4 : name_end].decode()] = bson.decode_all(message[name_end + 1 : at + size], _CODEC)
        at += size
    return {**command, **beside}
