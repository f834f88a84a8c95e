"""Rules on how a lesson teaches: proofs apart and with numbers, questions before answers, short shown source.

Each is a function from a notebook to the breaks it found, as in rules.py, which runs them. Where a rule has to guess
(is this collection empty?) it looks only at the text of the cells, and its message says how to satisfy it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minillm.course.lessons import notebooks
from minillm.course.lessons.notebooks import (
    find_exercises,
    numbered,
    output_texts,
    source,
    tags,
    tree,
)
from minillm.course.lessons.terms import glossary_problems
from minillm.course.page.needs import TAG, missing, names_of

Notebook = dict[str, Any]
MOST_SHOWN_LINES = 25
MOST_PARAMETERS = 8
LEAST_QUESTIONS = 2
TRUTH = re.compile(r"(?:^|[\s:=,(])(?:True|False)[.!]?$", re.MULTILINE)
TRUE_CALLS = {
    "all", "any", "bool", "isinstance", "equal", "allclose", "isclose", "array_equal", "issubset", "issuperset",
    "startswith", "endswith", "exists", "is_file", "is_dir", "isdisjoint",
}  # fmt: skip
WRAPPERS = {
    "zip",
    "enumerate",
    "sorted",
    "reversed",
    "pairwise",
    "list",
    "tuple",
    "set",
    "map",
    "product",
    "range",
}
SIZES = {"numel", "shape", "size", "ndim"}


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def calls(node: ast.AST, name: str) -> bool:
    """Whether a function of that name, and no method, is called anywhere in the code."""
    return any(
        isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id == name
        for one in ast.walk(node)
    )


def _is_exercise(cell: dict[str, Any]) -> bool:
    return "nbgrader" in cell.get("metadata", {}) or notebooks.HIDDEN_TESTS[0] in source(cell)


def is_assert(node: ast.AST) -> bool:
    """An assert statement, or a call such as torch.testing.assert_close."""
    return isinstance(node, ast.Assert) or (
        isinstance(node, ast.Call) and _name(node.func).startswith("assert_")
    )


# --- proofs ---


def proofs(notebook: Notebook, path: Path) -> Iterator[str]:
    """Asserts stand in cells tagged prove, which show a number and are compared."""
    for number, cell in numbered(notebook):
        if _is_exercise(cell):
            continue
        has = any(map(is_assert, ast.walk(tree(cell))))
        if notebooks.PROVE not in tags(cell):
            if has:
                yield f"cell {number} asserts: move the assert into a cell tagged prove"
            continue
        if not has:
            yield f"cell {number} is tagged prove but asserts nothing"
        if notebooks.IGNORE in tags(cell):
            yield f"cell {number} is a proof: it must be compared, without the tag {notebooks.IGNORE}"
        ran = cell.get("execution_count") is not None
        if ran and not any(re.search(r"\d", text) for _, text in output_texts(cell)):
            yield f"cell {number} is a proof without a number: print the largest difference, or how many were tried"


def truths(notebook: Notebook, path: Path) -> Iterator[str]:
    """No output says True or False: a reader learns from a number, not from a verdict."""
    for number, cell in numbered(notebook):
        if _is_exercise(cell):
            continue
        kinds = [(kind, text) for kind, text in output_texts(cell) if kind in {"stdout", "text/plain"}]
        shown = next((one for _, text in kinds for one in text.split("\n") if TRUTH.search(one)), None)
        said = next(filter(_is_truth, _said(tree(cell))), None)
        if shown is not None or said is not None:
            what = repr(shown) if shown is not None else f"the value of {ast.unparse(said)!r}"
            yield f"cell {number} prints {what[:100]}: show the numbers that were compared"


def _said(code: ast.Module) -> Iterator[ast.expr]:
    """What a cell prints: the arguments of print and display, the fields of f-strings in them, its last value."""
    for node in ast.walk(code):
        if isinstance(node, ast.Call) and _name(node.func) in {"print", "display"}:
            for argument in node.args:
                yield argument
                if isinstance(argument, ast.JoinedStr):
                    yield from (one.value for one in argument.values if isinstance(one, ast.FormattedValue))
    if code.body and isinstance(code.body[-1], ast.Expr):
        yield code.body[-1].value


def _is_truth(value: ast.expr) -> bool:
    if isinstance(value, ast.Compare):
        return True
    if isinstance(value, ast.Constant):
        return isinstance(value.value, bool)
    if isinstance(value, ast.BoolOp):
        return all(map(_is_truth, value.values))
    if isinstance(value, ast.UnaryOp):
        return isinstance(value.op, ast.Not)
    return isinstance(value, ast.Call) and _name(value.func) in TRUE_CALLS


def empty_proofs(notebook: Notebook, path: Path) -> Iterator[str]:
    """A claim about all of a collection also shows that the collection is not empty."""
    filled = _filled_names(notebook)
    for number, cell in numbered(notebook):
        if _is_exercise(cell):
            continue
        code = tree(cell)
        counted = _counted_names(code)
        for over in _asserted_collections(code):
            names = _roots(over)
            if not _is_filled(over, filled) and not names & counted:
                what = ast.unparse(over)
                yield (
                    f"cell {number} asserts about every one of {what}, which may be empty: "
                    f"assert or print len({sorted(names)[0] if names else '...'}) in the same cell"
                )


def _asserted_collections(code: ast.Module) -> Iterator[ast.expr]:
    """What the asserts of a cell run over: all(...), not any(...), x.all(), and for loops with an assert inside."""
    for node in ast.walk(code):
        if isinstance(node, ast.For) and any(is_assert(one) for one in ast.walk(node)):
            yield node.iter
        if not isinstance(node, ast.Assert):
            continue
        denied = {
            id(one.operand) for one in ast.walk(node.test) if isinstance(one, ast.UnaryOp)
        }  # not any(...)
        for call in ast.walk(node.test):
            if not isinstance(call, ast.Call):
                continue
            if _name(call.func) != "all" and not (_name(call.func) == "any" and id(call) in denied):
                continue
            if isinstance(call.func, ast.Attribute) and not call.args:  # (x > 0).all()
                yield call.func.value
            elif call.args and isinstance(call.args[0], (ast.GeneratorExp, ast.ListComp, ast.SetComp)):
                yield from (one.iter for one in call.args[0].generators)
            elif call.args:
                yield call.args[0]


def _roots(value: ast.expr) -> set[str]:
    """The variables a collection is made from: `zip(a, b.items())` -> {a, b}."""
    return {one.id for one in ast.walk(value) if isinstance(one, ast.Name)} - WRAPPERS


def _counted_names(code: ast.Module) -> set[str]:
    """Variables whose length is taken, printed or asserted in a cell."""
    counted: set[str] = set()
    for node in ast.walk(code):
        if isinstance(node, ast.Call) and _name(node.func) == "len":
            counted |= set().union(*map(_roots, node.args))
        if isinstance(node, ast.Attribute) and node.attr in SIZES:
            counted |= _roots(node.value)
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Name):  # assert found
            counted.add(node.test.id)
    return counted


def _filled_names(notebook: Notebook) -> set[str]:
    """Variables that every assignment of the lesson gives a literal with something in it."""
    filled: set[str] = set()
    other: set[str] = set()
    for _, cell in numbered(notebook):
        for node in ast.walk(tree(cell)):
            if isinstance(node, ast.Assign):
                names = {
                    one.id for target in node.targets for one in ast.walk(target) if isinstance(one, ast.Name)
                }
                whole = all(isinstance(target, ast.Name) for target in node.targets)
                (filled if whole and _is_filled(node.value, set()) else other).update(names)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del):
                other.add(node.id)
            elif isinstance(node, (ast.AugAssign, ast.For, ast.NamedExpr, ast.withitem)):
                target = getattr(node, "target", None) or getattr(node, "optional_vars", None)
                if not isinstance(node, ast.AugAssign) and target is not None:
                    other |= {one.id for one in ast.walk(target) if isinstance(one, ast.Name)}
    return filled - other


def _is_filled(value: ast.expr, filled: set[str]) -> bool:
    """Whether the text alone shows that a collection has something in it."""
    if isinstance(value, (ast.List, ast.Tuple, ast.Set)):
        return any(not isinstance(one, ast.Starred) for one in value.elts)
    if isinstance(value, ast.Dict):
        return any(key is not None for key in value.keys)
    if isinstance(value, ast.Constant):
        return isinstance(value.value, (str, bytes)) and bool(value.value)
    if isinstance(value, ast.Name):
        return value.id in filled
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        return _is_filled(value.left, filled) or _is_filled(value.right, filled)
    if not isinstance(value, ast.Call):
        return False
    name, arguments = _name(value.func), value.args
    if name == "range":
        numbers = [one.value for one in arguments if isinstance(one, ast.Constant)]
        return len(numbers) == len(arguments) and len(range(*numbers)) > 0
    if name in {"items", "values", "keys", "split"} and isinstance(value.func, ast.Attribute):
        return _is_filled(value.func.value, filled)
    if not isinstance(value.func, ast.Name) or name not in WRAPPERS - {"pairwise"}:  # one thing makes no pair
        return False
    inner = [_is_filled(one, filled) for one in arguments[name == "map" :]]
    strict = any(keyword.arg == "strict" for keyword in value.keywords)  # one as long as the other
    return any(inner) if strict else bool(inner) and all(inner)


# --- questions ---


def predictions(notebook: Notebook, path: Path) -> Iterator[str]:
    """At least two questions before results; each is asked without a guess, and answered after a cell found out."""
    cells = numbered(notebook)
    asked = [index for index, (_, cell) in enumerate(cells) if notebooks.PREDICT in tags(cell)]
    if len(asked) < LEAST_QUESTIONS:
        yield f"a lesson has at least {LEAST_QUESTIONS} questions to its reader (tag predict), this one {len(asked)}"
    for index, (number, cell) in enumerate(cells):
        if calls(tree(cell), "predict") and index not in asked and not _is_exercise(cell):
            yield f"cell {number} calls predict: tag it predict"
    for position, index in enumerate(asked):
        number, cell = cells[index]
        guess = _blank_guess(tree(cell))
        if guess is None:
            yield f"cell {number} must assign '...' to its guess and end in predict(question, guess, options)"
            continue
        until = asked[position + 1] if position + 1 < len(asked) else len(cells)
        answered = [
            later for later in range(index + 1, len(cells)) if guess in _revealed(tree(cells[later][1]))
        ]
        if not answered:
            yield f"cell {number} asks, and no later cell answers with reveal({guess}, ...)"
        elif answered[0] == index + 1:
            yield f"cell {number} is answered at once: let a cell between find out, then reveal({guess}, ...)"
        elif answered[0] > until and guess in map(_blank_guess, [tree(cells[until][1])]):
            yield f"cell {number} is answered after {guess} was asked for again"


def _blank_guess(code: ast.Module) -> str | None:
    """The name of the guess in a cell `guess = ...`, `predict(question, guess, ...)`; None when it is none."""
    blank = {
        target.id
        for node in code.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is ...
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    last = code.body[-1] if code.body else None
    if (
        not isinstance(last, ast.Expr)
        or not isinstance(last.value, ast.Call)
        or _name(last.value.func) != "predict"
    ):
        return None
    passed = [*last.value.args, *(keyword.value for keyword in last.value.keywords)]
    return next((one.id for one in passed if isinstance(one, ast.Name) and one.id in blank), None)


def _revealed(code: ast.Module) -> set[str]:
    return {
        node.args[0].id
        for node in ast.walk(code)
        if isinstance(node, ast.Call)
        and _name(node.func) == "reveal"
        and node.args
        and isinstance(node.args[0], ast.Name)
    }


# --- source ---


def shown_source(notebook: Notebook, path: Path) -> Iterator[str]:
    """What is shown fits on the page: at most 25 lines a cell, all its pieces together, and 8 parameters a piece."""
    for number, cell in numbered(notebook):
        if not calls(tree(cell), "show"):
            continue
        markdown = [text for kind, text in output_texts(cell) if kind == "text/markdown"]
        pieces = [piece for text in markdown for piece in _fenced(text)]
        found = [one for language, code in pieces for one in _too_much(language, code)]
        total = sum(len(_lines(language, code)) for language, code in pieces)
        if not found and total > MOST_SHOWN_LINES:
            found = [
                f"shows {total} lines in {len(pieces)} pieces, at most {MOST_SHOWN_LINES}: a cell for each"
            ]
        yield from (f"cell {number} {one}" for one in found)


def _fenced(markdown: str) -> list[tuple[str, str]]:
    return [
        (match["language"], match["code"])
        for match in re.finditer(
            r"^(?P<fence>`{3,})(?P<language>python|diff)\n(?P<code>.*?)\n(?P=fence)$", markdown, re.M | re.S
        )
    ]


def _lines(language: str, code: str) -> list[str]:
    """The lines that a reader has to take in; of a diff, what is no longer there does not count."""
    lines = code.split("\n")
    return [line[2:] for line in lines if not line.startswith("-")] if language == "diff" else lines


def _too_much(language: str, code: str) -> Iterator[str]:
    lines = _lines(language, code)
    first = lines[0].strip()
    if len(lines) > MOST_SHOWN_LINES:
        yield (
            f"shows {len(lines)} lines from {first!r} on, at most {MOST_SHOWN_LINES}: core=True, methods=, part=, "
            "or split the thing"
        )
    try:
        shown = ast.parse("\n".join(lines))
    except SyntaxError:  # a diff with gaps
        return
    for node in ast.walk(shown):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = node.args
            named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            named += [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
            count = len([one for one in named if one.arg not in {"self", "cls"}])
            if count > MOST_PARAMETERS:
                yield f"shows {node.name} with {count} parameters, at most {MOST_PARAMETERS}: part=, or split it"


# --- the end of a lesson ---


def optional_parts(notebook: Notebook, path: Path) -> Iterator[str]:
    """Cells tagged needs-NAME close the lesson, and nothing depends on them."""
    seen: list[int] = []
    given: dict[str, set[str]] = {}  # a variable -> the NAMEs without which it does not exist
    for number, cell in numbered(notebook):
        names, code = names_of(tags(cell)), tree(cell)
        if not names:
            if seen:
                yield f"cell {number} has code after the optional cell {seen[0]}: optional parts close a lesson"
            continue
        seen.append(number)
        for name in names:
            try:
                missing(name)
            except ValueError as error:
                yield f"cell {number} has tag {TAG}{name}: {error}"
        if _needed(code) != set(names):
            wanted = ", ".join(f'"{name}"' for name in names)
            yield f"cell {number} must be one 'if needs({wanted}):' and nothing beside it"
        used = {node.id for node in ast.walk(code) if isinstance(node, ast.Name)}
        for variable in sorted(used & set(given)):
            if lacking := given[variable] - set(names):
                yield f"cell {number} uses {variable}, which needs {', '.join(sorted(lacking))}: tag it so"
        for node in ast.walk(code):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                given.setdefault(node.id, set(names))


def _needed(code: ast.Module) -> set[str]:
    if len(code.body) != 1 or not isinstance(code.body[0], ast.If) or code.body[0].orelse:
        return set()
    test = code.body[0].test
    if not isinstance(test, ast.Call) or _name(test.func) != "needs":
        return set()
    return {one.value for one in test.args if isinstance(one, ast.Constant)}


def exercise_kinds(notebook: Notebook, path: Path) -> Iterator[str]:
    """One exercise builds the lesson's central object, one breaks it; each says which kind it is."""
    try:
        found = find_exercises(notebook)
    except ValueError:  # the rule `exercises` says so
        return
    for one in found:
        if not one.kind:
            yield f"exercise {one.id} must say its kind: ({' or '.join(notebooks.KINDS)}, {one.points} points)"
    for kind in ("build", "break"):
        if len(found) > 1 and kind not in [one.kind for one in found]:
            yield f"no exercise is a {kind} exercise: one builds the lesson's central object, one breaks it"


def glossary(notebook: Notebook, path: Path) -> Iterator[str]:
    """Each row of the glossary is the course's own entry, word for word."""
    for number, cell in enumerate(notebook["cells"], 1):
        if cell["cell_type"] == "markdown":
            for problem in glossary_problems(notebooks.glossary_of(source(cell))):
                yield f"cell {number}: {problem}"


RULES = (
    proofs,
    truths,
    empty_proofs,
    predictions,
    shown_source,
    optional_parts,
    exercise_kinds,
    glossary,
)
