"""What the configuration promises: names, defaults, errors."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailerq.settings import Broker, Settings, SettingsError, Smarthost, known_keys, load, parse

TOP = Path(__file__).parent.parent


def said(text: str, environ: Mapping[str, str] = {}) -> list[str]:
    """The errors of a configuration."""
    try:
        parse(text, "f", environ)
    except SettingsError as error:
        return error.errors
    return []


def good(text: str, environ: Mapping[str, str] = {}) -> Settings:
    return parse(text, "f", environ)


class Defaults(SynchronousTestCase):
    """Without a word."""

    def test_nothing_is_a_configuration(self) -> None:
        """No file, an empty one, one with comments, one with empty sections: all the same."""
        defaults = load(None)
        for text in ("", "# nothing", "---", "queues:\nlimits:\npools:\ndns: {hosts: }\n", "{}"):
            self.assertEqual(good(text), defaults, text)

    def test_sample_shows_the_defaults(self) -> None:
        """The sample loads, and what it shows are the defaults."""
        self.assertEqual(load(str(TOP / "etc" / "mailerq.yaml"), {}), load(None))

    def test_sample_comments_load(self) -> None:
        """What the sample shows in comments is right, too."""
        text = (TOP / "etc" / "mailerq.yaml").read_text()
        head, limits = text.split("\nlimits:\n")
        limits = re.sub(r"(?m)^  # ", "  ", limits).replace("pools: {} ", "pools: {transactional: [192.0.2.7]} ")
        rules = good("limits:\n" + limits).limits
        self.assertEqual([rule.mx for rule in rules], [None, None, "*.mail.example", None, None, "*.mail.example"])
        self.assertEqual(len(rules[1].values), 19)
        smarthost = re.search(r"(?m)^smarthost: null\n((?:#.*\n)+)", head)
        assert smarthost
        environ = {"SMARTHOST_USER": "u", "SMARTHOST_PASSWORD": "p"}
        read = good(smarthost[1].replace("# ", "", 1).replace("#  ", "  ").replace("\n# ", "\n"), environ).smarthost
        self.assertEqual(read, Smarthost("smtp.example.com", 587, "u", "p"))

    def test_documentation_has_every_key(self) -> None:
        """docs/configuration.md and the sample name every key that is known."""
        documentation = (TOP / "docs" / "configuration.md").read_text()
        sample = (TOP / "etc" / "mailerq.yaml").read_text()
        sections = ("smtp.timeouts", "log")
        for key in (key for key in known_keys() if key not in sections):
            self.assertTrue(f"`{key}`" in documentation or f"\n## {key}\n" in documentation, key)
            self.assertIn(key.rpartition(".")[2] + ":", sample, key)

    def test_documentation_knows_no_other_key(self) -> None:
        """What the tables of docs/configuration.md name as a key is one."""
        documentation = (TOP / "docs" / "configuration.md").read_text()
        for key in re.findall(r"(?m)^\| `([a-z]+\.[a-z.-]+)` \|", documentation):
            if not key.endswith(".com"):
                self.assertIn(key, known_keys())

    def test_built_in_limits(self) -> None:
        """There is always a first rule for all, with the offline time of delivery."""
        (rule,) = good("delivery: {offline-time: 7m}").limits
        self.assertEqual((rule.line, rule.domain), (0, "*"))
        expected = {
            "max_connections": 20,
            "max_starting": 4,
            "initial_connections": 5,
            "connection_max_idle": 1.0,
            "max_queue": 1000,
            "offline_time": 420.0,
        }
        self.assertEqual(rule.values, expected)
        self.assertEqual(Settings().limits[0].values["offline_time"], 300.0)

    def test_import_is_light(self) -> None:
        """The configuration is read without Twisted."""
        script = "import sys, mailerq.settings; print([m for m in sys.modules if m.startswith(('twisted', 'msgspec'))])"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=TOP)
        self.assertEqual(done.stdout.strip(), "[]")


class Values(SynchronousTestCase):
    """What is written is what is read."""

    def test_brokers(self) -> None:
        """A file, a server, a cluster, a mapping."""
        self.assertEqual(good("broker: sqlite:x.db").broker, Broker("sqlite", "x.db"))
        one, two = "amqp://u:p@h:5672/v", "amqps://h2"
        self.assertEqual(good(f"broker: {one}").broker, Broker("amqp", None, (one,)))
        self.assertEqual(good(f"broker: [{one}, {two}]").broker, Broker("amqp", None, (one, two)))
        text = f"broker: {{address: [{one}, {two}], ca: ca.pem, heartbeat: 0}}"
        self.assertEqual(good(text).broker, Broker("amqp", None, (one, two), "ca.pem", 0.0))

    def test_bad_brokers(self) -> None:
        """What is no address is refused, and its password is not shown."""
        for address in ("amq://me:geheim@h", "amqp:me:geheim@h", "amqp://me:geheim@", "amqp://me:geheim@h:x", "[]"):
            (error,) = said(f"broker: {address}")
            self.assertNotIn("geheim", error)
            self.assertTrue(error.startswith("f:1:9: broker: "), error)
        self.assertEqual(len(said("broker: [amqp://h, sqlite:x, foo]")), 2)
        self.assertEqual(len(said("broker: {address: amqp://h, ca: x}")), 1)
        self.assertEqual(said("broker: {ca: x}"), ["f:1:9: broker.address: is missing"])

    def test_passwords_are_not_shown(self) -> None:
        """The settings can be printed."""
        text = "broker: amqps://me:geheim@h\nsmarthost: {hostname: h, username: u, password: geheim}"
        settings = good(text)
        self.assertNotIn("geheim", repr(settings))
        self.assertIn("amqps://me:***@h", repr(settings))
        assert settings.smarthost
        self.assertEqual(settings.smarthost.password, "geheim")

    def test_queues_that_are_the_outbox(self) -> None:
        """inbox and dsn are the outbox unless they are named, or switched off."""
        queues = good("queues: {outbox: o, dsn: null}").queues
        self.assertEqual((queues.outbox, queues.inbox, queues.dsn), ("o", "o", None))

    def test_lists_of_times(self) -> None:
        """A schedule is written as a text or as a list."""
        for text in ("10m*2, 1h", "[10m, 10m, 1h]", '["10m*2", 1h]'):
            read = good(f"delivery:\n  retry-interval: {text}").delivery.retry_interval
            self.assertEqual(read, (600, 600, 3600), text)

    def test_dns(self) -> None:
        """Servers have port 53, fixed hosts the port that is written or none."""
        dns = good(
            """dns:
  servers: [192.0.2.1, "127.0.0.1:5353", "[::1]:54", "::1"]
  hosts: {"*.Test.": "::1", b: ["192.0.2.1:25", 192.0.2.2]}
"""
        ).dns
        self.assertEqual(dns.servers, (("192.0.2.1", 53), ("127.0.0.1", 5353), ("::1", 54), ("::1", 53)))
        self.assertEqual(dns.hosts, {"*.test": (("::1", None),), "b": (("192.0.2.1", 25), ("192.0.2.2", None))})

    def test_limits(self) -> None:
        """Rules keep their order and line; a first one for all completes the built-in one."""
        text = """limits:
  - {domain: "*", max-connections: 7}
  - {mx: "*.Mail.Example", bytes-per-minute: 600MB, messages-per-minute: 600/h}
  - {ip: 2001:DB8::1, connection-max-idle: 0}
  - {pool: p, offline-time: 1h}
pools: {p: [192.0.2.1]}
"""
        first, mx, ip, pool = good(text).limits
        self.assertEqual((first.line, first.values["max_connections"], first.values["max_queue"]), (2, 7, 1000))
        self.assertEqual((mx.line, mx.mx), (3, "*.mail.example"))
        self.assertEqual(mx.values, {"bytes_per_minute": 6e8, "messages_per_minute": 10.0})
        self.assertEqual((ip.ip, ip.values), ("2001:db8::1", {"connection_max_idle": 0.0}))
        self.assertEqual((pool.pool, pool.values), ("p", {"offline_time": 3600.0}))

    def test_limits_of_tags(self) -> None:
        """A tag keeps its case; its rules may say rates of mails and when it is tried again."""
        (_, rule) = good("limits: [{tag: News-*, messages-per-minute: 5/s, retry-interval: 5m*2}]").limits
        self.assertEqual((rule.tag, rule.domain, rule.values), ("News-*", None, {"messages_per_minute": 300.0}))
        self.assertEqual(rule.retry_interval, (300.0, 300.0))

    def test_limits_of_a_domain(self) -> None:
        """Timeouts are numbers like the others; tls and retry-interval are attributes."""
        text = """limits:
  - {domain: a, timeouts: {connect: 5s, end: 5m}, tls: required, initial-connections: 30, max-connections: 2}
"""
        (_, rule) = good(text).limits
        expected = {"timeout_connect": 5.0, "timeout_end": 300.0, "initial_connections": 30, "max_connections": 2}
        self.assertEqual((rule.values, rule.tls, rule.retry_interval), (expected, "required", None))

    def test_first_rule_keeps_what_is_a_domains_own(self) -> None:
        """A first rule for all says tls and retry-interval for all; a first one for a tag is not for all."""
        (first,) = good('limits: [{domain: "*", tls: none, retry-interval: 1m}]').limits
        self.assertEqual((first.tls, first.retry_interval, first.values["max_queue"]), ("none", (60.0,), 1000))
        first, tag = good('limits: [{domain: "*", tag: x, messages-per-minute: 1}]').limits
        self.assertEqual((first.line, first.tag, tag.values), (0, None, {"messages_per_minute": 1.0}))

    def test_weights(self) -> None:
        """An address with a weight stands there so many times."""
        one, two = "192.0.2.7", "2001:db8::8"
        self.assertEqual(good(f"smtp: {{ips: [{one}, '{two}*3']}}").smtp.ips, (one, two, two, two))
        self.assertEqual(good(f"smtp: {{ips: {one} * 2}}").smtp.ips, (one, one))
        self.assertEqual(good(f"pools: {{p: [{one}*2, '2001:DB8::8']}}").pools, {"p": (one, one, two)})

    def test_who_takes_turns(self) -> None:
        """By tag, by any property, or by nothing."""
        for text, property in (("", "tag"), ("delivery: {fair-by: campaign}", "campaign")):
            self.assertEqual(good(text).delivery.fair_by, property)
        self.assertIsNone(good("delivery: {fair-by: null}").delivery.fair_by)

    def test_places(self) -> None:
        """Where the process keeps its state, and where it is asked."""
        settings = good("state: /s\ncontrol: null")
        self.assertEqual((settings.state, settings.control), ("/s", None))
        self.assertEqual((Settings().state, Settings().control), ("var/state", "var/control"))

    def test_environment(self) -> None:
        """Values come from the environment, with defaults, into the middle of a text, as numbers, as null."""
        environ = {"PORT": "2525", "PW": "a: {b}#", "EMPTY": ""}
        text = """smtp: {port: "${PORT}"}
smarthost: {hostname: "${EMPTY:-h}", username: u, password: "${PW}"}
manhole: ${EMPTY}
journal: $${x}/${PORT}/${NONE:-}
"""
        settings = good(text, environ)
        assert settings.smarthost
        self.assertEqual((settings.smtp.port, settings.smarthost.hostname), (2525, "h"))
        self.assertEqual((settings.smarthost.password, settings.manhole), ("a: {b}#", None))
        self.assertEqual(settings.journal, "${x}/2525/")

    def test_words_from_the_environment_are_text(self) -> None:
        """A queue that the environment calls ``no`` is called so."""
        self.assertEqual(good("queues:\n  results: ${Q}", {"Q": "no"}).queues.results, "no")


class Errors(SynchronousTestCase):
    """All that is wrong, at once, with its place."""

    def test_all_at_once(self) -> None:
        """Errors of all kinds come together, in the order of the file."""
        text = "smtp: {prt: 3, tls: tight}\nsmpt: 1\ndelivery:\n  hold: 5\n  hold: 5s\npools: {p: [x, y]}\n"
        self.assertEqual([error.split(": ")[:2] for error in said(text)], [
            ["f:1:8", "smtp.prt"], ["f:1:21", "smtp.tls"], ["f:2:1", "smpt"], ["f:4:9", "delivery.hold"],
            ["f:5:3", "delivery.hold"], ["f:6:13", "pools.p.0"], ["f:6:16", "pools.p.1"],
        ])  # fmt: skip

    def test_suggestions(self) -> None:
        """An unknown key says what may have been meant, in this section or in another."""
        for text, meant in {
            "queus: {}": "queues",
            "delivery: {max_attempts: 3}": "max-attempts",
            "delivery: {max-connections: 3}": "smtp.max-connections",
            "limits: [{domian: x}]": "domain",
            "limits: [{tags: x}]": "tag",
            "limits: [{domain: x, initial-conections: 2}]": "initial-connections",
            "limits: [{domain: x, timeouts: {conect: 5s}}]": "connect",
            "limits: [{domain: x, tls: oportunistic}]": "opportunistic",
            "smtp: {tls: oportunistic}": "opportunistic",
        }.items():
            (error,) = said(text)
            self.assertIn(f"(did you mean \u2018{meant}\u2019?)", error)

    def test_yaml_traps(self) -> None:
        """What YAML 1.1 takes for something else is refused, and the text says why."""
        for text, why in {
            "queues: {results: no}": 'write "no"',
            "queues: {results: 010}": 'write "010"',
            "queues: {results: 2026-01-01}": "a date",
            "smtp: {tls: no}": "takes no for false",
            "smtp: {port: 025}": "octal",
            "smtp: {port: 1_000}": "whole number",
            "smtp: {auth-in-clear: yes}": "true or false",
            "delivery: {hold: 1:30}": "base 60",
            "delivery: {hold: 30}": "30s",
            "delivery: {hold: on}": "takes on for true",
            "smarthost: {hostname: h, username: u, password: 0123}": "quotes",
        }.items():
            (error,) = said(text)
            self.assertIn(why, error)

    def test_wrong_values(self) -> None:
        """Each of these is one error."""
        for text in (
            "queues: {outbox: null}",
            "queues: {outbox: results}",
            "queues: {success: outbox}",
            "queues: {outbox: ''}",
            "queues: {outbox: amq.x}",
            f"queues: {{outbox: {'x' * 256}}}",
            "queues: {max-priority: 0}",
            "queues: {max-priority: 256}",
            "queues: {type: quorum, max-priority: 3}",
            "queues: {type: quorum, durable: false}",
            "queues: {window: 70000}",
            "delivery:\n  retry-interval:",
            "delivery: {retry-interval: []}",
            "delivery: {retry-interval: 0}",
            "delivery: {hold: 0}",
            "delivery: {max-attempts: -1}",
            "delivery: {max-attempts: [3]}",
            "delivery: 3",
            "smtp: {ips: 192.0.2}",
            "smtp: {ips: {a: b}}",
            "smtp: {ips: 192.0.2.7*0}",
            "smtp: {ips: 192.0.2.7*1001}",
            "smtp: {ips: 192.0.2.7*}",
            "smtp: {ips: 192.0.2.7*x}",
            "smtp: {ips: 192.0.2*3}",
            f"smtp: {{ips: 192.0.2.7*{'9' * 5000}}}",
            "smtp: {port: 0}",
            "delivery: {fair-by: 3}",
            "delivery: {fair-by: ''}",
            "state: null",
            "control: []",
            "smtp: {hostname: a b}",
            "dns: {servers: ['192.0.2.1:0']}",
            "dns: {servers: [ns.example]}",
            "dns: {hosts: {a: []}}",
            "dns: {hosts: [a]}",
            "smarthost: {port: 3}",
            "smarthost: {hostname: h, username: u}",
            "smarthost: {}",
            "limits: [{max-queue: 3}]",
            "limits: [{domain: x, max-connections: null}]",
            "limits: [{domain: x, messages-per-minute: 0}]",
            "limits: [{domain: x, connection-min-messages: 5, connection-max-messages: 4}]",
            "limits: [{pool: x}]",
            "limits: [{domain: x, initial-connections: 0}]",
            "limits: [{domain: x, timeouts: 5s}]",
            "limits: [{domain: x, timeouts: null}]",
            "limits: [{domain: x, timeouts: {connect: 5}}]",
            "limits: [{domain: x, timeouts: {end: 0}}]",
            "limits: [{domain: x, retry-interval: 0}]",
            "limits: [{domain: x, ip: 192.0.2.7, tls: none}]",
            "limits: [{pool: p, retry-interval: 5m}]\npools: {p: [192.0.2.7]}",
            "limits: [{tag: x, max-connections: 5}]",
            "limits: [{tag: x, tls: none}]",
            "limits: [{tag: x, ip-messages-per-minute: 5}]",
            "limits: [{tag: x, timeouts: {connect: 5s}}]",
            "limits: [{tag: '', messages-per-minute: 5}]",
            "limits: [{tls: none}]",
            "limits: [3]",
            "limits: {domain: x}",
            "pools: {p: []}",
            "pools: {p: null}",
            "workers: 0",
            "workers: 257",
            "workers: two",
            "workers: [2]",
            "workers: null",
            "store: bogus:x",
            "log: {format: xml}",
            "journal: ${X}",
            "journal: ${X",
            "pools: ${X}",
            "limits: ${X}",
            "queues: ${X}",
            "journal: !x y",
            "<<: {}",
            "[a]: b",
            "a",
            "[1]",
            "a: [",
            "a: 1\n\tb: 2",
            "pools: {p: &x [*x]}",
            "--- {}\n--- {}",
            "journal: \x01",
            'journal: "a\\nb"',
        ):
            self.assertEqual(len(said(text)), 1, (text, said(text)))
            self.assertRegex(said(text)[0], r"^f:\d+:\d+: ")

    def test_why_a_key_is_misplaced(self) -> None:
        """All keys that do not fit the scope are named, each at its place, with the reason."""
        text = "limits: [{tag: x, ip: 192.0.2.7, max-queue: 5, tls: none, retry-interval: 5m, messages-per-minute: 5}]"
        errors = said(text)
        self.assertEqual(len(errors), 3)
        self.assertIn("limits.0.max-queue: cannot be limited for a tag", errors[0])
        self.assertIn("limits.0.tls: cannot be limited for a tag", errors[1])
        self.assertIn("limits.0.retry-interval: belongs to the recipient's domain", errors[2])

    def test_pools_that_are_wrong_are_not_missed(self) -> None:
        """A rule for a pool is not blamed for the pool's own error."""
        self.assertEqual(len(said("limits: [{pool: p}]\npools: {p: [x]}")), 1)

    def test_smarthost_of_nothing(self) -> None:
        """Null is no smarthost."""
        self.assertIsNone(good("smarthost: null").smarthost)

    def test_files(self) -> None:
        """A file that is not there, is a directory, or is no UTF-8 is an error like any other."""
        path = Path(self.mktemp())
        self.assertRaisesRegex(SettingsError, "No such file", load, str(path))
        path.write_bytes(b"a: 1\nb: \xff")
        self.assertRaisesRegex(SettingsError, ":2:1: is not written in UTF-8", load, str(path))
        path.write_bytes(b"\xef\xbb\xbfworkers: 1\r\n")
        self.assertEqual(load(str(path)).source, str(path))
        self.assertRaises(SettingsError, load, ".")

    def test_nothing_else_is_raised(self) -> None:
        """Whatever is cut off or exchanged in the sample: settings or a SettingsError."""
        text = (TOP / "etc" / "mailerq.yaml").read_text()
        text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
        for at in range(0, len(text), 7):
            for new in ("", "{", "- ", "'", "\t", "&a", "*", "null", "[[", ": "):
                said(text[:at] + new + (text[at + 3 :] if at % 2 else ""))
