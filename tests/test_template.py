"""The language of templates."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailerq.content.template import Budget, TemplateError, Templates, has_tags

DATA = {
    "name": "Joe",
    "empty": "",
    "zero": 0,
    "text_zero": "0",
    "five": 5,
    "half": 2.5,
    "yes": True,
    "no": False,
    "nothing": None,
    "list": ["a", "b", "c"],
    "map": {"x": 1, "last-name": "Doe", "deep": {"er": ["z"]}},
    "none": [],
    "html": "<b>\"R&D\" 'x'</b>",
    "lines": "one\ntwo words\nthree",
    "long": "This is just a simple test sentence.",
}


def fill(text: str, data: dict[str, Any] | None = None) -> str:
    return Templates().render(text, dict(DATA if data is None else data), Budget())


LANGUAGE = [
    # variables
    ("Dear {$name}!", "Dear Joe!"),
    ("{$ name}", "{$ name}"),
    ("{$name }{$name\t}", "JoeJoe"),
    ("[{$unknown}{$nothing}{$unknown.a[3].b}{$name.a}]", "[]"),
    ("{$map.x}{$map.deep.er[0]}{$map['x']}{$map[\"x\"]}", "1z11"),
    ("{$map.last_name} {$map['last-name']}", "Doe Doe"),
    ("{$list[0]}{$list[2]}{$list[3]}{$list[0-1]}{$list.1}{$list[$zero]}", "acba"),
    ("{$list['x']}{$list}{$map}", ""),
    ("{$five} {$half} {$yes} {$no}", "5 2.5 true false"),
    ("{$x|default:1.10} {$x|default:1.123456789} {$x|default:-3}", "1.1 1.12346 -3"),
    # what is no tag
    ("p { color: red } {} { $name } {$} {$(x)} {$.get} {$1}", "p { color: red } {} { $name } {$} {$(x)} {$.get} {$1}"),
    ("function(){if(x){return {a:1}}else{b()}}", "function(){if(x){return {a:1}}else{b()}}"),
    ("{{ name }} {% raw %} {# no #} {{$name}}", "{{ name }} {% raw %} {# no #} {Joe}"),
    ("{unknown} {/literal} {if} {foreach} {assign}", "{unknown} {/literal} {if} {foreach} {assign}"),
    ("{ldelim}$name{rdelim}", "{$name}"),
    ("{literal}{$name}{if}{/literal}{$name}", "{$name}{if}Joe"),
    # conditions
    ("{if $yes}a{/if}{if $no}b{/if}", "a"),
    ("{if $no}a{elseif $yes}b{else}c{/if}", "b"),
    ("{if $no}a{elseif $no}b{else}c{endif}", "c"),
    ("{IF $yes}a{ELSE}b{/IF}", "a"),
    ("{if\n $yes }a{/if}", "a"),
    ("{if $empty or $zero or $text_zero or $nothing or $none or $unknown}a{else}b{/if}", "b"),
    ("{if $name and $half and $list and $map}a{/if}", "a"),
    ("{if not $no}a{/if}{if NOT $yes}b{/if}{if !$no}c{/if}", "ac"),
    ("{if $yes AND $no OR $yes}a{/if}{if $no && $yes || $no}b{/if}", "a"),
    ("{if $yes or $no and $no}a{/if}{if ($yes or $no) and $no}b{/if}", "a"),
    ("{if not $five == 6}a{/if}", "a"),
    ("{if $five == 5}a{/if}{if $five == '5'}b{/if}{if $five != 5}c{/if}{if $five <> 6}d{/if}", "abd"),
    ("{if $name == 'Joe'}a{/if}{if $name == \"joe\"}b{/if}{if $yes == true}c{/if}{if $no == false}d{/if}", "acd"),
    ("{if $five > 4}a{/if}{if $five >= 5}b{/if}{if $five < 5}c{/if}{if $five <= 5}d{/if}", "abd"),
    ("{if $five gt 4 and $five ge 5 and 4 lt $five and 5 le 5 and 1 eq 1 and 1 ne 2}a{/if}", "a"),
    ("{if $name =~ '^J'}a{/if}{if $name =~ \"\\w{4}\"}b{/if}{if $name =~ 'o'}c{/if}", "ac"),
    # numbers
    ("{$five + 2}{$five - 2}{$five * 2}{$five / 2}{$five % 3}", "731022"),
    ("{$five+2*3} {$half*2} {$half / 2} {$zero-7/2} {$zero-7%4}", "11 5 1.25 -3 -3"),
    ("{$x|default:'12abc' + 1} {$name + 1} {$x|default:'1.5' + 1}", "13 1 2.5"),
    ("{$five - -2}{assign 9223372036854775807 + 1 to $big}", "7"),
    # loops
    ("{foreach $x in $list}{$x},{/foreach}", "a,b,c,"),
    ("{foreach $list as $x}{$x},{/foreach}", "a,b,c,"),
    ("{foreach $list as $i => $x}{$i}{$x},{/foreach}", "0a,1b,2c,"),
    ("{foreach $map.deep as $k => $v}{$k}={$v[0]}{/foreach}", "er=z"),
    ("{foreach $x in $none}a{foreachelse}b{/foreach}{foreach $x in $name}c{foreachelse}d{/foreach}", "bd"),
    ("{foreach $x in $list|range:2}{$x}{/foreach}", "ab"),
    ("{foreach $x in $list}{foreach $y in $list}{$x}{$y} {/foreach}{/foreach}", "aa ab ac ba bb bc ca cb cc "),
    ("{foreach $x in $list}{$last = $x}{/foreach}{$last}", "c"),
    ("{foreach $x in $list}{if $x == 'b'}[{$x}]{else}{$x}{/if}{/foreach}", "a[b]c"),
    # assignments
    ("{assign $five * 2 to $ten}{$ten}", "10"),
    ("{assign 'a' to $v}{assign $v|cat:'b' to $v}{$v}", "ab"),
    ("{$v}-{$v=1}-{$v}", "--1"),
    ("{assign $list to $other}{$other[1]}", "b"),
    ("{assign (1 + 2) * 3 to $v}{$v}", "9"),
]

MODIFIERS = [
    ("{$x|default:'y'|toupper}", "Y"),
    ('{$x|default("y")} {$x|default ( "a" )|cat("b", $name, 1+1)}', "y abJoe2"),
    ("{$name|default:'y'}{$empty|default:$name}{$x|default:$map.x}", "JoeJoe1"),
    ("{$zero|default:'y'}", "0"),
    ("{$name|base64_encode} {$x|default:'Sm9l'|base64_decode}", "Sm9l Joe"),
    ("{$name|cat:' ':'Doe'}", "Joe Doe"),
    ("{$list|count}{$map|count}{$name|count}", "330"),
    ("{$long|count_characters} {$long|count_characters:true}", "30 36"),
    ("{$lines|count_paragraphs} {$lines|count_words}", "2 4"),
    ("{$empty|empty}{$name|empty}{$none|empty}{$list|empty}{$nothing|empty}", "truefalsetruefalsetrue"),
    ("{$html|escape}", "&lt;b&gt;&quot;R&amp;D&quot; &#39;x&#39;&lt;/b&gt;"),
    ("{$html|escape:'url'}", "%3Cb%3E%22R%26D%22%20%27x%27%3C%2Fb%3E"),
    ("{$x|default:'a\"'|escape:'json'}", 'a\\"'),
    ("{$lines|indent:2}", "  one\n  two words\n  three"),
    ("{$lines|indent:1:'-'} {$name|indent}", "-one\n-two words\n-three     Joe"),
    ("{$name|md5} {$name|sha1}", "3a368818b7341d48660e8dd6c5a77dbe 89661149f1b62ff47dd5a6fe4f979c9f53f619b6"),
    ("{$lines|nl2br}", "one<br />two words<br />three"),
    ("{foreach $x in $list|range:2:1}{$x}{/foreach}", "bc"),
    ("{$long|regex_replace:'[aeiou]':'*'}", "Th*s *s j*st * s*mpl* t*st s*nt*nc*."),
    ("{$name|regex_replace:'(.)(.)':'$2$1[$&]'}", "oJ[Jo]e"),
    ("{$long|replace:'simple':'hard'}", "This is just a hard test sentence."),
    ("{$name|spacify} {$name|spacify:'^^'}", "J o e J^^o^^e"),
    ("{$name|strlen}", "3"),
    ("{$x|default:'a@b'|strstr:'@'} {$x|default:'a@b'|strstr:'@':true}{$name|strstr:'@'}", "@b a"),
    ("{$long|substr:5}", "is just a simple test sentence."),
    ("{$long|substr:5:2} {$name|substr:9} {$name|substr:-2}", "is Joe oe"),
    ("{$name|tolower}{$name|toupper}{$x|default:'jOE'|ucfirst}", "joeJOEJOE"),
    ("[{$x|default:'  a '|trim}][{$x|default:'xxax'|trim:'x'}]", "[a][a]"),
    ("{$long|truncate}", "This is just a simple test sentence."),
    (
        "{$long|truncate:13}/{$long|truncate:13:''}/{$long|truncate:13:'...':true}",
        "This is.../This is just/This is ju...",
    ),
    ("{$x|default:'a b&c=ü'|urlencode}", "a%20b%26c%3D%C3%BC"),
    ("{$x|default:'a%20b+%C3%BC'|urldecode}", "a b ü"),
    ("{$name|toupper:1:2:3}", "JOE"),
]

WRONG = [
    ("{if $a}", "line 1: {if} without {/if}"),
    ("a\n{foreach $x in $y}\n{if $a}{/if}", "line 2: {foreach} without {/foreach}"),
    ("\n\n{/if}", "line 3: {/if} without {if}"),
    ("{else}", "line 1: {else} without {if}"),
    ("{foreachelse}", "line 1: {foreachelse} without {foreach}"),
    ("{if $a}{/foreach}{/if}", "line 1: {/foreach} without {foreach}"),
    ("{literal}", "line 1: {literal} without {/literal}"),
    ("{$a|nothing}", "line 1: there is no modifier 'nothing'"),
    ("{$a", "line 1: a tag has no end"),
    ("{$a 'x", "line 1: a string has no end, or is longer than 20000 characters"),
    ("{$a ^ 1}", "line 1: '^ 1}' was not expected in a tag"),
    ("{$a +}", "line 1: a value was expected at the end of the tag"),
    ("{if $a > }x{/if}", "line 1: a value was expected at the end of the tag"),
    ("{if &gt; 1}x{/if}", "line 1: '&gt; 1}x{/' was not expected in a tag"),
    ("{$a $b}", "line 1: the end of the tag was expected instead of 'b'"),
    ("{$a.}", "line 1: the name of a member was expected after '.'"),
    ("{foreach $a}{/foreach}", "line 1: 'as' was expected at the end of the tag"),
    ("{assign 1}", "line 1: 'to' was expected at the end of the tag"),
    ("{assign 1 to x}", "line 1: a variable was expected instead of 'x'"),
    ("a\n{$five / $zero}", "line 2: division by zero"),
    ("{$name\n|\nescape:'rot13'}", "line 1: escape: 'rot13' is none of html, url, json, base64"),
    (
        "\n{if $name =~ '('}{/if}",
        "line 2: '(' is no regular expression: missing ), unterminated subpattern at position 0",
    ),
    ("{$name|regex_replace:'a':'$1'}", "line 1: the regular expression 'a' has only 0 groups"),
]


PATTERNS = [
    (r"^[A-Z]", 15_000),
    (r"^[a-zA-Z0-9._%+-]+@[a-z0-9.-]+\.[a-z]{2,}$", 250),
    (r"\s+", 7000),
    (r"<[^>]+>", 7000),
    (r"[aeiou]", 15_000),
    (r"(\d{4})-(\d\d)-(\d\d)", 8000),
    (r"(foo|bar) ?baz", 15_000),
]


class Language(SynchronousTestCase):
    """What a template means."""

    def test_language(self) -> None:
        """Each line of the table."""
        for text, expected in LANGUAGE:
            self.assertEqual(fill(text), expected, text)

    def test_modifiers(self) -> None:
        """Each modifier."""
        for text, expected in MODIFIERS:
            self.assertEqual(fill(text), expected, text)

    def test_usual_patterns(self) -> None:
        """Regular expressions as they are used are not refused for texts as there are."""
        for pattern, size in PATTERNS:
            self.assertEqual(fill(f"{{$t|regex_replace:'{pattern}':'-'|strlen}}", {"t": "~" * size}), str(size))

    def test_wrong(self) -> None:
        """What cannot be read or done is said, with its line."""
        for text, expected in WRONG:
            error = self.assertRaises(TemplateError, fill, text)
            self.assertEqual(str(error), expected, text)

    def test_no_tags(self) -> None:
        """Whether there is anything to do is known without reading it all."""
        self.assertFalse(has_tags("a { b } {c} {if} {$ x}"))
        self.assertTrue(has_tags("x{$y}"))
        self.assertTrue(has_tags("{/IF}"))
        for before in range(99_980, 100_010):  # a tag at the edge of what is looked at in one step
            text = "{" * before + "{foreachelse}"
            self.assertTrue(has_tags(text))
            self.assertRaises(TemplateError, fill, text)
