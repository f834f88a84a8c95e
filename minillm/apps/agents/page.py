"""A run as a page that a person can read: `save_transcript(run, "run.html")`. No script, and nothing is loaded.

    save_transcript(run, "run.html", pictures={"picture1": image})     shown where a step names it, inside the page

Book: 15.4. Held against: html.parser (tests/apps/agents/test_room.py).
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minillm._checks import describe
from minillm._files import write_whole
from minillm.apps.agents.tools import visible
from minillm.apps.agents.transcript import Run, Step
from minillm.data.picture_files import png_bytes

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{ font: 1rem/1.5 sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; background: #f3f3f3; padding: .5rem }}
.error {{ background: #fbe3e0 }}
img {{ width: 8rem; image-rendering: pixelated; margin-right: .5rem }}</style>
<h1>{title}</h1>
<ol>
{steps}
</ol>
<h2>Answer</h2>
<pre>{answer}</pre>
<p>{end}</p>
</html>
"""


def transcript_page(run: Run, pictures: Mapping[str, Any] | None = None) -> str:
    """The page as HTML. Letters that could steer a page or a reading direction are shown as codes.

    pictures: name -> image (3, H, W) in 0..1; shown with each step whose arguments or observation name it.
    """
    if not isinstance(run, Run):
        raise ValueError(f"a page shows a Run, got {describe(run)}")
    images = {name: _image(name, png_bytes(one)) for name, one in (pictures or {}).items()}
    steps = []
    for one in run.steps:
        seen, error = one.observation, one.observation.error is not None
        steps.append(
            f"<li><b>{shown(one.action or 'no action')}</b> {shown(one.thought)}\n"
            f"<pre>{shown(json.dumps(one.arguments, ensure_ascii=False, default=repr))}</pre>\n"
            f"<pre class='{'error' if error else 'text'}'>{shown(seen.error if error else seen.text)}</pre>"
            f"{''.join(images[name] for name in images if names_it(one, name))}</li>"
        )
    used = ", ".join(f"{name} {amount:.6g}" for name, amount in run.usage.items())
    end = shown(f"ended by: {run.finish_reason}; used: {used}")
    return PAGE.format(title=shown(run.task), steps="\n".join(steps), answer=shown(run.answer), end=end)


def names_it(step: Step, name: str) -> bool:
    """Whether a step speaks of a picture: "picture1", not "picture12"."""
    said = json.dumps(step.arguments, ensure_ascii=False, default=repr) + step.observation.text
    letter = "[A-Za-z0-9_]"  # no Hangul: picture1을 names picture1
    return bool(name) and re.search(rf"(?<!{letter}){re.escape(name)}(?!{letter})", said) is not None


def save_transcript(run: Run, path: str | Path, pictures: Mapping[str, Any] | None = None) -> Path:
    """The page in a file, written whole or not at all."""
    return write_whole(path, transcript_page(run, pictures))


def _image(name: str, png: bytes) -> str:
    data = base64.b64encode(png).decode()
    return f"<img alt='{shown(name)}' title='{shown(name)}' src='data:image/png;base64,{data}'>"


def shown(text: Any) -> str:
    """A text of HTML that shows as it stands."""
    return html.escape(visible(str(text)), quote=True)
