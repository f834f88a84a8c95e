"""The spans of a trace as a tree: who called whom, how long it took, and how long of that was its own.

    own time = its time - the time in which at least one child was running      (children may overlap: threads)

The slow step is the one with much time of its own; its parents are slow only because of it.
Book 9.4 데이터 로깅.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from minillm._checks import check_int
from minillm.apps.tracing import names
from minillm.apps.tracing.span_file import SpanRecord, check_records

BAR = 20  # characters of a line's bar
MISSING = "(a step that has not ended, or in which the process died)"


@dataclass
class Node:
    """A span and its children, the earliest first. missing_parent: it has a parent that was never written, because that
    step has not ended, or the process died in it."""

    record: SpanRecord
    children: list[Node] = field(default_factory=list)
    missing_parent: bool = False


def trace_tree(records: Sequence[SpanRecord]) -> list[Node]:
    """The first spans of all traces, the earliest first, each with all that is below it.

    ValueError for what is no list of SpanRecords: `read_trace(path).records`, `tracer.kept`.
    """
    check_records(records)
    nodes = {(one.trace_id, one.span_id): Node(one) for one in records}
    roots: list[Node] = []
    for (trace, _), node in nodes.items():
        parent = node.record.parent_id
        above = None if parent is None else nodes.get((trace, parent))
        node.missing_parent = parent is not None and above is None
        (roots if above is None else above.children).append(node)
    reached = {id(node) for root in roots for _, node in walk([root])}
    for node in nodes.values():  # a damaged file may hold a ring: it is cut open
        if id(node) not in reached:
            above = nodes[node.record.trace_id, node.record.parent_id]
            above.children = [one for one in above.children if one is not node]
            node.missing_parent = True
            roots.append(node)
            reached |= {id(one) for _, one in walk([node])}
    for node in nodes.values():
        node.children.sort(key=_begin)
    return sorted(roots, key=_begin)


def families(records: Sequence[SpanRecord]) -> list[list[Node]]:
    """The roots of `trace_tree`, those together that share a parent which was never written."""
    found: dict[tuple[str, str], list[Node]] = {}
    for root in trace_tree(records):
        one = root.record
        found.setdefault((one.trace_id, one.parent_id if root.missing_parent else one.span_id), []).append(
            root
        )
    return list(found.values())


def _begin(node: Node) -> tuple[int, int]:
    return node.record.start, -node.record.end


def walk(roots: Sequence[Node]) -> Iterator[tuple[tuple[bool, ...], Node]]:
    """Every node, parents first, with whether it and each one above it is the last child. No recursion: depth is the
    file's."""
    waiting = [((place == len(roots) - 1,), root) for place, root in enumerate(roots)][::-1]
    while waiting:
        path, node = waiting.pop()
        yield path, node
        last = len(node.children) - 1
        waiting += [((*path[-200:], place == last), one) for place, one in enumerate(node.children)][::-1]


def self_times(roots: Sequence[Node]) -> dict[str, float]:
    """span id -> seconds of its own."""
    return {node.record.span_id: own_seconds(node) for _, node in walk(roots)}


def own_seconds(node: Node) -> float:
    """The span's time in which no child was running."""
    covered, until = 0, node.record.start
    for child in sorted(node.children, key=_begin):
        begin, end = max(child.record.start, until), min(child.record.end, node.record.end)
        covered += max(0, end - begin)
        until = max(until, end)
    return max(0, node.record.end - node.record.start - covered) / 1e9


def slowest(records: Sequence[SpanRecord], count: int = 5) -> list[tuple[SpanRecord, float]]:
    """The spans with the most time of their own, and that time in seconds; `count` of them at most.

    ValueError for what is no list of SpanRecords, and a count below 0.
    """
    check_int("count", count, 0)
    rows = [(node.record, own_seconds(node)) for _, node in walk(trace_tree(records))]
    return sorted(rows, key=lambda row: (-row[1], row[0].start))[:count]


# --- in a terminal ---


def tree_lines(records: Sequence[SpanRecord], times: bool = True) -> Iterator[str]:
    """The tree as lines of text. times: False leaves out what differs from run to run."""
    for roots in families(records):
        spans = [node.record for _, node in walk(roots)]
        begin, end = min(one.start for one in spans), max(one.end for one in spans)
        top = 0 if roots[0].missing_parent else 1
        if roots[0].missing_parent:
            yield MISSING
        rows = [(_branches(path[top:]) + one_line(node.record.name, 60), node) for path, node in walk(roots)]
        width = min(60, max(_width(label) for label, _ in rows))
        for label, node in rows:
            line = label + " " * (width - _width(label))
            if times:
                line += f" {node.record.seconds * 1000:10,.1f} ms  {bar(node.record, begin, end)}"
            yield f"{line}  {facts(node.record)}".rstrip()


def facts(record: SpanRecord) -> str:
    """Tokens, documents, a stream that was closed, and what went wrong, in a few words."""
    found = record.attributes
    words = []
    if names.INPUT_TOKENS in found or names.OUTPUT_TOKENS in found:
        words.append(f"{found.get(names.INPUT_TOKENS, '?')} -> {found.get(names.OUTPUT_TOKENS, '?')} tokens")
    if isinstance(found.get(names.DOCUMENTS), list):
        words.append(f"{len(found[names.DOCUMENTS])} documents")
    if names.PIECES in found:
        words.append(f"{found[names.PIECES]} pieces")
    if names.CACHE_HIT in found:
        words.append(f"cache {found[names.CACHE_HIT]}")
    if found.get(names.CLOSED_EARLY):
        words.append("closed early")
    if record.status == "error":
        words.append(f"ERROR {found.get(names.ERROR, '')} {record.message}")
    return one_line(", ".join(map(str, words)), 160)


def bar(record: SpanRecord, begin: int, end: int, width: int = BAR) -> str:
    """Where in the trace the span lies, as a row of characters; at least one of them."""
    whole = max(1, end - begin)
    first = min(width - 1, width * (record.start - begin) // whole)
    last = max(first + 1, -(-width * (record.end - begin) // whole))
    return "·" * first + "█" * (last - first) + "·" * (width - last)


def one_line(text: str, limit: int) -> str:
    """As one line of at most so many characters; what would command the terminal is written out."""
    shown = "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _branches(path: tuple[bool, ...]) -> str:
    """(more to come, last) -> "│  └─ "."""
    shown = path[-20:]
    return "".join("   " if last else "│  " for last in shown[:-1]) + (
        "" if not path else "└─ " if path[-1] else "├─ "
    )


def _width(text: str) -> int:
    """Columns on the screen: a Hangul syllable takes two."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)
