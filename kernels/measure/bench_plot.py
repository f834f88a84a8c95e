"""The figure of a benchmark record: rates of the compute-bound kernels over their size, the others beside the floor.

`figure(record)` serves the lessons, which show recorded results; `plot(record, file)` writes a PNG.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kernels.measure._files import replace_whole

OURS, LEAST = "#1f5fbf", "#c0392b"
PEERS = ("#e08a3c", "#5fa55f", "#9a6fb0", "#7f7f7f", "#17a2b8", "#d977a8", "#b5a41c", "#7a5c4a")


def lines_of(record: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The compute-bound series with two sizes or more, each sorted by size."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in record["rows"]:
        if "rate" in row and row["bound"] == "compute" and row["series"]:
            found.setdefault(row["series"], []).append(row)
    return {name: sorted(rows, key=lambda row: row["x"]) for name, rows in found.items() if len(rows) > 1}


def bars_of(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Every other row that was measured beside a floor."""
    lines = {id(row) for rows in lines_of(record).values() for row in rows}
    return [row for row in record["rows"] if "rate" in row and id(row) not in lines]


def draw_lines(axes: Any, name: str, rows: list[dict[str, Any]]) -> None:
    """Rates of ours and of the peers over the size, the target dashed."""
    sizes = [row["x"] for row in rows]
    axes.plot(sizes, [row["rate"] for row in rows], "o-", color=OURS, label="ours")
    names = list(dict.fromkeys(peer for row in rows for peer in row["peers"]))
    for peer, color in zip(names, PEERS):
        points = [(row["x"], row["rate"] / row["peers"][peer]["ratio"]) for row in rows
                  if "ratio" in row["peers"].get(peer, {})]  # fmt: skip
        if points:
            axes.plot(*zip(*points), "s--", color=color, label=peer, markersize=4)
    least = [(row["x"], t["at_least"]) for row in rows for t in row["targets"] if t["what"] == "TFLOP/s"]
    if least:
        axes.plot(*zip(*least), "_", color=LEAST, label="target", markersize=14)
    axes.set(title=name, xscale="log", xlabel="size", ylabel=rows[0]["unit"], ylim=(0, None))
    axes.set_xticks(sizes, [f"{size // 1024}k" if size >= 1024 else str(size) for size in sizes])
    axes.minorticks_off()
    axes.legend(fontsize=7)


def draw_bars(axes: Any, rows: list[dict[str, Any]]) -> None:
    """Per cent of the floor, ours as bars, each peer as a dot, the target as a tick."""
    colors: dict[str, str] = {}
    for y, row in enumerate(rows):
        axes.barh(y, row["floor"], color=OURS, height=0.6)
        axes.text(0.005, y, f"{row['rate']:,.0f} {row['unit']}", va="center", fontsize=6, color="white")
        for name, peer in row["peers"].items():
            if "ratio" in peer:
                color = colors.setdefault(name, PEERS[len(colors) % len(PEERS)])
                axes.plot(row["floor"] / peer["ratio"], y, "o", color=color, markersize=4)
        for target in row["targets"]:
            if target["what"] == "floor":
                axes.plot([target["at_least"]] * 2, [y - 0.4, y + 0.4], color=LEAST)
    for name, color in colors.items():
        axes.plot([], [], "o", color=color, label=name, markersize=4)
    axes.plot([], [], color=LEAST, label="target")
    axes.set_yticks(range(len(rows)), [f"{row['kernel']} {row['work']}" for row in rows], fontsize=6)
    axes.set(title="part of this GPU's own copy bandwidth or matrix rate", xlim=(0, None))
    axes.set_ylim(len(rows) - 0.3, -0.7)  # the first on top
    axes.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1, 1))


def figure(record: dict[str, Any]) -> Any:
    """A matplotlib Figure of a record that kernels/measure/bench.py wrote. ValueError if nothing in it was measured."""
    from matplotlib.figure import Figure  # no global state, no window

    lines, bars = lines_of(record), bars_of(record)
    if not lines and not bars:
        raise ValueError("the record holds no measured row: there is nothing to draw")
    columns = 3
    line_rows = -(-len(lines) // columns)
    heights = [2.8 * line_rows] * bool(lines) + [1.2 + 0.2 * len(bars)] * bool(bars)
    page = Figure(figsize=(4.2 * columns, sum(heights) + 0.4), layout="constrained")
    parts = page.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    if lines:
        grid = parts[0].add_gridspec(line_rows, columns)
        for number, (name, rows) in enumerate(lines.items()):
            draw_lines(parts[0].add_subplot(grid[number // columns, number % columns]), name, rows)
    if bars:
        draw_bars(parts[-1].add_subplot(), bars)
    page.suptitle(
        f"{record['device']}, {record['date']}, torch {record['torch']}, triton {record['triton']}",
        fontsize=9,
    )
    return page


def plot(record: dict[str, Any], path: Path) -> None:
    """Write the figure as a PNG, whole."""
    page = figure(record)
    replace_whole(path, lambda part: page.savefig(part, dpi=130, format="png"))
