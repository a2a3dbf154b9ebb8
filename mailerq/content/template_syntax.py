"""The grammar: a template's text becomes a tree. Pure; bounded in time, size and depth."""

from __future__ import annotations

from collections.abc import Iterator

from mailerq.content.template_budget import MOST_NODES, TemplateError
from mailerq.content.template_expressions import Words, expression
from mailerq.content.template_tokens import Tag, split
from mailerq.content.template_tree import Assign, Each, Expression, If, Show, Statement, Text, Tree

DEEPEST = 40  # tags in each other
DEEPEST_LOOPS = 10  # Python takes at most 20
MOST_BRANCHES = 200
_CLOSES = {"/if": "if", "endif": "if", "/foreach": "foreach"}


def read(text: str) -> Tree:
    """What a template says. Raises TemplateError."""
    reader = _Reader(split(text))
    statements, end = reader.statements(())
    assert end is None
    return Tree(statements, reader.size)


def _text(texts: list[Tag]) -> Text:
    return Text("".join(tag.text for tag in texts), texts[0].line)


class _Reader:
    """``size``: how many tags and operations were read."""

    def __init__(self, tags: Iterator[Tag]) -> None:
        self.size = 0
        self._tags = tags
        self._open: list[Tag] = []

    def statements(self, ends: tuple[str, ...]) -> tuple[list[Statement], Tag | None]:
        """All up to a tag that is one of ``ends``, and that tag; without ``ends``, up to the end."""
        found: list[Statement] = []
        texts: list[Tag] = []
        end: Tag | None = None
        for tag in self._tags:
            if not tag.name:
                texts.append(tag)
                self._count(1, tag.line)
                continue
            if texts:
                found.append(_text(texts))
                texts = []
            if tag.name in ends:
                end = tag
                break
            found.append(self._statement(tag))
        if texts:
            found.append(_text(texts))
        if ends and end is None:
            name = self._open[-1].name
            raise TemplateError(f"{{{name}}} without {{/{name}}}", self._open[-1].line)
        return found, end

    def _statement(self, tag: Tag) -> Statement:
        if tag.name == "$":
            return self._show(tag)
        if tag.name == "assign":
            words, what = self._begin(tag)
            words.expect("to")
            name = words.variable()
            words.end()
            return Assign(what, name, tag.line)
        if tag.name in ("if", "foreach"):
            return self._nested(tag)
        opened = _CLOSES.get(tag.name, "foreach" if tag.name == "foreachelse" else "if")
        raise TemplateError(f"{{{tag.name}}} without {{{opened}}}", tag.line)

    def _nested(self, tag: Tag) -> Statement:
        self._open.append(tag)
        loops = sum(one.name == "foreach" for one in self._open)
        if len(self._open) > DEEPEST or loops > DEEPEST_LOOPS:
            raise TemplateError("tags are nested too deeply", tag.line)
        statement = self._if(tag) if tag.name == "if" else self._each(tag)
        self._open.pop()
        return statement

    def _begin(self, tag: Tag) -> tuple[Words, Expression]:
        words = Words(tag.tokens, tag.line)
        found = expression(words)
        self._count_words(words)
        return words, found

    def _count_words(self, words: Words) -> None:
        self._count(1 + words.size, words.line)
        words.size = 0

    def _count(self, size: int, line: int) -> None:
        self.size += size
        if self.size > MOST_NODES:
            raise TemplateError(f"there are more than {MOST_NODES} tags and operations", line)

    def _show(self, tag: Tag) -> Statement:
        words = Words(tag.tokens, tag.line)
        if name := words.assigned():  # {$name = expression}
            what = expression(words)
            statement: Statement = Assign(what, name, tag.line)
        else:
            statement = Show(expression(words), tag.line)
        words.end()
        self._count_words(words)
        return statement

    def _condition(self, tag: Tag) -> Expression:
        words, condition = self._begin(tag)
        words.end()
        return condition

    def _if(self, tag: Tag) -> Statement:
        branches: list[tuple[Expression, list[Statement]]] = []
        otherwise: list[Statement] = []
        end: Tag | None = tag
        while end is not None and end.name in ("if", "elseif"):
            condition = self._condition(end)
            if len(branches) >= MOST_BRANCHES:
                raise TemplateError(f"there are more than {MOST_BRANCHES} branches", end.line)
            body, end = self.statements(("elseif", "else", "/if", "endif"))
            branches.append((condition, body))
        if end is not None and end.name == "else":
            otherwise, _ = self.statements(("/if", "endif"))
        return If(branches, otherwise, tag.line)

    def _each(self, tag: Tag) -> Statement:
        words = Words(tag.tokens, tag.line)
        key = ""
        if value := words.before("in"):  # $x in $list
            of = expression(words)
        else:  # $list as $x, $list as $key => $x
            of = expression(words)
            words.expect("as")
            value = words.variable()
            if words.skip("=>"):
                key, value = value, words.variable()
        words.end()
        self._count_words(words)
        body, end = self.statements(("foreachelse", "/foreach"))
        otherwise: list[Statement] = []
        if end is not None and end.name == "foreachelse":
            otherwise, _ = self.statements(("/foreach",))
        return Each(of, key, value, body, otherwise, tag.line)
