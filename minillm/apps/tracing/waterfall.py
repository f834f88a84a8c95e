"""A trace as one HTML page: a waterfall (워터폴), each span a bar from its begin to its end, its values a click away.

The page needs nothing else: no script, no network (it forbids both to itself), so it can be sent by mail and opened
anywhere. All that comes from the trace is escaped: it holds what users typed and models wrote.
Book 9.4 데이터 로깅.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from minillm.apps.tracing.span_file import SpanRecord
from minillm.apps.tracing.tree import MISSING, Node, facts, families, own_seconds, walk

MOST = 2_000  # spans of a page
_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #222; background: #fff }
h2 { font-size: 1em; margin: 2em 0 .5em }
details { border-bottom: 1px solid #eee } summary { display: grid; grid-template-columns: 30% 8em 1fr; cursor: pointer }
summary:hover { background: #f6f8fa } .name { white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
.time { text-align: right; padding-right: 1em; font-variant-numeric: tabular-nums }
.lane { position: relative; min-height: 1.4em }
.bar { position: absolute; top: .25em; height: .9em; background: #4c78a8;
min-width: 2px; border-radius: 2px } .error .bar { background: #c0392b } .error .name { color: #c0392b }
.note { position: absolute; right: 0; font-size: 12px; color: #555; background: #fffc }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f6f8fa; padding: .7em; margin: .3em 0 .8em 2em }
"""
_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    "<title>{title}</title><style>{style}</style></head><body><h1>{title}</h1>\n"
)


def waterfall_page(records: Sequence[SpanRecord], title: str = "trace", most: int = MOST) -> str:
    """The page. Of more than `most` spans the first ones are shown, and it says how many are left out."""
    parts, shown = [_HEAD.format(title=_safe(title), style=_STYLE)], 0
    for roots in families(records):
        rows = list(walk(roots))[: max(0, most - shown)]
        if not rows:
            break
        shown += len(rows)
        every = [node.record for _, node in walk(roots)]
        begin, end = min(one.start for one in every), max(one.end for one in every)
        lost = f" · below {MISSING}" if roots[0].missing_parent else ""
        parts.append(f"<h2>{_safe(every[0].trace_id)} · {(end - begin) / 1e6:,.1f} ms{lost}</h2>\n")
        parts += [_row(node, len(path) - 1, begin, max(1, end - begin)) for path, node in rows]
    if len(records) > shown:
        parts.append(f"<p>{len(records) - shown:,} more spans are not shown.</p>\n")
    return "".join([*parts, "</body></html>\n"])


def _row(node: Node, depth: int, begin: int, whole: int) -> str:
    record = node.record
    left, width = 100 * (record.start - begin) / whole, 100 * (record.end - record.start) / whole
    kind = ' class="error"' if record.status == "error" else ""
    return (
        f"<details{kind}><summary>"
        f'<span class="name" style="padding-left:{min(depth, 20) * 1.2:.1f}em">{_safe(record.name)}</span>'
        f'<span class="time">{record.seconds * 1000:,.1f} ms</span>'
        f'<span class="lane"><span class="bar" style="left:{left:.2f}%;width:{width:.2f}%"></span>'
        f'<span class="note">{_safe(facts(record))}</span></span></summary>'
        f"<pre>{_safe(_all_of(node))}</pre></details>\n"
    )


def _all_of(node: Node) -> str:
    record = node.record
    found: dict[str, Any] = {"own time in ms": round(own_seconds(node) * 1000, 3), **record.attributes}
    if record.message:
        found["message"] = record.message
    if record.events:
        found["events"] = [*record.events]
    return json.dumps(found, ensure_ascii=False, indent=2)


def _safe(text: str) -> str:
    """Escaped for HTML; half a surrogate pair, which no file can hold, written out."""
    return escape(text.encode("utf-8", "backslashreplace").decode())
