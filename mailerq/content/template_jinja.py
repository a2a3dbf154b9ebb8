"""A template's tree as a template of Jinja2, which compiles and runs it.

The tree becomes Jinja2's own syntax tree, never its text: nothing that stands in a template can be taken for a tag of
Jinja2. Each operation becomes a filter, which is given the state of the rendering and counts what it costs. Jinja2's
sandbox is there besides: no filter gives out anything but text, numbers, lists and dicts.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mailerq.content import template_values as values
from mailerq.content.template_budget import Budget, TemplateError
from mailerq.content.template_modifiers import MODIFIERS, Modifier, most_arguments
from mailerq.content.template_patterns import found_in
from mailerq.content.template_tree import (
    Assign,
    Expression,
    If,
    Literal,
    Member,
    Modified,
    Not,
    Show,
    Statement,
    Text,
    Tree,
    Variable,
)

if TYPE_CHECKING:
    from jinja2 import Environment, Template
    from jinja2.runtime import Context

_STATE = "state"
_FILE = "<template>"
_COUNTED_AT_ONCE = 5_000  # characters


class State:
    """One rendering: the variables, the budget, and how a text is written where it goes."""

    __slots__ = ("budget", "show", "variables")

    def __init__(self, variables: dict[str, Any], budget: Budget, show: Any) -> None:
        self.variables = variables
        self.budget = budget
        self.show = show


def _variable(context: Context, name: str) -> Any:
    state = context.parent[_STATE]
    state.budget.take()
    return state.variables.get(name)


def _member(context: Context, of: Any, key: Any) -> Any:
    budget = context.parent[_STATE].budget
    budget.take()
    return values.member(budget, of, key)


def _show(context: Context, value: Any) -> str:
    state = context.parent[_STATE]
    text: str = state.show(values.text_of(value))
    state.budget.take(1 + len(text) // 200)  # the text itself is counted with all else that goes out
    return text


def _truth(context: Context, value: Any) -> bool:
    context.parent[_STATE].budget.take()
    return values.truth_of(value)


def _operation(context: Context, left: Any, sign: str, right: Any) -> Any:
    budget = context.parent[_STATE].budget
    budget.take()
    if sign == "=~":
        return found_in(budget, values.text_of(left), values.text_of(right))
    if sign in "+-*/%":
        return values.arithmetic(sign, left, right)
    return values.compare(budget, sign, left, right)


def _assign(context: Context, value: Any, name: str) -> None:
    state = context.parent[_STATE]
    state.budget.take()
    state.variables[name] = value


def _each(context: Context, of: Any, key: str, name: str) -> Iterator[None]:
    """Sets the variables of a loop, once for each of a list's members."""
    state = context.parent[_STATE]
    state.budget.take()
    members: Any = of.items() if isinstance(of, dict) else enumerate(of) if isinstance(of, list) else ()
    for its_key, value in members:
        state.budget.take(2)
        state.variables[name] = value
        if key:
            state.variables[key] = its_key
        yield None


def _modifier(modifier: Modifier) -> Any:
    def modified(context: Context, value: Any, *arguments: Any) -> Any:
        budget = context.parent[_STATE].budget
        budget.take(2)
        return modifier(budget, value, *arguments)

    return modified


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import pass_context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(autoescape=False, cache_size=0, auto_reload=False)
    ours: dict[str, Callable[..., Any]] = {
        "variable": _variable,
        "member": _member,
        "show": _show,
        "truth": _truth,
        "operation": _operation,
    }
    ours |= {"assign": _assign, "each": _each}
    ours |= {f"modifier_{name}": _modifier(modifier) for name, modifier in MODIFIERS.items()}
    environment.filters = {name: pass_context(function) for name, function in ours.items()}
    environment.globals = {}
    environment.tests = {}
    return environment


def compiled(tree: Tree) -> Template:
    """The tree as a template of Jinja2. Raises TemplateError."""
    from jinja2 import Template, nodes

    environment = _environment()
    root = nodes.Template(_Translation().body(tree.statements), lineno=1)
    root.set_environment(environment)
    try:
        code = environment.compile(root, None, _FILE)
    except (RecursionError, SyntaxError, MemoryError) as error:
        raise TemplateError(f"is nested too deeply: {type(error).__name__}") from None
    return Template.from_code(environment, code, {})


def rendered(template: Template, state: State) -> str:
    """What a template makes. Raises TemplateError, with its line."""
    context = template.new_context({_STATE: state})
    pieces = []
    size = 0
    try:
        for piece in template.root_render_func(context):
            pieces.append(piece)
            size += len(piece)
            if size > _COUNTED_AT_ONCE:
                state.budget.make(size)
                size = 0
        state.budget.make(size)
    except TemplateError as error:
        if not error.line:
            error.line = _line(template, error)
        raise
    return "".join(pieces)


def _line(template: Template, error: TemplateError) -> int:
    """Where in a template an error arose."""
    lines = [number for frame, number in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == _FILE]
    return template.get_corresponding_lineno(lines[-1]) if lines else 0


class _Translation:
    """Our tree, as Jinja2's."""

    def __init__(self) -> None:
        from jinja2 import nodes

        self._nodes: Any = nodes

    def body(self, statements: Sequence[Statement]) -> list[Any]:
        """Statements, texts and values that follow each other as one output."""
        return [self._statement(statement) for statement in statements]

    def _statement(self, one: Statement) -> Any:
        nodes = self._nodes
        if isinstance(one, Text):
            return nodes.Output([nodes.TemplateData(one.text, lineno=one.line)], lineno=one.line)
        if isinstance(one, Show):
            return nodes.Output([self._filter("show", one.what, (), one.line)], lineno=one.line)
        if isinstance(one, Assign):
            name = nodes.Const(one.name, lineno=one.line)
            return nodes.ExprStmt(self._filter("assign", one.what, (name,), one.line), lineno=one.line)
        if isinstance(one, If):
            return self._if(one)
        names = [nodes.Const(name, lineno=one.line) for name in (one.key, one.value)]
        target = nodes.Name("_", "store", lineno=one.line)
        members = self._filter("each", one.of, names, one.line)
        body, otherwise = self.body(one.body), self.body(one.otherwise)
        return nodes.For(target, members, body, otherwise, None, False, lineno=one.line)

    def _if(self, one: If) -> Any:
        nodes = self._nodes
        made = [
            nodes.If(self._truth(condition), self.body(body), [], [], lineno=condition.line)
            for condition, body in one.branches
        ]
        made[0].elif_ = made[1:]
        made[0].else_ = self.body(one.otherwise)
        return made[0]

    def _truth(self, one: Expression) -> Any:
        return self._filter("truth", one, (), one.line)

    def _filter(self, name: str, of: Expression, arguments: Sequence[Any], line: int) -> Any:
        return self._nodes.Filter(self._expression(of), name, list(arguments), [], None, None, lineno=line)

    def _expression(self, one: Expression) -> Any:
        nodes = self._nodes
        if isinstance(one, Literal):
            return nodes.Const(one.value, lineno=one.line)
        if isinstance(one, Variable):
            name = nodes.Const(one.name, lineno=one.line)
            return nodes.Filter(name, "variable", [], [], None, None, lineno=one.line)
        if isinstance(one, Member):
            return self._filter("member", one.of, [self._expression(one.key)], one.line)
        if isinstance(one, Not):
            return nodes.Not(self._truth(one.of), lineno=one.line)
        if isinstance(one, Modified):
            if one.name not in MODIFIERS:
                raise TemplateError(f"there is no modifier {one.name[:40]!r}", one.line)
            given = [self._expression(argument) for argument in one.arguments[: most_arguments(one.name)]]
            return self._filter(f"modifier_{one.name}", one.of, given, one.line)
        if one.sign in ("and", "or"):
            kind = nodes.And if one.sign == "and" else nodes.Or
            return kind(self._truth(one.left), self._truth(one.right), lineno=one.line)
        sign = nodes.Const(one.sign, lineno=one.line)
        return self._filter("operation", one.left, [sign, self._expression(one.right)], one.line)
