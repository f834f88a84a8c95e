"""`minillm trace show | html | otlp`: what a program of models did, from the file that its Tracer wrote."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import asdict
from typing import Any

from minillm.commands._show import print_json


def show(options: Namespace) -> None:
    """The tree of every trace of the file, the slowest steps, tokens and cost."""
    from minillm.apps.tracing import slowest, tree_lines, usage_by_model

    records = chosen(options)
    used = usage_by_model(records, prices(options.price))
    if options.json:
        rows = [{"seconds": one.seconds, **one._asdict()} for one in records]
        print_json({"spans": rows, "usage": {model: asdict(one) for model, one in used.items()}})
        return
    for line in tree_lines(records):
        print(line)
    print("\nmost time of their own:")
    for record, own in slowest(records, 3):
        print(f"  {own * 1000:10,.1f} ms  {plain(record.name)}")
    for model, one in used.items():
        cost = "" if one.cost is None else f", cost {one.cost:,.6g}"
        uncounted = f", {one.uncounted} without numbers" if one.uncounted else ""
        print(
            f"{plain(model)}: {one.calls} calls, {one.errors} errors, {one.input_tokens:,} tokens read, "
            f"{one.output_tokens:,} written{uncounted}{cost}"
        )


def html(options: Namespace) -> None:
    """One self-contained page."""
    from minillm._files import write_whole
    from minillm.apps.tracing import waterfall_page

    records = chosen(options)
    page = waterfall_page(records, options.file.name)
    if to_output(options):
        print(page)
        return
    out = options.out or options.file.with_suffix(".html")
    check_not_the_trace(out, options)
    write_whole(out, page)
    said(options, {"page": str(out), "spans": len(records)}, f"{out}: {len(records):,} spans")


def otlp(options: Namespace) -> None:
    """OpenTelemetry's JSON."""
    from minillm._files import write_json
    from minillm.apps.tracing import as_otlp

    records = chosen(options)
    value = as_otlp(records, options.service)
    if to_output(options):
        print_json(value)
        return
    out = options.out or options.file.with_suffix(".otlp.json")
    check_not_the_trace(out, options)
    write_json(out, value)
    said(options, {"file": str(out), "spans": len(records)}, f"{out}: {len(records):,} spans")


def to_output(options: Namespace) -> bool:
    """Whether it goes to standard output, for a pipe: `--out -`."""
    return options.out is not None and str(options.out) == "-"


def chosen(options: Namespace) -> list[Any]:
    """The spans of the file, or of one trace of it."""
    from minillm.apps.tracing import read_trace

    found = read_trace(options.file)
    if found.damaged:
        print(f"minillm: {found.damaged} lines hold half a span, which was left out", file=sys.stderr)
    records = [one for one in found.records if one.trace_id.startswith(options.trace or "")]
    if not records:
        what = f"no trace whose id begins with {options.trace}" if options.trace else "no span yet"
        raise ValueError(f"{options.file} holds {what}")
    return records


def check_not_the_trace(out: Any, options: Namespace) -> None:
    """ValueError for an --out that would overwrite the trace itself."""
    if out.exists() and out.samefile(options.file):
        raise ValueError(f"--out must not be the trace itself, got {out}")


def prices(given: list[str] | None) -> dict[str, tuple[float, float]]:
    """MODEL=READING,WRITING -> {MODEL: (reading, writing)}."""
    found = {}
    for one in given or ():
        model, _, pair = one.rpartition("=")
        try:
            reading, writing = map(float, pair.split(","))
        except ValueError:
            raise ValueError(
                f"--price must be MODEL=READING,WRITING (of a million tokens), got {one!r}"
            ) from None
        found[model] = (reading, writing)
    return found


def plain(text: str) -> str:
    """As one line; what would command the terminal is written out."""
    from minillm.apps.tracing.tree import one_line

    return one_line(text, 60)


def said(options: Namespace, facts: dict[str, Any], line: str) -> None:
    """One line, or JSON."""
    if options.json:
        print_json(facts)
    else:
        print(line)
