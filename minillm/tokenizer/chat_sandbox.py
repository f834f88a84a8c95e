"""A chat template (채팅 템플릿) is a program of a stranger: it may read the messages, write text, and nothing else.

    template, names -> text          the jinja that transformers renders, to the letter, with three fences around it

1. No way out. jinja's sandbox, and of the methods of texts, lists and dicts only the named ones. `include`, `import`,
   `extends` and `block` are refused by name, so no file is read.
2. No endless work. Every pass of a loop, call, filter, comparison and piece of output spends from one `Budget` of
   steps, characters and seconds; what makes a value grow (+ * ** % ~, replace, join, ...) pays before it is done.
   Budgets are counted inside the template's own compiled code, so they hold on every system and in every thread.
3. Plain data only. Messages are rebuilt of dicts, lists, texts and numbers before a template sees them.

Held against: transformers' own renderer, which has the first and the third fence and not the second.
Leaves out: filters that no chat needs (`REFUSED_FILTERS`), `lipsum`, tools given as Python functions.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, Sized, ValuesView
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.runtime import LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Cycler, Joiner, Namespace, pass_context
from jinja2.visitor import NodeTransformer

STEPS, CHARACTERS, SECONDS = 300_000, 4_000_000, 10.0
EACH = 64  # further characters for each that the messages have, and steps for each 16 of them
LONGEST_TEMPLATE, LARGEST_NUMBER, MOST_BITS = 1 << 17, 10_000, 8192
REFUSED_FILTERS = (
    "attr", "center", "filesizeformat", "forceescape", "pprint", "random", "striptags", "sum", "urlencode", "urlize",
    "wordwrap", "xmlattr",
)  # fmt: skip
_LAZY = (  # they look at the elements of a list, not at what is inside of these
    "batch", "count", "d", "default", "first", "items", "last", "length", "list", "map", "reject", "rejectattr",
    "reverse", "select", "selectattr", "slice",
)  # fmt: skip
_TEXT = """capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit islower isnumeric
isspace istitle isupper join lower lstrip partition removeprefix removesuffix replace rfind rindex rpartition rsplit
rstrip split splitlines startswith strip swapcase title upper"""
METHODS: dict[type, frozenset[str]] = {
    str: frozenset(_TEXT.split()),
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
}
_HOLDERS = (list, tuple, set, frozenset, KeysView, ValuesView, ItemsView)
_OPEN = (
    LoopContext,
    Namespace,
    Cycler,
    Joiner,
    Macro,
)  # objects of jinja's own, whose attributes are all meant to be read
_WIDTH = re.compile(
    r"[%{][^%{}]*\d{5}|%[^%a-zA-Z]*\*|\{[^{}]*\{"
)  # a width of five digits, or one that is computed


class TooMuch(Exception):
    """A template wants more steps, characters or seconds than it gets."""


class Budget:
    """What one rendering may still spend."""

    def __init__(self, given: int) -> None:
        """given: characters of the messages."""
        self.steps = STEPS + given // 16
        self.characters = CHARACTERS + EACH * given
        self.end = time.monotonic() + SECONDS

    def spend(self, characters: int = 0) -> None:
        """One step that touches so many characters; TooMuch where nothing is left."""
        self.steps -= 1
        self.characters -= characters
        if self.steps < 0 or self.characters < 0:
            raise TooMuch("it loops, calls or grows without end")
        if time.monotonic() > self.end:
            raise TooMuch(f"it takes more than {SECONDS:g} seconds")

    def spend_all_of(self, *values: Any, times: int = 1) -> None:
        """One step that touches all that is in `values`, so many times."""
        self.spend(times * size_of(values, self.characters))


_BUDGET: ContextVar[Budget] = ContextVar("budget")


def size_of(value: Any, most: int) -> int:
    """Characters, numbers and elements in a value, nested ones counted wherever they stand; counts no further than
    about `most`, so that a list that holds itself, or 2**60 times the same one, takes no time."""
    total, rest = 0, [value]
    while rest and total <= most:
        one = rest.pop()
        total += 1
        if isinstance(one, (str, bytes)):
            total += len(one)
        elif isinstance(one, int):
            total += one.bit_length() // 8
        elif isinstance(one, Mapping):
            total += 2 * len(one)
            rest += [*one.keys(), *one.values()]
        elif isinstance(one, _HOLDERS):
            total += len(one)
            rest += one
    return total


# --- the environment -----------------------------------------------------------------------------------------------


class Sandbox(ImmutableSandboxedEnvironment):
    """transformers' jinja environment, in which everything is paid for."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols], optimized=False
        )
        for name in REFUSED_FILTERS:
            del self.filters[name]
        self.filters = {name: _paid(name, work) for name, work in self.filters.items()} | {
            "tojson": _paid("tojson", _tojson), "paid_text": _paid_text, "paid_each": _paid_each,
            "paid_join": _paid_join, "paid_value": _paid_value, "paid_operand": _paid_operand,
        }  # fmt: skip
        self.tests = {name: _paid(name, work) for name, work in self.tests.items()}
        self.globals = {
            "range": safe_range, "dict": _new_dict, "namespace": _PlainNamespace, "cycler": Cycler, "joiner": Joiner,
            "raise_exception": _raise_exception, "strftime_now": _strftime_now,
        }  # fmt: skip

    def _generate(self, source: nodes.Template, *args: Any, **options: Any) -> str:
        """jinja's hook between a template's tree and its code: where the fences are put in."""
        return super()._generate(_Fences().visit(source), *args, **options)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if not super().is_safe_attribute(obj, attr, value):
            return False
        known = next((names for kind, names in METHODS.items() if isinstance(obj, kind)), frozenset())
        return attr in known or isinstance(obj, _OPEN)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refused where it is asked for; jinja would print nothing as long as nothing is done with it."""
        raise jinja2.exceptions.SecurityError(
            f"access to attribute {attribute!r} of {type(obj).__name__!r} object is unsafe"
        )

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        work = super().wrap_str_format(value)
        if work is None:
            return None

        def format(*args: Any, **options: Any) -> str:
            _pay_format(value.__self__, args, options)
            return work(*args, **options)

        return format

    def call(__self, __context: Any, __obj: Any, *args: Any, **options: Any) -> Any:
        budget, owner = _BUDGET.get(), getattr(__obj, "__self__", None)
        name = getattr(__obj, "__name__", "")
        if isinstance(__obj, (Macro, LoopContext)) or isinstance(owner, Mapping):
            budget.spend()
        elif isinstance(owner, str):
            args = _pay_method(name, owner, args, options)
        else:
            budget.spend_all_of(owner, args, options)
        return super().call(__context, __obj, *args, **options)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _pay_operator(operator, left, right)
        return super().call_binop(context, operator, left, right)


class _Fences(NodeTransformer):
    """Puts what is paid for around the places of a template where work is done or a value is made."""

    def refuse(self, node: nodes.Node) -> nodes.Node:
        raise jinja2.TemplateSyntaxError(f"{type(node).__name__.lower()} is not allowed here", node.lineno)

    visit_Include = visit_Import = visit_FromImport = visit_Extends = visit_Block = refuse

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        self.generic_visit(node)
        texts = [nodes.Const(n.data) if isinstance(n, nodes.TemplateData) else n for n in node.nodes]
        node.nodes = [_filtered(text, "paid_text") for text in texts]
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "paid_each")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "paid_join")

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _filtered(node.expr, "paid_operand")
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, "paid_operand")
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, "paid_value") if isinstance(node.arg, nodes.Slice) else node

    def visit_List(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, "paid_value") if getattr(node, "ctx", "load") == "load" else node

    visit_Dict = visit_Tuple = visit_List


def _filtered(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class _Generation(Extension):
    """`{% generation %}`, which marks what the assistant said: its text is rendered, the mark is not kept."""

    tags: ClassVar = {"generation"}

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


# --- what is paid for ------------------------------------------------------------------------------------------------


@pass_context
def _paid_text(context: Any, value: Any) -> Any:
    """What a template writes."""
    _BUDGET.get().spend_all_of(value)
    return value


@pass_context
def _paid_value(context: Any, value: Any) -> Any:
    """A new list, dict, tuple or slice. What is hashed pays for its inside, too."""
    length = len(value) if isinstance(value, list) else size_of(value, _BUDGET.get().characters)
    _BUDGET.get().spend(length)
    return value


@pass_context
def _paid_operand(context: Any, value: Any) -> Any:
    """One side of a comparison: lists are compared through and through, texts fast."""
    if isinstance(value, (list, tuple, Mapping)):
        _BUDGET.get().spend_all_of(value)
    else:
        _BUDGET.get().spend(len(value) // EACH if isinstance(value, str) else 0)
    return value


@pass_context
def _paid_join(context: Any, values: list[Any]) -> str:
    """`a ~ b`"""
    _BUDGET.get().spend_all_of(values)
    return "".join(map(str, values))


@pass_context
def _paid_each(context: Any, values: Any) -> Any:
    return values if isinstance(values, Undefined) else _Each(values)


class _Each:
    """What a loop goes through, a step for each pass."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)  # a TypeError where it has none, as jinja expects

    def __iter__(self) -> Iterator[Any]:
        for value in self.values:
            _BUDGET.get().spend()
            yield value


def _paid(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """A filter or a test of jinja's, paid for before it works."""
    kind = getattr(work, "jinja_pass_arg", None)

    @pass_context
    def paid(context: Any, value: Any = None, *args: Any, **options: Any) -> Any:
        budget = _BUDGET.get()
        if name in _LAZY:
            budget.spend(len(value) if isinstance(value, Sized) else 0)
        elif isinstance(value, Iterator):
            value = list(value)
        sizes = [one for one in (*args, *options.values()) if isinstance(one, int)]
        if any(abs(one) > LARGEST_NUMBER for one in sizes):
            raise TooMuch(f"{name} is asked for {max(map(abs, sizes)):,}")
        if name in ("format", "replace", "join"):
            budget.spend()
            _pay_method(name, value, args, options)
        elif name in ("int", "float") and isinstance(value, str) and len(value) > LARGEST_NUMBER // 4:
            raise TooMuch(f"{name} of a text of {len(value):,} characters")
        elif name in ("batch", "slice"):
            budget.spend(sum(map(abs, sizes)))
        elif name not in _LAZY:
            budget.spend_all_of(value, args, options, times=1 + sum(map(abs, sizes)))
        front = {
            "context": [context],
            "eval_context": [context.eval_ctx],
            "environment": [context.environment],
        }
        found = work(*front.get(getattr(kind, "name", ""), ()), value, *args, **options)
        if isinstance(found, (str, list)):
            budget.spend(len(found))
        return found

    return paid


def _pay_method(name: str, owner: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
    """A method of a text, or the filter of its name; the arguments, read once where they can be read only once."""
    budget, given = _BUDGET.get(), (*args, *options.values())
    if name == "format":
        _pay_format(owner, args, options)
    elif name == "join":  # "sep".join(list), or list|join("sep")
        if isinstance(owner, str) and args:
            args = (list(args[0]), *args[1:])
            budget.spend_all_of(args[0])
            budget.spend(len(owner) * len(args[0]))
        else:
            budget.spend_all_of(owner)
            budget.spend(size_of(given, budget.characters) * (len(owner) if isinstance(owner, Sized) else 1))
    elif name == "replace":
        old, new = (*given, "", "")[:2]
        many = str(owner).count(str(old)) if isinstance(old, str) else 0
        budget.spend(size_of(owner, budget.characters) + many * size_of(new, budget.characters))
    else:
        budget.spend_all_of(owner, given)
    return args


def _pay_format(text: Any, args: Any, options: Any) -> None:
    """`text % args` and `text.format(args)`: widths count as characters."""
    if not isinstance(text, str):
        return
    if _WIDTH.search(text):
        raise TooMuch(f"a text is to be filled up to a width that is computed or very large: {text[:40]!r}")
    widths = sum(map(int, re.findall(r"\d{1,4}", text))) if re.search(r"[%{]", text) else 0
    fields = 1 + text.count("%") + text.count("{")
    _BUDGET.get().spend(widths + len(text))
    _BUDGET.get().spend_all_of(args, options, times=fields)


def _pay_operator(operator: str, left: Any, right: Any) -> None:
    budget = _BUDGET.get()
    if isinstance(left, int) and isinstance(right, int):
        bits = (
            left.bit_length() * max(1, abs(right))
            if operator == "**"
            else left.bit_length() + right.bit_length()
        )
        if bits > MOST_BITS:
            raise TooMuch(f"a number of {bits:,} bits")
        budget.spend()
    elif operator == "%" and isinstance(left, str):
        _pay_format(left, right, ())
    elif operator == "*" and isinstance(right, int) and isinstance(left, Sized):
        budget.spend(len(left) * max(0, right))
    elif operator == "*" and isinstance(left, int) and isinstance(right, Sized):
        budget.spend(len(right) * max(0, left))
    elif isinstance(left, tuple):
        budget.spend_all_of(left, right)
    else:
        budget.spend(sum(len(side) for side in (left, right) if isinstance(side, Sized)))


# --- what a template may call ----------------------------------------------------------------------------------------


class _PlainNamespace(Namespace):
    """`namespace(...)`, whose names are no hidden ones, and which prints as itself, not as what it holds."""

    def __init__(*args: Any, **values: Any) -> None:
        self, given = args[0], dict(*args[1:], **values)
        for name in given:
            _check_plain(name)
        Namespace.__init__(self, given)

    def __setitem__(self, name: str, value: Any) -> None:
        Namespace.__setitem__(self, _check_plain(name), value)

    def __repr__(self) -> str:
        return "<Namespace>"


def _check_plain(name: str) -> str:
    if str(name).startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace has no name that begins with _, got {name!r}")
    return name


def _new_dict(*args: Any, **values: Any) -> dict[Any, Any]:
    return dict(*args, **values)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


class Raised(Exception):
    """What a template says by `raise_exception`."""


def _raise_exception(message: Any) -> None:
    raise Raised(str(message))


def _strftime_now(form: str) -> str:
    if re.search(r"\d{3}", form):
        raise TooMuch(f"a date of the form {form[:40]!r}")
    return datetime.now().strftime(form)


# --- from a template to a text ---------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _compiled(template: str) -> jinja2.Template:
    if len(template) > LONGEST_TEMPLATE:
        raise ValueError(f"it has {len(template):,} characters, at most {LONGEST_TEMPLATE:,} are read")
    return Sandbox().from_string(template)


def render(template: str, names: Mapping[str, Any]) -> str:
    """The text that a template makes of `names`, plain values each.

    Raises ValueError that begins with "chat template": what it calls `raise_exception` with, where and why it is
    refused (no jinja, import, include, a hidden attribute, endless work), or the error it runs into.
    """
    token = _BUDGET.set(Budget(size_of(list(names.values()), 1 << 40)))
    try:
        return _compiled(template).render(**names)
    except Raised as error:
        raise ValueError(f"chat template refuses the messages: {error}") from None
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"chat template is refused: line {error.lineno}: {error.message}") from None
    except RecursionError:
        raise ValueError("chat template is refused: it calls itself, or is nested, without end") from None
    except (TooMuch, jinja2.exceptions.SecurityError) as error:
        raise ValueError(f"chat template is refused: {error}") from None
    except Exception as error:  # a stranger's program may fail in any way
        raise ValueError(f"chat template fails: {type(error).__name__}: {error}") from None
    finally:
        _BUDGET.reset(token)
