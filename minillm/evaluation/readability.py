"""A rubric for code that is read by people, 0..1: the mean of five shares, each found in the text alone.

    spaces      operators, = and commas that have their spaces
    lines       lines that do one thing: at most one operation
    names       names of three letters and more (x and n may be short)
    indent      lines that are indented by four columns a level
    comments    operations that have a comment, one for each

It never runs the code and does not know whether it is right: a wrong program may read well. So it is one factor of the
true reward, and a tempting one to optimise alone.

Book: 4.2 채점 모델로 코드 가독성 높이기. Left out: everything a person would add.
"""

from __future__ import annotations

import ast
import io
import tokenize
import warnings

from minillm._checks import check_flag, check_text

LONGEST = 20_000  # characters that are read
SHORT_NAMES = {"x", "n"}
_SPACED = {
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "=",
    "==",
    "<",
    ">",
    "<=",
    ">=",
    "!=",
    "+=",
    "-=",
    "*=",
    "//=",
    "%=",
    "/=",
}


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code)
        tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return {}
    operations = _operations(tree)
    if not operations:
        return {}
    comments = sum(token.type == tokenize.COMMENT for token in tokens)
    return {
        "spaces": _spaces(tokens),
        "lines": _one_a_line(operations),
        "names": _names(tree),
        "indent": _indents(tokens),
        "comments": min(1.0, comments / len(operations)),
    }


def _operations(tree: ast.Module) -> list[int]:
    """The line of each operation; a distance, `abs(x - 3)`, is one."""
    kinds = (ast.BinOp, ast.AugAssign, ast.Call, ast.Compare)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    within = {id(node.args[0]) for node in nodes if _is_distance(node)}
    return sorted(node.lineno for node in nodes if id(node) not in within)


def _is_distance(node: ast.AST) -> bool:
    """`abs(a - b)` of plain a and b."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "abs"):
        return False
    inner = node.args[0] if len(node.args) == 1 else None
    return isinstance(inner, ast.BinOp) and all(
        isinstance(s, (ast.Name, ast.Constant)) for s in (inner.left, inner.right)
    )


def _spaces(tokens: list[tokenize.TokenInfo]) -> float:
    right = wrong = 0
    for before, token, after in zip(tokens, tokens[1:], tokens[2:]):
        if token.type != tokenize.OP or token.string not in (*_SPACED, ","):
            continue
        if token.string in ("-", "+") and (before.type == tokenize.OP and before.string not in (")", "]")):
            continue  # a sign
        gaps = token.start[1] - before.end[1], after.start[1] - token.end[1]
        good = gaps == (0, 1) if token.string == "," else gaps == (1, 1)
        right, wrong = right + good, wrong + (not good)
    return right / (right + wrong) if right + wrong else 1.0


def _one_a_line(operations: list[int]) -> float:
    lines = set(operations)
    return sum(operations.count(line) == 1 for line in lines) / len(lines)


def _names(tree: ast.Module) -> float:
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    names |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
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
