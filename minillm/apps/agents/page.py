"""A run as a page that a person can read: `save_transcript(run, "run.html")`. Texts only: no script, nothing loaded.

Book: 15.4. Held against: html.parser (tests/apps/agents/test_room.py).
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from minillm._checks import describe
from minillm._files import write_whole
from minillm.apps.agents.transcript import Run

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{ font: 1rem/1.5 sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; background: #f3f3f3; padding: .5rem }}
.error {{ background: #fbe3e0 }}</style>
<h1>{title}</h1>
<ol>
{steps}
</ol>
<h2>Answer</h2>
<pre>{answer}</pre>
<p>{end}</p>
</html>
"""


def transcript_page(run: Run) -> str:
    """The page as HTML. Letters that could steer a page or a reading direction are shown as codes."""
    if not isinstance(run, Run):
        raise ValueError(f"a page shows a Run, got {describe(run)}")
    steps = []
    for one in run.steps:
        seen, error = one.observation, one.observation.error is not None
        steps.append(
            f"<li><b>{shown(one.action or 'no action')}</b> {shown(one.thought)}\n"
            f"<pre>{shown(json.dumps(one.arguments, ensure_ascii=False, default=repr))}</pre>\n"
            f"<pre class='{'error' if error else 'text'}'>{shown(seen.error if error else seen.text)}</pre></li>"
        )
    used = ", ".join(f"{name} {amount:.6g}" for name, amount in run.usage.items())
    end = shown(f"ended by: {run.finish_reason}; used: {used}")
    return PAGE.format(title=shown(run.task), steps="\n".join(steps), answer=shown(run.answer), end=end)


def save_transcript(run: Run, path: str | Path) -> Path:
    """The page in a file, written whole or not at all."""
    return write_whole(path, transcript_page(run))


def shown(text: Any) -> str:
    """A text of HTML that shows as it stands."""
    codes = re.sub(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]",
        lambda found: f"\\u{ord(found[0]):04x}",
        str(text),
    )
    return html.escape(codes, quote=True)
