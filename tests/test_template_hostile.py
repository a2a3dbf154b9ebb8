"""Templates that are made to do harm: each ends in an error or a text, soon, and with little memory."""

from __future__ import annotations

import threading
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailerq.content.template import Budget, TemplateError, Templates
from mailerq.content.template_budget import MOST_TEXT
from mailerq.content.template_modifiers import MODIFIERS

LONG = "a" * 10_000
MANY = list(range(2000))
DATA = {"long": LONG, "many": MANY, "x": "x", "huge": 10**4000, "inf": 1e308, "map": {f"k-{n}": n for n in range(2000)}}

TOO_MUCH = [
    # time
    ("{foreach $a in $many}{foreach $b in $many}{/foreach}{/foreach}", "takes too long"),
    ("{foreach $a in $many}{foreach $b in $many}{if $a == $b}{/if}{/foreach}{/foreach}", "takes too long"),
    ("{foreach $a in $many}{foreach $many as $many}{$many}{/foreach}{/foreach}", ""),
    ("{foreach $a in $many}{foreach $b in $many}{$map.k_x}{/foreach}{/foreach}", "takes too long"),
    ("{foreach $a in $many}{foreach $b in $many}{$long|count_words}{/foreach}{/foreach}", "takes too long"),
    ("{foreach $a in $many}{foreach $b in $many}{$huge}{/foreach}{/foreach}", ""),
    ("{foreach $a in $many}{foreach $b in $many}{$long|md5}{/foreach}{/foreach}", "takes too long"),
    # regular expressions
    ("{if $long =~ '(a+)+b'}{/if}", "takes too long for some texts"),
    ("{if $long =~ '(a|a)*b'}{/if}", "takes too long for some texts"),
    ("{if $long =~ 'a*a*a*b'}{/if}", "takes too long for some texts"),
    ("{$long|regex_replace:'(.*)*x':'y'}", "takes too long for some texts"),
    ("{foreach $a in $many}{$long|regex_replace:'a':'bbbbbbbbbbb'}{/foreach}", "t"),
    ("{foreach $a in $many}{if $long =~ $a|cat:'+'}{/if}{/foreach}", "takes too long"),
    ("{$long|spacify:$long}", "makes more than 16 MB of text"),
    ("{$long|spacify|spacify|spacify|regex_replace:'a':'b'}", "are for texts of at most"),
    # output and memory
    ("{$long|indent:1000000000}", "makes more than 16 MB of text"),
    ("{$long|spacify:'\n'|indent:2000}", "makes more than 16 MB of text"),
    ("{$long|replace:'a':$long}", "makes more than 16 MB of text"),
    ("{foreach $a in $many}{$long}{/foreach}", "makes more than 16 MB of text"),
    ("{foreach $a in $many}{literal}" + LONG + "{/literal}{/foreach}", "makes more than 16 MB of text"),
    ("{$v='a'}{foreach $a in $many}{$v=$v|cat:$v}{/foreach}", "makes more than 16 MB of text"),
    ("{foreach $a in $many}{$v=$long|escape:'json'|urlencode|base64_encode|toupper}{/foreach}", "makes more than"),
    # size and depth
    ("{if $x}" * 1000 + "{/if}" * 1000, "nested too deeply"),
    ("{foreach $a in $many}" * 12 + "{/foreach}" * 12, "nested too deeply"),
    ("{$" + "a[$" * 500 + "a" + "]" * 500 + "}", "nested too deeply"),
    ("{if " + "(" * 500 + "$a" + ")" * 500 + "}{/if}", "nested too deeply"),
    ("{if " + "not " * 1000 + "$a}{/if}", "nested too deeply"),
    ("{$a" + "+1" * 900 + "}", "nested too deeply"),
    ("{$a" + "|trim" * 500 + "}", "nested too deeply"),
    ("{$a" + ".b" * 500 + "}", "nested too deeply"),
    ("{if $x}" + "{elseif $x}" * 1000 + "{/if}", "more than 200 branches"),
    ("{$a}" * 10_000, "more than 10000 tags and operations"),
    ("{ldelim}" * 20_000, "more than 10000 tags and operations"),
    ("{$a|cat(" + "1," * 20_000 + "1)}", "a tag is too long"),
    ("{$a|cat:'" + "x" * 100_000 + "'}", "a string has no end, or is longer than 20000 characters"),
    ("{$a" + " " * 100_000 + "}", "a tag is too long"),
    ("{$x|default:" + "9" * 5000 + "}", "is too long"),
]

HARMLESS = [
    ("{$x.__class__.__mro__}{$many.__class__}{$map.items}{$many.append}{$x.format}", ""),
    ("{$self}{$context}{$loop}{$state}{$range}{$cycler}{$namespace}{$True}{$None}", ""),
    ("{$many|range:-5:1000000000}{$many|range:1000000000000}", ""),
    ("{$inf * $inf}{$inf * 10 - $inf * 10}", "infnan"),
    ("{$huge + 1}", "inf"),
    ("{assign $huge % 7 to $y}{$y}", "6"),
    ("{$long|substr:-9999999999999:9999999999999|strlen}", "10000"),
    ("{$long|truncate:-5}{$x|indent:-5}", "x"),
    ("{$x|default:'a\\'b'}{{{ }}} {% %} {# #}\n{$x}", "x{{{ }}} {% %} {# #}\nx"),
]


def fill(text: str, data: dict[str, Any] | None = None) -> str:
    return Templates().render(text, dict(DATA if data is None else data), Budget())


class Hostile(SynchronousTestCase):
    """What a template cannot do."""

    def test_too_much(self) -> None:
        """What takes too long, makes too much or is too large is an error."""
        for text, expected in TOO_MUCH:
            try:
                made = Templates().render(text, dict(DATA), Budget(steps=200_000))
            except TemplateError as error:
                self.assertIn(expected, str(error), f"{text[:100]}: {error}")
            else:
                self.assertEqual(expected, "", text[:100])
                self.assertLess(len(made), MOST_TEXT)

    def test_harmless(self) -> None:
        """What looks like a way out leads nowhere."""
        for text, expected in HARMLESS:
            self.assertEqual(fill(text), expected, text)

    def test_one_budget(self) -> None:
        """The templates of one message have one budget."""
        templates, budget = Templates(), Budget(steps=700)
        loop = "{foreach $a in $l}{$a}{/foreach}"
        variables = {"l": list(range(100))}
        self.assertEqual(len(templates.render(loop, variables, budget)), 190)
        self.assertRaises(TemplateError, templates.render, loop, variables, budget)

    def test_deterministic(self) -> None:
        """A template costs the same whether it is kept or not."""
        for least in range(40):
            fates = []
            templates = Templates()
            for _ in range(2):
                try:
                    fates.append(templates.render("{if $x == 'x'}{$x|cat:'y'}{/if}", {"x": "x"}, Budget(steps=least)))
                except TemplateError as error:
                    fates.append(str(error))
            self.assertEqual(fates[0], fates[1])


class Kept(SynchronousTestCase):
    """The templates that are kept."""

    def test_bounded(self) -> None:
        """They are few, and of a bounded size; the one that was not used longest goes first."""
        templates = Templates(most=3, most_weight=10_000)
        for number in (1, 2, 3, 1, 4):
            templates.render(f"{{$a}}{number}", {}, Budget())
        self.assertEqual(len(templates), 3)
        self.assertIn("{$a}1", templates._kept)
        self.assertNotIn("{$a}2", templates._kept)
        templates.render("{$a}" + "x" * 20_000, {}, Budget())
        self.assertEqual((len(templates), templates._weight), (0, 0))
        templates.render("{$a}", {}, Budget())
        self.assertEqual(len(templates), 1)

    def test_threads(self) -> None:
        """Several threads may render at once."""
        templates, wrong = Templates(most=5), []

        def work(own: int) -> None:
            for number in range(100):
                made = templates.render(f"{{$a}}{{$b={number}}}{{$b}}-{number % 10}", {"a": own}, Budget())
                if made != f"{own}{number}-{number % 10}":
                    wrong.append(made)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])


PIECES = st.sampled_from(
    [
        *("{$a}", "{$l[0]}", "{$m.k}", "{$a|escape}", "{if ", "{if $a}", "{elseif $l}", "{else}", "{/if}"),
        *("{foreach $x in $l}", "{foreach $m as $k=>$v}", "{foreachelse}", "{/foreach}", "{assign $a+1 to $b}"),
        *("{$b=$a}", "{literal}", "{/literal}", "{ldelim}", "{rdelim}", "{$", "$a", "$l", "$m", *"()[]}{+-*/%=><|:,.'"),
        *(
            "==",
            "!=",
            "=~",
            "and",
            "or",
            "not",
            "1",
            "2.5",
            "'x'",
            '"y"',
            '"',
            "truncate",
            "spacify",
            "indent",
            "range",
        ),
        *("replace", "default", "{{", "}}", "{%", "%}", "\n", "{#", " "),
    ]
)
TERMS = ("$a", "$b", "1", "2.5", "'x'", "true", "$a.k", "$a[$b]", "($a)")
SIGNS = (*"+-*/%<>", "==", "!=", "<=", ">=", "=~", "and", "or")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


class Fuzz(SynchronousTestCase):
    """Any text is a template that is filled in, or is an error."""

    @settings(max_examples=200, deadline=None)
    @given(st.lists(PIECES | st.text(max_size=5), max_size=30).map("".join), VALUES, VALUES)
    def test_anything(self, text: str, one: Any, other: Any) -> None:
        """Whatever tags and values."""
        try:
            made = fill(text, {"a": one, "l": other, "m": {"k": one, "x-y": other}})
        except TemplateError as error:
            self.assertGreaterEqual(error.line, 0)
        else:
            self.assertIsInstance(made, str)

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(st.sampled_from(TERMS), min_size=1, max_size=6),
        st.lists(st.sampled_from(SIGNS), min_size=6, max_size=6),
        VALUES,
        VALUES,
    )
    def test_expressions(self, terms: list[str], signs: list[str], one: Any, other: Any) -> None:
        """Whatever is counted with whatever."""
        text = terms[0] + "".join(f" {sign} {term}" for sign, term in zip(signs, terms[1:], strict=False))
        try:
            fill(f"{{$r={text}}}{{$r}}{{if {text}}}{{/if}}", {"a": one, "b": other})
        except TemplateError as error:
            self.assertIn(error.line, (0, 1))

    @settings(max_examples=150, deadline=None)
    @given(
        st.sampled_from(sorted(MODIFIERS)),
        VALUES,
        st.lists(VALUES, max_size=4),
    )
    def test_modifiers(self, name: str, value: Any, arguments: list[Any]) -> None:
        """Whatever modifiers are given."""
        data = {"v": value} | {f"a{number}": one for number, one in enumerate(arguments)}
        given_ = "".join(f":$a{number}" for number in range(len(arguments)))
        try:
            fill(f"{{$v|{name}{given_}}}{{$r=$v|{name}{given_}}}", data)
        except TemplateError as error:
            self.assertEqual(error.line, 1)
