"""tour.html: what a tour measured, as one self-contained page (figures and font inside, no scripts, no network)."""

from __future__ import annotations

import datetime
import os
import platform
from html import escape
from pathlib import Path
from typing import Any

import torch

import minillm
from minillm._files import write_whole
from minillm._machine import cpu_model
from minillm.course.lessons.notebooks import lesson_path
from minillm.course.page.plots import figure_png, plot_bars, plot_lines, png_data_uri
from minillm.course.page.web_font import FAMILY, hangul_css
from minillm.course.paths import find_checkout

STYLE = f"""
:root {{ color-scheme: light dark; --ink: #222; --paper: #fff; --quiet: #666; --line: #ddd; --block: #f6f6f4; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #ddd; --paper: #181818; --quiet: #aaa; --line: #444; --block: #262626; }}
  a {{ color: #8ab4f8; }}
}}
body {{ font: 16px/1.5 "{FAMILY}", system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: var(--ink); background: var(--paper); overflow-wrap: break-word; }}
h1, h2 {{ line-height: 1.2; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .3rem .6rem; vertical-align: top; border-bottom: 1px solid var(--line); }}
.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
code, pre {{ font: .875em/1.45 "{FAMILY}", ui-monospace, monospace; }}
pre {{ background: var(--block); padding: 1rem; white-space: pre-wrap; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }}
dt, figcaption, .note {{ color: var(--quiet); }} dd {{ margin: 0; overflow-wrap: anywhere; }}
figure {{ margin: 1.5rem 0; }} img {{ max-width: 100%; height: auto; background: #fff; }}
@media (max-width: 45rem) {{  /* a phone: every row of the table becomes a card */
  body {{ margin: 1rem auto; }}
  dl {{ display: block; }} dd {{ margin: 0 0 .4rem; }}
  thead {{ display: none; }} table, tbody, tr, td {{ display: block; }} tr {{ margin: 1rem 0; }}
  td, td.number {{ border: 0; padding: .1rem 0; text-align: left; }}
  td::before {{ content: attr(data-label) ": "; color: var(--quiet); }}
  td:first-child {{ font-weight: bold; border-bottom: 1px solid var(--line); }}
  td:first-child::before {{ content: ""; }}
}}
@media print {{
  :root {{ --ink: #000; --paper: #fff; --quiet: #444; --line: #bbb; --block: #fff; }}
  body {{ margin: 0; max-width: none; font-size: 10pt; }} a {{ color: inherit; }}
  pre {{ border: 1px solid var(--line); }} figure, tr, pre {{ break-inside: avoid; }} h2 {{ break-after: avoid; }}
}}
"""
COLUMNS = ("stage", "seconds", "figure", "what it means", "lesson", "file")


def write_report(
    path: str | Path,
    result: dict[str, Any],
    history: list[dict[str, float]],
    curves: dict[str, list[float]],
    sizes: dict[str, tuple[int, float]],
    quality: dict[str, dict[str, float]] | None,
) -> Path:
    """Write the page of one tour; the arguments are what `run_tour` holds at its end."""
    body = f"""<h1>A small LLM stack, run on this machine</h1>
<p>Every figure was measured in one run of {result["seconds"]:.0f} seconds.</p>
{_facts(result)}
{_stages(result["stages"], Path(path).resolve().parent)}
<h2>{escape(result["question"])}</h2>
{_answer(result["answer"])}{_real_answer(result)}
<h2>What the model writes</h2>
{_sample(result)}
<h2>Figures</h2>
{_figures(history, curves, sizes, quality)}"""
    write_whole(
        path,
        f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>minillm tour</title>
<style>{STYLE}{hangul_css(body)}</style></head><body>
{body}
</body></html>
""",
    )
    return Path(path)


def _facts(result: dict[str, Any]) -> str:
    """When, where, on which text and with which settings: what somebody needs who wants to repeat the run."""
    settings, corpus, memory = result["settings"], result["corpus"], result["peak_memory_bytes"]
    facts = {
        "date": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "machine": f"{cpu_model()}, {os.cpu_count()} cores, {platform.system()}"
        + (f"; {memory / 1e9:.1f} GB of memory used at most" if memory else ""),
        "software": f"minillm {minillm.__version__}, Python {platform.python_version()}, PyTorch {torch.__version__}",
        "text": f"{corpus['name']}: {corpus['documents']:,} documents, {corpus['training_characters']:,} characters "
        f"to learn from, {corpus['held_out_characters']:,} held out",
        "seed": f"{settings['seed']} (the same seed and settings on this machine give the same figures, times aside)",
        "settings": ", ".join(f"{name} {value}" for name, value in settings.items() if name != "seed"),
    }
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{escape(value)}</dd>' for name, value in facts.items())}</dl>"


def _stages(stages: list[dict[str, Any]], folder: Path) -> str:
    """The table of the stages; a lesson and a file are links where a checkout has them."""
    root = find_checkout()
    rows = []
    for stage in stages:
        lesson = lesson_path(stage["lesson"], root / "notebooks") if root else None
        cells = (
            escape(stage["name"]),
            f"{stage['seconds']:.1f}",
            escape(stage["figure"]),
            escape(stage["meaning"].splitlines()[0][:300]),
            _link(escape(stage["lesson"]), lesson, folder),
            _link(
                f"<code>{escape(stage['file']).replace('/', '/<wbr>')}</code>",
                root / stage["file"] if root else None,
                folder,
            ),
        )
        rows.append(
            "".join(
                f'<td data-label="{name}"{" class=number" if name == "seconds" else ""}>{cell}</td>'
                for name, cell in zip(COLUMNS, cells)
            )
        )
    head = "".join(f"<th{' class=number' if name == 'seconds' else ''}>{name}</th>" for name in COLUMNS)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    advice = "<p class=note><code>minillm study</code> opens the lessons in JupyterLab.</p>" if root else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>{advice}"


def _link(html: str, target: Path | None, folder: Path) -> str:
    """A link from a page in `folder` to a file, relative, so that the checkout may move; plain where there is none."""
    if target is None:
        return html
    try:
        address = Path(os.path.relpath(target, folder)).as_posix()
    except ValueError:  # on Windows: the page and the checkout are on two drives
        address = target.as_uri()
    return f'<a href="{escape(address)}">{html}</a>'


def _answer(answer: dict[str, Any]) -> str:
    """The passage that was found, quoted and named; where it was declined as an answer, that comes first."""
    declined = "<p>Nothing in the index matches well.</p>\n" if answer["declined"] else ""
    if "id" not in answer:
        return declined
    nearest = "nearest" if declined else "best"
    return (
        f"{declined}<p>The {nearest} passage in the index is from <b>{escape(answer['title'])}</b> "
        f"(<code>{escape(answer['id'])}</code>):</p>\n<pre>{escape(answer['text'])}</pre>"
    )


def _real_answer(result: dict[str, Any]) -> str:
    """What the real model made of the passage, introduced for what it is; nothing where none was asked."""
    if (told := result["real_answer"]) is None:
        return ""
    asked = next(stage for stage in result["stages"] if stage["name"] == "real model")
    return (
        f"\n<p>SmolLM2, a real model of {escape(asked['figure'])} that went through the same code, read this passage "
        "and the question, and wrote the following. It reads English only, and a model of its size is often wrong: "
        f"check it against the passage.</p>\n<pre>{escape(told['text'])}</pre>"
    )


def _sample(result: dict[str, Any]) -> str:
    """The model's text, introduced for what it is."""
    training = next(stage for stage in result["stages"] if stage["name"] == "training")
    return (
        f"<p>The prompt was “{escape(result['prompt'])}”. A model of {training['figures']['parameters']:,} weights, "
        f"trained for {training['seconds']:.0f} seconds, continued it. A model this small learns how the text "
        "looks: its words, its punctuation, its layout. What it says is not expected to make sense.</p>\n"
        f"<pre>{escape(result['sample'])}</pre>"
    )


def _figures(
    history: list[dict[str, float]],
    curves: dict[str, list[float]],
    sizes: dict[str, tuple[int, float]],
    quality: dict[str, dict[str, float]] | None,
) -> str:
    """The loss, the cache, the quantized sizes and, where there are questions, the search."""

    def curve(key: str) -> tuple[list[float], list[float]]:
        points = [(row["step"], row[key]) for row in history if row.get(key) is not None]
        return [step for step, _ in points], [loss for _, loss in points]

    drawn = [
        _figure(
            "Training: the loss falls (학습 손실)",
            plot_lines, {"training text (학습)": curve("train_loss"), "held-out text (검증)": curve("eval_loss")},
            xlabel="step (스텝)", ylabel="nats per token",
        ),
        _figure(
            "Generation: seconds so far at each new token, with and without the KV cache (KV 캐시)",
            plot_lines, {name: (list(range(1, len(line) + 1)), line) for name, line in curves.items()},
            xlabel="new tokens (생성한 토큰)", ylabel="seconds (초)",
        ),
        _figure(
            "Quantization: size of the weights (양자화)",
            plot_bars, {name: row[0] / 1e6 for name, row in sizes.items()}, ylabel="MB",
        ),
    ]  # fmt: skip
    if quality:
        drawn.append(_figure("Search: the share of questions answered (검색 품질)", plot_bars, quality))
    return "\n".join(drawn)


def _figure(caption: str, plot: Any, values: Any, **options: str) -> str:
    image = png_data_uri(figure_png(plot, values, **options))
    return f'<figure><figcaption>{escape(caption)}</figcaption><img alt="{escape(caption)}" src="{image}"></figure>'
