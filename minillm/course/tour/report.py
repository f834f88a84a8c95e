"""tour.html: what a tour measured, as one self-contained page (figures inside, no scripts, no network)."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from minillm._files import write_whole
from minillm.course.page.plots import figure_png, plot_bars, plot_lines, png_data_uri

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .6rem; }
th { border-bottom: 2px solid #888; } td { border-bottom: 1px solid #ddd; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } code, pre { font-size: .9em; }
pre { background: #f6f6f4; padding: 1rem; white-space: pre-wrap; } figure { margin: 1.5rem 0; } img { max-width: 100%; }
"""


def write_report(
    path: str | Path,
    result: dict[str, Any],
    history: list[dict[str, float]],
    curves: dict[str, list[float]],
    sizes: dict[str, tuple[int, float]],
    quality: dict[str, dict[str, float]] | None,
) -> Path:
    """Write the page of one tour; the arguments are what `run_tour` holds at its end."""

    def curve(key: str) -> tuple[list[float], list[float]]:
        points = [(row["step"], row[key]) for row in history if row.get(key) is not None]
        return [step for step, _ in points], [loss for _, loss in points]

    # Korean stands in the captions only: a browser has fonts for it, matplotlib may not
    figures = [
        _figure(
            "Training: the loss falls (학습 손실)",
            plot_lines, {"training text": curve("train_loss"), "held-out text": curve("eval_loss")},
            xlabel="step", ylabel="nats per token",
        ),
        _figure(
            "Generation: seconds so far at each new token, with and without the KV cache (KV 캐시)",
            plot_lines, {name: (list(range(1, len(line) + 1)), line) for name, line in curves.items()},
            xlabel="new tokens", ylabel="seconds",
        ),
        _figure(
            "Quantization: bytes of the weights (양자화)",
            plot_bars, {name: row[0] / 1e6 for name, row in sizes.items()}, ylabel="MB",
        ),
    ]  # fmt: skip
    if quality:
        figures.append(_figure("Search: the share of questions answered (검색 품질)", plot_bars, quality))
    rows = "\n".join(
        f"<tr><td>{escape(stage['name'])}</td><td class=number>{stage['seconds']:.1f}</td>"
        f"<td>{escape(stage['figure'])}</td><td>{escape(stage['meaning'].splitlines()[0])}</td>"
        f"<td>{escape(stage['lesson'])}</td><td><code>{escape(stage['file'])}</code></td></tr>"
        for stage in result["stages"]
    )
    answer = result["answer"]
    quoted = (
        f"<p>From <b>{escape(answer['title'])}</b> (<code>{escape(answer['id'])}</code>):</p>"
        f"<pre>{escape(answer['text'])}</pre>"
        if "id" in answer
        else "<p>Nothing in the index matches.</p>"
    )
    write_whole(
        path,
        f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>minillm tour</title><style>{STYLE}</style></head><body>
<h1>A small LLM stack, run on this machine</h1>
<p>Every figure was measured in one run of {result["seconds"]:.0f} seconds.</p>
<table><tr><th>stage</th><th>seconds</th><th>figure</th><th>what it means</th><th>lesson</th><th>file</th></tr>
{rows}</table>
<h2>{escape(result["question"])}</h2>
{quoted}
<h2>What the model writes</h2>
<pre>{escape(result["sample"])}</pre>
{"".join(figures)}
</body></html>
""",
    )
    return Path(path)


def _figure(caption: str, plot: Any, values: Any, **options: str) -> str:
    image = png_data_uri(figure_png(plot, values, **options))
    return f'<figure><figcaption>{escape(caption)}</figcaption><img alt="{escape(caption)}" src="{image}"></figure>\n'
