"""The grammar of what stands in a tag. Pure.

From weak to strong: or; and; not; == != =~; < <= > >=; + -; * / %; modifiers and members.
"""

from __future__ import annotations

from mailerq.content.template_budget import TemplateError
from mailerq.content.template_tokens import Token
from mailerq.content.template_tree import Expression, Literal, Member, Modified, Not, Operation, Variable

DEEPEST = 40  # operations in each other
_STRENGTH = {"or": 1, "and": 2, "==": 4, "!=": 4, "=~": 4, "<": 5, "<=": 5, ">": 5, ">=": 5}
_STRENGTH |= {"+": 6, "-": 6, "*": 7, "/": 7, "%": 7}
_NOT = 3
_CONSTANTS: dict[str, bool] = {"true": True, "false": False}


class Words:
    """The words of one tag, taken from the left. ``size``: how many operations were found in them."""

    def __init__(self, tokens: tuple[Token, ...], line: int) -> None:
        self.size = 0
        self.depth = 0
        self._tokens = tokens
        self._at = 0
        self._line = line

    @property
    def line(self) -> int:
        """Where the next word stands."""
        return self._tokens[self._at].line if self._at < len(self._tokens) else self._line

    def peek(self, ahead: int = 0) -> Token:
        """The next word; behind the last one, an empty one."""
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else Token("end", "", self._line)

    def take(self) -> Token:
        """The next word, which is then behind us."""
        token = self.peek()
        self._at += 1
        return token

    def skip(self, word: str) -> bool:
        """Whether the next word is that sign or name; then it is taken."""
        token = self.peek()
        if token.kind in ("sign", "name") and token.text.lower() == word:
            self._at += 1
            return True
        return False

    def expect(self, word: str) -> None:
        """Take that sign or name. Raises TemplateError where it is not the next word."""
        if not self.skip(word):
            raise self.wrong(f"{word!r} was expected")

    def variable(self) -> str:
        """Take a variable; its name. Raises TemplateError."""
        token = self.take()
        if token.kind != "variable":
            raise self.wrong("a variable was expected", 1)
        return token.text

    def before(self, word: str) -> str:
        """The variable that stands before that word; both are taken. Empty: they are not the next words."""
        name, following = self.peek(), self.peek(1)
        if name.kind != "variable" or following.kind not in ("sign", "name") or following.text.lower() != word:
            return ""
        self._at += 2
        return name.text

    def assigned(self) -> str:
        """The variable of ``$name = …``; empty where there is no assignment."""
        return self.before("=")

    def end(self) -> None:
        """Raises TemplateError where there is another word."""
        if self._at < len(self._tokens):
            raise self.wrong("the end of the tag was expected")

    def wrong(self, why: str, back: int = 0) -> TemplateError:
        """The error that says what was expected instead of the next word, or of one that was taken ``back``."""
        token = self.peek(-back)
        there = f"instead of {token.text[:20]!r}" if token.kind != "end" else "at the end of the tag"
        return TemplateError(f"{why} {there}", token.line)


def expression(words: Words, least: int = 0) -> Expression:
    """An expression of operators that bind at least so strongly. Raises TemplateError."""
    left, height = _tall(words, least)
    if height > DEEPEST:
        raise TemplateError("an expression is nested too deeply", words.line)
    return left


def _tall(words: Words, least: int) -> tuple[Expression, int]:
    """An expression, and how many operations are in each other in it."""
    words.depth += 1
    if words.depth > DEEPEST:
        raise TemplateError("an expression is nested too deeply", words.line)
    if words.peek().text == "not" and words.peek().kind == "sign":
        line = words.take().line
        inner, height = _tall(words, _NOT)
        left: Expression = _counted(words, Not(inner, line))
    else:
        left, height = _modified(words)
    while True:
        token = words.peek()
        strength = _STRENGTH.get(token.text, 0) if token.kind == "sign" else 0
        if not strength or strength < least:
            break
        words.take()
        right, other = _tall(words, strength + 1)
        left = _counted(words, Operation(token.text, left, right, token.line))
        height = max(height, other) + 1
    words.depth -= 1
    return left, height


def _counted(words: Words, found: Expression) -> Expression:
    words.size += 1
    return found


def _modified(words: Words, modifiers: bool = True) -> tuple[Expression, int]:
    """A value with its members and, if they are allowed, its modifiers."""
    found, height = _value(words)
    while True:
        line = words.line
        if words.skip("."):
            found = _counted(words, Member(found, _name(words), line))
        elif words.skip("["):
            key, other = _tall(words, 0)
            words.expect("]")
            found, height = _counted(words, Member(found, key, line)), max(height, other)
        elif modifiers and words.skip("|"):
            name = words.take()
            if name.kind != "name":
                raise TemplateError("the name of a modifier was expected after '|'", line)
            arguments, other = _arguments(words)
            found = _counted(words, Modified(found, name.text.lower(), tuple(arguments), line))
            height = max(height, other)
        else:
            return found, height
        height += 1


def _name(words: Words) -> Literal:
    """What stands behind a dot."""
    token = words.take()
    if token.word.isdigit():
        return Literal(int(token.word), token.line)
    if not token.word.isidentifier():
        raise TemplateError("the name of a member was expected after '.'", token.line)
    return Literal(token.word, token.line)


def _arguments(words: Words) -> tuple[list[Expression], int]:
    """What follows the name of a modifier: ``:a:b`` or ``(a, b)``."""
    found, height = [], 0
    if words.skip("("):
        while not words.skip(")"):
            one, other = _tall(words, 0)
            found.append(one)
            height = max(height, other)
            if not words.skip(","):
                words.expect(")")
                break
        return found, height
    while words.skip(":"):
        one, other = _modified(words, modifiers=False)
        found.append(one)
        height = max(height, other)
    return found, height


def _value(words: Words) -> tuple[Expression, int]:
    token = words.take()
    if token.kind == "variable":
        return _counted(words, Variable(token.text, token.line)), 1
    if token.kind == "string":
        return Literal(token.text, token.line), 1
    if token.kind == "number":
        return Literal(_number(token.text), token.line), 1
    if token.text == "-" and words.peek().kind == "number":
        return Literal(-_number(words.take().text), token.line), 1
    if token.text == "(":
        found, height = _tall(words, 0)
        words.expect(")")
        return found, height
    constant = _CONSTANTS.get(token.text.lower()) if token.kind == "name" else None
    if constant is None:
        raise words.wrong("a value was expected", 1)
    return Literal(constant, token.line), 1


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)
