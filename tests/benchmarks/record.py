"""The record of the benchmarks: results.json holds what was measured; BENCHMARKS.md's tables and README's two
sentences on speed are written from it.

    {column: {benchmark: {"date", "machine", "versions": {package: version}, "rows": [Row.as_dict(), ...]}}}

A column is a make of CPU ("AMD EPYC"), or one with the code path that torch takes on an older CPU
("AMD EPYC, avx2 path"). A target counts where every filled column meets it. Where one does not, still_to_reach.json
names the row: no row may miss its target unnamed, and none stands there that has reached it.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from minillm._files import read_json, write_json, write_whole
from minillm._machine import cpu_model

RESULTS = Path(__file__).with_name("results.json")
STILL_TO_REACH = Path(__file__).with_name("still_to_reach.json")
PAGE = Path(__file__).parents[2] / "BENCHMARKS.md"
README = PAGE.with_name("README.md")
MAKES = ("AMD EPYC", "Intel Xeon")  # always on the page, measured or not
AVX2 = ", avx2 path"
NAMED = (
    "torch",
    "numpy",
    "numba",
    "transformers",
    "tokenizers",
    "tiktoken",
    "rank-bm25",
    "bm25s",
    "scikit-learn",
    "sentence-transformers",
    "gensim",
    "xllamacpp",
    "hnswlib",
    "faiss-cpu",
    "lm_eval",
)

Results = dict[str, dict[str, dict[str, Any]]]


def make_of(model: str) -> str:
    """ "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz" -> "Intel Xeon": the maker and the family, two words."""
    return " ".join(re.sub(r"\((?:R|TM)\)", "", model).split()[:2])


def measured(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The rows with what they were measured on: date, processor, cores, versions."""
    versions = {"Python": platform.python_version()}
    for name in NAMED:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{cpu_model()}, {os.cpu_count()} cores",
        "versions": versions,
        "rows": rows,
    }


def read_results() -> Results:
    """What is recorded; {} before anything is."""
    return read_json(RESULTS, "benchmark results") if RESULTS.exists() else {}


def record(column: str, benchmark: str, entry: dict[str, Any]) -> list[str]:
    """Put the entry in the place of the column's last one, write the page anew, and say what became slower."""
    results = read_results()
    before = results.setdefault(column, {}).get(benchmark)
    results[column][benchmark] = entry
    write_json(RESULTS, {name: dict(sorted(results[name].items())) for name in sorted(results)})
    write_page(results)
    return [] if before is None else slower(before["rows"], entry["rows"])


def slower(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str]:
    """One line for each ratio that is lower than before by more than the larger of its two spreads."""
    old = {key(row): row for row in before}
    found = []
    for row in after:
        was = old.get(key(row))
        if was is None or row["ratio"] is None or was["ratio"] is None:
            continue
        spread = max(row["spread"] or 0, was["spread"] or 0)
        if row["ratio"] < was["ratio"] - spread:
            found.append(
                f"{row['work']}, against {row['peer']}: {number(row['ratio'])}x, "
                f"before {number(was['ratio'])}x (spread {number(spread)})"
            )
    return found


def below(results: Results) -> dict[tuple[str, str], str]:
    """What names a row -> a line on it, for each that is below its target in a filled column. The newest entry's
    target counts, in every column."""
    found: dict[tuple[str, str], list[str]] = {}
    for benchmark in benchmarks(results):
        for work, peer in keys(results, benchmark):
            target = newest(results, benchmark, (work, peer))["target"]
            for column in results:
                row = cell(results, column, benchmark, (work, peer))
                if target and row and row["ratio"] is not None and row["ratio"] < target:
                    found.setdefault((work, peer), []).append(
                        f"{column} {number(row['ratio'])}x of {target:g}x"
                    )
    return {
        wanted: f"{wanted[0]}, against {wanted[1]}: {', '.join(lines)}" for wanted, lines in found.items()
    }


def still_to_reach() -> set[tuple[str, str]]:
    """The rows that are known to be below their target in some column."""
    listed = read_json(STILL_TO_REACH, "rows still to reach") if STILL_TO_REACH.exists() else []
    return {(work, peer) for work, peer in listed}


# --- looking things up ---


def key(row: dict[str, Any]) -> tuple[str, str]:
    """What names a row in every column."""
    return row["work"], row["peer"]


def benchmarks(results: Results) -> list[str]:
    """Every benchmark that some column has."""
    return sorted({name for column in results.values() for name in column})


def keys(results: Results, benchmark: str) -> list[tuple[str, str]]:
    """Every (work, peer) of a benchmark, in the order of the newest column, then what only older ones have."""
    entries = [column[benchmark] for column in results.values() if benchmark in column]
    entries.sort(key=lambda entry: entry["date"], reverse=True)
    return list(dict.fromkeys(key(row) for entry in entries for row in entry["rows"]))


def cell(results: Results, column: str, benchmark: str, wanted: tuple[str, str]) -> dict[str, Any] | None:
    """The row of one column, or None where it is not measured."""
    rows = results.get(column, {}).get(benchmark, {"rows": []})["rows"]
    return next((row for row in rows if key(row) == wanted), None)


def newest(results: Results, benchmark: str, wanted: tuple[str, str]) -> dict[str, Any]:
    """The row that was measured last; of one day's, the first column's."""
    filled = [column for column in results if cell(results, column, benchmark, wanted)]
    last = max(filled, key=lambda column: results[column][benchmark]["date"])
    return cell(results, last, benchmark, wanted)


def makes(results: Results) -> list[str]:
    """The makes of CPU that have a column on the page, measured or not."""
    return list(dict.fromkeys([*MAKES, *(name.removesuffix(AVX2) for name in results)]))


def columns(results: Results) -> list[str]:
    """Each make of CPU, and after it its avx2 path."""
    return [make + suffix for make in makes(results) for suffix in ("", AVX2)]


# --- the page ---


def number(value: float | None) -> str:
    """Three significant digits, without an exponent where a person would not write one."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratio_of(row: dict[str, Any] | None) -> str:
    """ "1.68x ± 0.04"; bold above 1, "" where it is not measured."""
    if row is None:
        return ""
    if row["ratio"] is None:
        return "no peer"
    text = f"{number(row['ratio'])}x"
    spread = f" ± {row['spread'] / 2:.2g}" if row.get("spread") else ""
    return (f"**{text}**" if row["ratio"] >= 1 else text) + spread


def summary(results: Results) -> str:
    """Every ratio there is, wins and losses: one column a make of CPU, its avx2 path in the same cell."""
    head = ["work", "peer", "at least", *makes(results)]
    rows, unreached = [], still_to_reach()
    for benchmark in benchmarks(results):
        for wanted in keys(results, benchmark):
            row = newest(results, benchmark, wanted)
            if row["ratio"] is None:
                continue  # no peer, no ratio: its figures are in its own table
            cells = []
            for make in makes(results):
                here, avx2 = (
                    ratio_of(cell(results, make + suffix, benchmark, wanted)) for suffix in ("", AVX2)
                )
                cells.append("<br>".join(filter(None, (here, avx2 and f"avx2 {avx2}"))))
            asked = f"{row['target']:g}x" if row["target"] else ""
            rows.append([*wanted, f"({asked})" if wanted in unreached else asked, *cells])
    return f"{score(results, peers=False)}\n\n{markdown(head, rows)}"


def score(results: Results, peers: bool = True) -> str:
    """How many ratios are 1x or more and how many are not, make by make, with the peers of both and their range.

    What is compared with something of ours ("our generate") says nothing of the libraries, and is not counted.
    """
    lines = []
    for make in makes(results):
        every = [row for entry in results.get(make, {}).values() for row in entry["rows"]]
        rows = [row for row in every if row["ratio"] and not row["peer"].startswith("our ")]
        if not rows:
            lines.append(f"{make}: not measured yet.")
            continue
        won, lost = ([row for row in rows if (row["ratio"] >= 1) == wanted] for wanted in (True, False))
        lines.append(
            f"{make}, {len(rows)} comparisons:\n\n"
            f"- **as fast or faster in {len(won)}**{_by_peer(won) if peers else ''}\n"
            f"- **slower in {len(lost)}**{_by_peer(lost) if peers else ''}"
        )
    return "\n\n".join(lines)


def _by_peer(rows: list[dict[str, Any]]) -> str:
    """ ": bm25s 1.33x; tokenizers 3.43x to 22.8x", or "" for no rows."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["peer"], []).append(row["ratio"])
    texts = [f"{peer} {_range(ratios)}" for peer, ratios in sorted(found.items())]
    return f": {'; '.join(texts)}" if texts else ""


def _range(ratios: list[float]) -> str:
    low, high = number(min(ratios)), number(max(ratios))
    return f"{low}x" if low == high else f"{low}x to {high}x"


def figures(results: Results, benchmark: str) -> str:
    """One benchmark's own figures: when and where, then `ours : peer's` in each filled column."""
    filled = [column for column in columns(results) if benchmark in results.get(column, {})]
    lines = []
    for column in filled:
        entry = results[column][benchmark]
        versions = ", ".join(f"{name} {value}" for name, value in entry["versions"].items())
        lines.append(f"{column}, {entry['date']}: {entry['machine']}, {versions}")
    rows = []
    for wanted in keys(results, benchmark):
        row = newest(results, benchmark, wanted)
        found = [cell(results, column, benchmark, wanted) for column in filled]
        cells = [f"{number(one['ours'])} : {number(one['theirs'])}" if one else "" for one in found]
        rows.append([*wanted, row["unit"], *cells, str(row["threads"]), row["note"]])
    head = ["work", "peer", "unit", *(f"{column}, ours : peer's" for column in filled), "threads", "note"]
    return "\n\n".join([*lines, markdown(head, rows)])


def pages(results: Results) -> dict[Path, str]:
    """BENCHMARKS.md and README.md as the record says; a benchmark without a block gets one at the first one's end."""
    blocks = {"summary": summary(results)} | {name: figures(results, name) for name in benchmarks(results)}
    return {
        PAGE: with_blocks(PAGE.read_text(encoding="utf-8"), blocks),
        README: with_blocks(README.read_text(encoding="utf-8"), {"score": score(results)}),
    }


def write_page(results: Results) -> None:
    """Write the blocks between the marks of both pages anew."""
    for path, text in pages(results).items():
        write_whole(path, text)


def put_rows(name: str, head: list[str], rows: list[list[str]], order: Sequence[str]) -> None:
    """Put rows into a block of BENCHMARKS.md that is one table, each in the place of the row with the same first cell;
    what `order` names stands in that order, the rest behind it by name. A block that is missing is made at the end."""
    page = PAGE.read_text(encoding="utf-8")
    kept = re.search(rf"<!-- bench:{name} -->\n(.*?)<!-- /bench:{name} -->", page, re.DOTALL)
    lines = re.finditer(r"^\| ([^|]+?) \|.*\|$", kept[1] if kept else "", re.MULTILINE)
    found = {one[1]: one[0] for one in lines}
    found = {key: line for key, line in found.items() if key not in (head[0], "---")}
    found |= {row[0]: f"| {' | '.join(row)} |" for row in rows}
    place = {key: number for number, key in enumerate(order)}
    keys = sorted(found, key=lambda key: (place.get(key, len(place)), len(key), key))
    block = "\n".join([markdown(head, []), *(found[key] for key in keys)])
    write_whole(PAGE, with_blocks(page, {name: block}))


def with_blocks(text: str, blocks: dict[str, str]) -> str:
    """The text with each block between <!-- bench:NAME --> and <!-- /bench:NAME -->."""
    for name, block in blocks.items():
        block = f"<!-- bench:{name} -->\n{block}\n<!-- /bench:{name} -->"
        pattern = re.compile(rf"<!-- bench:{name} -->.*?<!-- /bench:{name} -->", re.DOTALL)
        if pattern.search(text):
            text = pattern.sub(lambda _, block=block: block, text)
        else:
            text = f"{text.rstrip()}\n\n## {name}\n\n{block}\n"
    return text
