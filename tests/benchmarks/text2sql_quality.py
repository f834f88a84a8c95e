"""What the methods of chapter 6 make of questions to databases: how many queries find what the gold query finds.

    python -m tests.benchmarks.text2sql_quality [METHOD ...] --kept FOLDER [--seeds 0 1 2] [--list] [--write]

METHODs are names of the table below (all by default). Every run is recorded in FOLDER (JSON lines) and skipped when
it stands there already: stop it, and start it again. A seed is one of everything that learns: rows, weights, order.
All are examined on the same 600 questions of the part "test", whose schemas and questions are in no training data;
GeoQuery's on its shared test part, whose questions are not in its training part as people wrote them. With names
replaced by their kind 51 of 185 are, and most of the query forms.
Intervals are 95 % by bootstrap over the questions. Seconds are of the CPU, one thread, without examinations. --write
puts the table into BENCHMARKS.md.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minillm.apps.text2sql import SQLProcess, SQLSandbox, exact_match_sql, execution_match
from minillm.apps.text2sql.linking import NothingTouched, link
from minillm.apps.text2sql.nearest import Slotted, nearest_query
from minillm.apps.text2sql.tables import read_tables
from minillm.course.small.sql_models import (
    SQLRecipe,
    prompt_of,
    right_answers,
    sql_answers,
    sql_model,
    trained,
)
from minillm.data import load_dataset, prove_held_out, small_prompt, sql_tasks
from minillm.data.cross_filter import cross_filtered
from minillm.data.geoquery import GeoTask, filled, geo_tasks, varied
from minillm.data.sql_noise import NoisyRow, found_by_kind, noisy_rows, running
from minillm.evaluation import paired
from tests.benchmarks import record
from tests.benchmarks.kept_runs import KeptRuns

N, NOISY = 600, 8000  # questions of the exam, rows of which some are bad
FULL = "small model, reads the DDL"
DIRTY, RAN, AGREED = (
    "30 % bad rows, all learned", "30 % bad rows, those that run learned",
    "30 % bad rows, those that run and agree learned",
)  # fmt: skip
NO_DDL, THIRD = "the same, the DDL left out", "the same, a third of the rows"
WIDE = "a base of twice the width"
GEO, NEAREST = "GeoQuery, small model", "GeoQuery, the query of the nearest question"
GEO_PLAIN = "GeoQuery, small model, the rows as they are"
SMOL, SMOL_LORA = "GeoQuery, SmolLM2 as it is", "GeoQuery, SmolLM2 after LoRA"
SPIDER = "Spider, the small model by linked names"
GEO_RECIPE = SQLRecipe(vocab_size=640, layers=3, longest=256, row=176, steps=900, batch_size=9)
COPIES = 10  # of each GeoQuery task, varied
HEAD = [
    "method",
    "rows",
    "execution accuracy, 95 %",
    "exact match",
    "queries that run",
    "against it, 95 %",
    "CPU s",
]
Pairs = list[tuple[str, str]]


def examined(model: Any, tokenizer: Any, ddl: bool = True) -> dict[str, Any]:
    """What the queries to the exam's questions are worth, one number a question."""
    tasks = sql_tasks(N, "test", 0)
    answers = sql_answers(model, tokenizer, [prompt_of(task, ddl) for task in tasks])
    runs = running(
        [NoisyRow(replace(task, sql=answer), str(i)) for i, (task, answer) in enumerate(zip(tasks, answers))]
    )
    there = {row.kind for row in runs}
    return {
        "right": [int(one) for one in right_answers(tasks, answers)],
        "exact": [int(exact_match_sql(answer, task.sql)) for task, answer in zip(tasks, answers)],
        "runs": [int(str(i) in there) for i in range(N)],
    }


def of_rows(pairs: Pairs, recipe: SQLRecipe) -> dict[str, Any]:
    """A model that has learned these pairs, examined."""
    start = time.process_time()
    model, tokenizer, history = trained(pairs, recipe)
    seconds = time.process_time() - start
    return {
        "rows": len(pairs), "seconds": seconds, "parameters": sum(one.numel() for one in model.parameters()),
        "losses": [one["train_loss"] for one in history], **examined(model, tokenizer, recipe.ddl),
    }  # fmt: skip


def kept_model(seed: int) -> dict[str, Any]:
    """The model that the course keeps, made by its recipe."""
    model, tokenizer, facts = sql_model(seed=seed)
    return {
        "rows": SQLRecipe.rows, "seconds": facts["cpu_seconds"], "parameters": facts["parameters"],
        "losses": facts["losses"], **examined(model, tokenizer),
    }  # fmt: skip


def course(seed: int, **changes: Any) -> dict[str, Any]:
    """A recipe that differs from the course's in some settings."""
    recipe = SQLRecipe(seed=seed, **changes)
    return of_rows(
        [(prompt_of(task, recipe.ddl), task.sql) for task in sql_tasks(recipe.rows, "train", seed)], recipe
    )


def noisy(seed: int, clean: str) -> dict[str, Any]:
    """Rows of which three in ten are bad, cleaned or not."""
    recipe = SQLRecipe(seed=seed, rows=NOISY)
    rows = noisy_rows(sql_tasks(recipe.rows, "train", seed), seed=seed)
    kept, before = rows, 0.0
    if clean != DIRTY:
        kept = running(rows)
    if clean == AGREED:
        start = time.process_time()
        kept = agreeing(kept, recipe)
        before = time.process_time() - start
    found = of_rows([(prompt_of(row.task), row.task.sql) for row in kept], recipe)
    return {**found, "found": found_by_kind(rows, kept), "seconds": found["seconds"] + before}


def agreeing(rows: list[NoisyRow], recipe: SQLRecipe) -> list[NoisyRow]:
    """Rows whose query finds what the query of a model finds that has learned the other half of the rows."""
    short = replace(recipe, steps=recipe.steps * 3 // 4)

    def teach(others: list[NoisyRow]) -> Any:
        return trained([(prompt_of(row.task), row.task.sql) for row in others], short)[:2]

    def agrees(judge: Any, half: list[NoisyRow]) -> list[bool]:
        answers = sql_answers(*judge, [prompt_of(row.task) for row in half])
        return right_answers([row.task for row in half], answers)

    return cross_filtered(rows, teach, agrees)


# --- GeoQuery ---


def geo() -> tuple[list[GeoTask], list[GeoTask], Path]:
    """(training part, test part, the database), proven apart."""
    (path,) = load_dataset("geoquery", "database").values()
    with SQLSandbox(path) as box:
        taught = geo_tasks(load_dataset("geoquery", "train"), box) + geo_tasks(
            load_dataset("geoquery", "validation"), box
        )
        exam = geo_tasks(load_dataset("geoquery", "test"), box)
    prove_held_out([one.question for one in exam], [one.question for one in taught], what="question")
    return taught, exam, path


def geo_scores(exam: Sequence[GeoTask], answers: Sequence[str], path: Path) -> dict[str, Any]:
    """Right, exact and running queries; names stand in them again."""
    with SQLProcess() as process:
        box = SQLSandbox(path, process=process)
        full = [filled(answer, one.names) for one, answer in zip(exam, answers)]
        return {
            "right": [int(execution_match(box, answer, one.short)) for one, answer in zip(exam, full)],
            "exact": [int(exact_match_sql(answer, one.short)) for one, answer in zip(exam, full)],
            "runs": [
                int(execution_match(box, answer, answer)) if _runs(box, answer) else 0 for answer in full
            ],
        }


def _runs(box: SQLSandbox, sql: str) -> bool:
    try:
        return box.run(sql) is not None
    except ValueError:
        return False


def geo_model(seed: int, copies: int = COPIES) -> dict[str, Any]:
    """A small model that reads the linked question alone, as there is one schema. copies: of varied rows, 0: none."""
    taught, exam, path = geo()
    recipe = replace(GEO_RECIPE, seed=seed)
    learned = varied(taught, copies, seed) if copies else taught
    pairs = [(small_prompt("", one.linked_question), one.linked_sql) for one in learned]
    start = time.process_time()
    model, tokenizer, _ = trained(pairs, recipe)
    seconds = time.process_time() - start
    answers = sql_answers(model, tokenizer, [small_prompt("", one.linked_question) for one in exam], most=140)
    answers = [re.sub(r"' ?(#\d+) ?'", r"'\1'", answer.replace("# ", "#")) for answer in answers]
    forms = {one.linked_sql for one in taught}
    return {
        "rows": len(pairs), "seconds": seconds, "parameters": sum(one.numel() for one in model.parameters()),
        "taught_forms": sum(one.linked_sql in forms for one in exam) / len(exam),
        "known": [int(one.linked_sql in forms) for one in exam], **geo_scores(exam, answers, path),
    }  # fmt: skip


def nearest(seed: int) -> dict[str, Any]:
    """The query of the training question that shares most words: nothing is learned."""
    taught, exam, path = geo()
    known, asked = (
        [Slotted(frozenset(one.linked_question.split()), one.linked_sql, ()) for one in tasks]
        for tasks in (taught, exam)
    )  # no values: geo_scores puts the names in
    answers = [nearest_query(one, known) for one in asked]
    return {"rows": len(taught), "seconds": 0.0, "parameters": 0, **geo_scores(exam, answers, path)}


def spider(seed: int) -> dict[str, Any]:
    """The course's model on questions that it was not made for, in databases that it has never seen: linked, asked.

    A question that touches nothing, and one whose query does not come back, counts as wrong.
    """
    model, tokenizer, facts = sql_model(seed=seed)
    paths = {path.stem: path for path in load_dataset("spider", "databases").values()}
    rows = list(load_dataset("spider", "validation"))
    with SQLProcess() as process:
        boxes = {name: SQLSandbox(path, process=process) for name, path in paths.items()}
        tables = {name: read_tables(box) for name, box in boxes.items()}
        linked = [_linked(row["question"], tables[row["db_id"]]) for row in rows]
        prompts = [" " if one is None else small_prompt(one.ddl, one.question) for one in linked]
        answers = sql_answers(model, tokenizer, prompts)
        full = [_restored(one, answer) for one, answer in zip(linked, answers)]
        return {
            "rows": 0, "seconds": 0.0, "parameters": facts["parameters"],
            "declined": sum(one is None for one in linked),
            "right": [int(execution_match(boxes[row["db_id"]], sql, row["query"])) for row, sql in zip(rows, full)],
            "exact": [int(exact_match_sql(sql, row["query"])) for row, sql in zip(rows, full)],
            "runs": [int(_runs(boxes[row["db_id"]], sql)) for row, sql in zip(rows, full)],
        }  # fmt: skip


def smollm2(seed: int, taught: bool) -> dict[str, Any]:
    """A real model; its file is another one, as it needs twenty minutes."""
    from tests.benchmarks import geoquery_lora

    return geoquery_lora.smollm2(seed, taught)


def _linked(question: str, tables: dict[str, Any]) -> Any:
    try:
        return link(question, tables)
    except NothingTouched:
        return None


def _restored(linked: Any, answer: str) -> str:
    try:
        return "" if linked is None else linked.restore(answer)
    except ValueError:
        return ""


METHODS: dict[str, Callable[[int], dict[str, Any]]] = {
    FULL: kept_model,
    NO_DDL: lambda seed: course(seed, ddl=False),
    THIRD: lambda seed: course(seed, rows=NOISY),
    WIDE: lambda seed: course(seed, width=192, inner=384, heads=8, learning_rate=2e-3),
    DIRTY: lambda seed: noisy(seed, DIRTY),
    RAN: lambda seed: noisy(seed, RAN),
    AGREED: lambda seed: noisy(seed, AGREED),
    GEO: geo_model,
    GEO_PLAIN: lambda seed: geo_model(seed, 0),
    NEAREST: nearest,
    SMOL: lambda seed: smollm2(seed, False),
    SMOL_LORA: lambda seed: smollm2(seed, True),
    SPIDER: spider,
}
AGAINST = {
    RAN: DIRTY,
    AGREED: DIRTY,
    GEO: NEAREST,
    GEO_PLAIN: NEAREST,
    SMOL: NEAREST,
    SMOL_LORA: NEAREST,
}  # else FULL
ONCE = {NEAREST, SMOL}  # the same for every seed


def lines_of(done: dict[tuple[str, int], dict[str, Any]]) -> list[list[str]]:
    """The table's lines, one a method, with the seeds one below the other."""
    cells: dict[str, list[list[str]]] = {}
    for (name, seed), one in sorted(done.items(), key=lambda item: item[0][1]):
        right = one["right"]
        low, high = paired(right, [0] * len(right)).interval
        other = done.get((AGAINST.get(name, FULL), seed)) or done.get((AGAINST.get(name, FULL), 0))
        change = ""
        if other is not None and other is not one and len(other["right"]) == len(right):
            result = paired(right, other["right"])
            change = f"{result.difference:+.3f} [{result.interval[0]:+.3f}, {result.interval[1]:+.3f}]"
        n = len(right)
        cells.setdefault(name, []).append([
            f"{one['rows']:,}", f"{sum(right) / n:.3f} [{low:.3f}, {high:.3f}]", f"{sum(one['exact']) / n:.3f}",
            f"{sum(one['runs']) / n:.3f}", change, f"{one['seconds']:.0f}",
        ])  # fmt: skip
    return [[name, *map("<br>".join, zip(*rows))] for name, rows in cells.items()]


def main() -> None:
    """Measure what is not recorded yet, and print the table of all that is."""
    runs = KeptRuns(__doc__.splitlines()[0], METHODS, "text2sql.jsonl")
    given = runs.given
    for seed in [] if given.list else given.seeds:
        for name in given.methods or METHODS:
            if (name, seed) in runs.done or (name in ONCE and seed != given.seeds[0]):
                continue
            row = {"method": name, "seed": seed, **METHODS[name](seed)}
            runs.add(row)
            share = sum(row["right"]) / len(row["right"])
            print(f"seed {seed}, {name}: execution {share:.3f}, {row['seconds']:.0f} s", flush=True)
    rows = sorted(lines_of(runs.asked()), key=lambda row: list(METHODS).index(row[0]))
    print(record.markdown(HEAD, rows))
    if given.write:
        record.put_rows("text2sql", HEAD, rows, list(METHODS))


if __name__ == "__main__":
    main()
