"""A rubric for code that is read by people, 0..1: the mean of five shares, each found in the text alone.

    spaces      operators, = and commas that have their spaces
    lines       lines that do one thing: at most one operation
    names       names of three letters and more (x and n may be short)
    indent      lines that are indented by four columns a level
    comments    as many comments with a word in them as there are operations, wherever they stand

It never runs the code and does not know whether it is right: a wrong program may read well. So it is one factor of the
true reward, and a tempting one to optimise alone.

Book: 4.2 채점 모델로 코드 가독성 높이기. Left out: everything a person would add.
"""

from __future__ import annotations

import ast
import io
import keyword
import re
import tokenize

from minillm._checks import check_flag, check_text
from minillm.sandbox.syntax import quiet

LONGEST = 20_000  # characters that are read
_WORD = re.compile(r"[^\W\d_]{2}")
SHORT_NAMES = {"x", "n"}
_SPACED = {
    "+", "-", "*", "/", "//", "%", "=", "==", "<", ">", "<=", ">=", "!=", "+=", "-=", "*=", "//=", "%=", "/=",
}  # fmt: skip
_WITH_SPACES = _SPACED | {","}


def readability(code: str) -> float:
    """The rubric's mean, 0..1; 0 for a text that is no Python, has no operation, or more than 20,000 characters."""
    parts = rubric(code)
    return sum(parts.values()) / len(parts) if parts else 0.0


def true_reward(code: str, passed: bool) -> float:
    """0 for a program that failed, else how well it reads: first it must be right."""
    return readability(code) if check_flag("passed", passed) else 0.0


def rubric(code: str) -> dict[str, float]:
    """The five shares, each 0..1; {} where `readability` is 0 for a reason of its own."""
    if len(check_text("code", code)) > LONGEST:
        return {}
    try:
        with quiet():
            tree = ast.parse(code)
        tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return {}
    nodes = list(ast.walk(tree))
    operations = _operations(nodes)
    if not operations:
        return {}
    comments = sum(
        token.type == tokenize.COMMENT and _WORD.search(token.string) is not None for token in tokens
    )
    return {
        "spaces": _spaces(tokens),
        "lines": _one_a_line(operations),
        "names": _names(nodes),
        "indent": _indents(tokens),
        "comments": min(1.0, comments / len(operations)),
    }


def _operations(nodes: list[ast.AST]) -> list[int]:
    """The line of each operation; a distance, `abs(x - 3)`, is one."""
    kinds = (ast.BinOp, ast.AugAssign, ast.Call, ast.Compare)
    found = [node for node in nodes if isinstance(node, kinds)]
    within = {id(node.args[0]) for node in found if _is_distance(node)}
    return sorted(node.lineno for node in found if id(node) not in within)


def _is_distance(node: ast.AST) -> bool:
    """`abs(a - b)` of plain a and b."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "abs"):
        return False
    inner = node.args[0] if len(node.args) == 1 else None
    return isinstance(inner, ast.BinOp) and all(
        isinstance(s, (ast.Name, ast.Constant)) for s in (inner.left, inner.right)
    )


def _spaces(tokens: list[tokenize.TokenInfo]) -> float:
    right = wrong = depth = 0
    for before, token, after in zip(tokens, tokens[1:], tokens[2:]):
        depth += (token.string in "([{") - (token.string in ")]}") if token.type == tokenize.OP else 0
        if token.type != tokenize.OP or token.string not in _WITH_SPACES:
            continue
        value = before.type != tokenize.OP or before.string in (")", "]", "}")
        if token.string in ("-", "+", "*") and (not value or keyword.iskeyword(before.string)):
            continue  # a sign, as in `return -x`
        gaps = token.start[1] - before.end[1], after.start[1] - token.end[1]
        if token.string == ",":  # none at the end of a line, or in `(x,)`
            good = gaps[0] == 0 and (
                gaps[1] == 1 or after.type == tokenize.NL or after.string in (")", "]", "}")
            )
        elif token.string == "=" and depth:  # `key=f`; only after an annotation it has spaces
            good = gaps in ((0, 0), (1, 1))
        else:
            good = gaps == (1, 1)
        right, wrong = right + good, wrong + (not good)
    return right / (right + wrong) if right + wrong else 1.0


def _one_a_line(operations: list[int]) -> float:
    lines = set(operations)
    return sum(operations.count(line) == 1 for line in lines) / len(lines)


def _names(nodes: list[ast.AST]) -> float:
    names = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    names |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    names |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return sum(len(name) >= 3 or name in SHORT_NAMES for name in names) / len(names) if names else 1.0


def _indents(tokens: list[tokenize.TokenInfo]) -> float:
    """Each level by four columns more than the one around it; the share of levels."""
    columns, right, levels = [0], 0, 0
    for token in tokens:
        if token.type == tokenize.INDENT:
            levels += 1
            right += token.string.count("\t") == 0 and len(token.string) == columns[-1] + 4
            columns.append(len(token.string))
        elif token.type == tokenize.DEDENT:
            columns.pop()
    return right / levels if levels else 1.0
