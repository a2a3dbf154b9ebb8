"""A mix: the providers there are, and the streams of jobs that are sent to them. YAML to values, all errors at once.

Pure; ``load_mix`` of ``files.py`` opens the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from mailerq.settings import SettingsError
from mailerq.shapes import entry_of, key, plain, section, table, takes_null, values_of
from mailerq.simulate.provider import Provider
from mailerq.simulate.stream import Stream
from mailerq.units import parse_rate
from mailerq.yaml_source import Mark, Node, Problem, Table, read, suggestion

OTHER = "other"
"""The provider that has all domains that no other has."""


def _named(cls: type[Any]) -> Any:
    read_all = table(section(cls))

    def read_named(node: Node) -> dict[str, Any]:
        return {name: attrs.evolve(one, name=name) for name, one in read_all(node).items()}

    return takes_null(read_named)


@attrs.frozen
class Mix:
    """``weights``: how much of a stream goes to each provider, where the stream does not say; a provider that is not
    named there has as much as all of them have on average. There always is a provider ``other``."""

    providers: Mapping[str, Provider] = key(attrs.Factory(dict), _named(Provider))
    weights: Mapping[str, float] = key(attrs.Factory(dict), table(plain(parse_rate)))
    streams: Mapping[str, Stream] = key(attrs.Factory(dict), _named(Stream))

    def __attrs_post_init__(self) -> None:
        providers = {name: attrs.evolve(one, name=name) for name, one in self.providers.items()}
        providers.setdefault(OTHER, Provider(name=OTHER))
        object.__setattr__(self, "providers", providers)
        streams = {name: attrs.evolve(one, name=name) for name, one in self.streams.items()}
        object.__setattr__(self, "streams", streams)

    def shares(self, stream: Stream) -> dict[str, float]:
        """The weights of the providers for a stream; those that have no domain get nothing."""
        if stream.to:
            return dict(stream.to)
        if self.weights:
            return dict(self.weights)
        return {name: 1.0 for name, one in self.providers.items() if one.domains or one.count}


def parse_mix(text: str, name: str, environ: Mapping[str, str]) -> Mix:
    """The mix that a YAML text says; ``name`` is what errors call it. Raises ``SettingsError`` with all of them."""
    root, problems = read(text, environ)
    root = root if root is not None else Table(Mark(1, 1), {})
    values, more = values_of(Mix, root)
    problems += more
    mix = Mix(**values)
    if not more:
        problems += [_at(root, path, what) for path, what in _crossed(mix)]
    if problems:
        problems.sort(key=lambda problem: (problem.mark.line, problem.mark.column))
        raise SettingsError([_shown(name, problem) for problem in problems])
    return mix


def _at(root: Node, path: str, what: str) -> Problem:
    entry = entry_of(root, path)
    return Problem(entry.mark if entry else Mark(1, 1), path, what)


def _shown(name: str, problem: Problem) -> str:
    path = f" {problem.path}:" if problem.path else ""
    return f"{name}:{problem.mark.line}:{problem.mark.column}:{path} {problem.what}"


def _crossed(mix: Mix) -> list[tuple[str, str]]:
    """What does not fit together: (key, what)."""
    found = []
    places = [("weights", mix.weights)]
    places += [(f"streams.{stream.name}.to", stream.to) for stream in mix.streams.values()]
    for path, weights in places:
        for name in weights:
            provider = mix.providers.get(name)
            if provider is None:
                found.append((f"{path}.{name}", f"there is no such provider{suggestion(name, mix.providers)}"))
            elif not (provider.domains or provider.count):
                found.append((f"{path}.{name}", "has no domains that jobs could be made for: give it a count"))
    owners: dict[str, str] = {}
    for name, provider in mix.providers.items():
        for domain in provider.domains:
            if owners.setdefault(domain.lower(), name) != name:
                found.append((f"providers.{name}.domains", f"{domain} is one of {owners[domain.lower()]} already"))
    if mix.streams and not any(mix.shares(stream) for stream in mix.streams.values()):
        found.append(("streams", "no provider has domains to send to"))
    return found
