"""The table of chapter 6's methods: what a line says of each seed, and against which other method."""

from minillm.course.small.sql_models import SQLRecipe
from minillm.data import sql_tasks
from minillm.data.sql_noise import noisy_rows
from tests.benchmarks import text2sql_quality as table


def run(method, seed, right, seconds=50.0, rows=24_000):
    """A recorded run; right: how many of 40 queries."""
    scores = [1] * right + [0] * (40 - right)
    return {"method": method, "seed": seed, "rows": rows, "seconds": seconds, "right": scores, "exact": [0] * 40,
            "runs": [1] * 40}  # fmt: skip


def test_a_line_holds_every_seed_and_the_difference_from_its_own_seed():
    runs = [
        run(table.FULL, 0, 36), run(table.FULL, 1, 38), run(table.DIRTY, 1, 20), run(table.DIRTY, 0, 30),
        run(table.RAN, 0, 32, rows=19_000), run(table.RAN, 1, 20, rows=19_100),
    ]  # fmt: skip
    lines = {
        line[0]: line[1:] for line in table.lines_of({(one["method"], one["seed"]): one for one in runs})
    }
    assert lines[table.FULL][0] == "24,000<br>24,000"
    assert [cell.split(" ")[0] for cell in lines[table.FULL][1].split("<br>")] == ["0.900", "0.950"]
    assert lines[table.FULL][4] == "<br>"  # it is what the others are held against
    assert [cell.split(" ")[0] for cell in lines[table.DIRTY][4].split("<br>")] == ["-0.150", "-0.450"]
    assert [cell.split(" ")[0] for cell in lines[table.RAN][4].split("<br>")] == ["+0.050", "+0.000"]
    assert lines[table.RAN][2:4] == ["0.000<br>0.000", "1.000<br>1.000"]


def test_every_method_that_others_are_held_against_is_one():
    assert set(table.AGAINST) | set(table.AGAINST.values()) | table.ONCE | {table.FULL} <= set(table.METHODS)


def test_rows_on_which_both_halves_agree_stay_in_their_order(monkeypatch):
    """Two models that know every answer: what is kept is what finds the right rows."""
    rows = noisy_rows(sql_tasks(60, seed=5), {"valid_but_wrong": 0.3}, seed=1)
    clean = {task.question: task.sql for task in sql_tasks(60, seed=5)}
    asked = {table.prompt_of(row.task): clean[row.task.question] for row in rows}
    monkeypatch.setattr(table, "trained", lambda pairs, recipe: (None, None, []))
    monkeypatch.setattr(
        table, "sql_answers", lambda model, tokenizer, prompts: [asked[one] for one in prompts]
    )
    kept = table.agreeing(rows, SQLRecipe())
    assert [row for row in rows if row in kept] == kept
    assert all(row in kept for row in rows if row.kind == "clean")
    assert len(kept) < len(rows)
    assert sum(row.kind != "clean" for row in kept) < sum(row.kind != "clean" for row in rows) / 2


def test_geoquery_is_scored_with_its_names_put_back(real_data):
    real_data("text2sql/geoquery/geoquery.shared.jsonl")
    _, exam, path = table.geo()
    some = exam[:15]
    found = table.geo_scores(some, [one.linked_sql for one in some], path)
    assert found == {name: [1] * 15 for name in ("right", "exact", "runs")}
    wrong = table.geo_scores(some, ["select 1 from nothing"] * 15, path)
    assert wrong == {name: [0] * 15 for name in ("right", "exact", "runs")}
