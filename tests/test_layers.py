"""Pure files import nothing impure: they take the clock, the dice and the environment as arguments."""

import ast
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOM = Path(__file__).parent.parent / "mailerq"
PURE = [
    *("job", "attempt", "verdict", "retry", "route", "limits", "throttle", "site", "result", "reply"),
    *("budget", "lane", "moves", "hosts", "lately", "doubles", "journal_lines", "record", "waiting", "flows"),
    *("room", "paths", "census", "parking", "speed", "terms", "allowance", "responses"),
    *("worker", "workers/lines", "workers/messages", "workers/changes", "workers/memory", "workers/delay"),
    *("workers/merged", "admin/pausing"),
    *("response_rules", "bounce_classes", "patterns", "hints", "regex_cost"),
    *("settings", "limit_rules", "shapes", "units", "yaml_source"),
    *("queues/tables", "queues/methods", "queues/frames", "queues/frame_reader", "queues/prefetch"),
    *("queues/amqp_properties", "queues/delays"),
    *("smtp/wire", "smtp/reader", "smtp/tracker", "smtp/downgrade", "smtp/envelope", "smtp/address", "smtp/extensions"),
    *("smtp/auth", "responses_text", "explain", "explained", "explain_text"),
    *("commons", "sharing", "shared_counts"),
    "queues/beside",
    *("shares/__init__", "shares/division", "shares/parts", "shares/exchange", "shares/share", "shares/member"),
    *("content/personalise", "content/template_jinja", "content/template_syntax"),
    *("content/template_expressions", "content/template_tokens", "content/template_tree", "content/template_budget"),
    *("content/template_values", "content/template_modifiers", "content/template_patterns"),
    *("content/mime_texts", "content/mime_codes", "content/encoded_words", "content/address_fields"),
    *("window", "slowdown", "warmup", "schedule_rules", "pauses"),
    *("simulate/provider", "simulate/stream", "simulate/mix", "simulate/places", "simulate/remote", "simulate/dice"),
    *("simulate/traffic", "simulate/ledger", "simulate/recorder", "simulate/minutes", "simulate/wait_times"),
    *("dsn/asked", "dsn/xtext", "dsn/parameters", "dsn/notices", "dsn/report", "dsn/text"),
    *("dsn/statuses", "dsn/keys", "dsn/words", "dsn/described"),
    *("content/addresses", "content/web_address", "content/remembered", "content/download_rules"),
    *("content/headers", "content/header_changes", "content/ascii_value", "content/normalize"),
    *("stores/down", "stores/keys", "stores/remote", "stores/mongo_documents"),
    *("content/dkim_key", "content/dkim_signing", "content/dkim_keyring", "content/dkim_record"),
    *("content/arc", "content/author"),
    *("content/header_block", "content/members", "content/verp", "content/verp_rules"),
    *("content/list_headers", "content/list_header_rules"),
    *("lint/rule", "lint/parts", "lint/message", "lint/headers", "lint/lines", "lint/mime", "lint/html", "lint/lists"),
    *("lint/signatures", "lint/authentication", "lint/rules", "lint/report", "lint/records"),
    *(
        f"content/responsive/{name}"
        for name in (
            *("reading", "tags", "kinds", "urls", "rewriting", "block_shapes", "mailboxes", "description"),
            *("image_size", "videos", "social", "writing", "page", "blocks", "layout", "html", "plain_text"),
            *("words", "message", "compose"),
        )
    ),
    *("simulate/summary", "simulate/report", "simulate/svg", "simulate/drawing", "simulate/binding"),
]
IMPURE = (
    "random.",
    "socket.",
    "threading.",
    "twisted.internet.",
    "asyncio.",
    "subprocess.",
    "select.",
    "ssl.",
    "secrets.",
)
CLOCK = {
    "time",
    "sleep",
    "monotonic",
    "perf_counter",
    "localtime",
    "now",
    "utcnow",
    "today",
    "environ",
    "getenv",
    "urandom",
}
FILES = {"settings": "load reads the file it is given; the environment is its default argument"}


def found(name: str, tree: ast.AST) -> list[str]:
    """What makes a file impure, with its line."""
    impure = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            names = [f"{module}.{alias.name}".strip(".") for alias in node.names]
            bad = [full for full in names if full != "random.Random" and f"{full}.".startswith(IMPURE)]
            impure += [(node, full) for full in bad]
            impure += [
                (node, full) for full in names if full.startswith(("os.", "time.")) and full.split(".")[1] in CLOCK
            ]
            impure += [(node, full) for full in names if f"{full}.".startswith("os.") and name not in FILES]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in CLOCK:
            owner = node.value.id.strip("_")
            if owner in ("time", "datetime", "date") or (owner == "os" and name not in FILES):
                impure.append((node, f"{owner}.{node.attr}"))
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("open", "print", "input")
        ):
            impure.append((node, node.func.id))
    return [f"{name}.py:{node.lineno}: {what}" for node, what in impure]


class Layers(SynchronousTestCase):
    """The pure rooms of the house."""

    def test_pure_files(self) -> None:
        """No file that is said to be pure knows a clock, dice, a socket, the environment or the reactor."""
        paths = {name: ROOM / f"{name}.py" for name in PURE}
        there = {name: ast.parse(path.read_text()) for name, path in paths.items() if path.exists()}
        self.assertEqual([what for name, tree in there.items() for what in found(name, tree)], [])

    def test_impure_is_seen(self) -> None:
        """The test above would see these."""
        for line in (
            "import random",
            "from twisted.internet import reactor",
            "import twisted.internet.task",
            "import time\ntime.time()",
            "from time import monotonic",
            "import os",
            "from os import environ",
            "import datetime\ndatetime.now()",
            "open('x')",
            "import socket as s",
        ):
            self.assertTrue(found("job", ast.parse(line)), line)
        self.assertEqual(
            found("job", ast.parse("import time as _time\n_time.gmtime(3)\nfrom twisted.python import log")), []
        )
