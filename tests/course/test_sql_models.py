"""The model of chapter 6: what it reads and learns, how it is kept, and, in the soak, what it is worth."""

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minillm.course import sql_model
from minillm.course.small import sql_models
from minillm.course.small.programs import new_program_model
from minillm.course.small.sql_models import (
    END,
    PATTERN,
    SQLModel,
    SQLRecipe,
    example_of,
    figures,
    held_out,
    make_sql_model,
    prompt_of,
    right_answers,
    sql_answers,
    sql_model_folder,
    tuned,
)
from minillm.data import spaced, sql_tasks
from minillm.data.sql_respelled import respelled_tasks
from minillm.tokenizer import BPETokenizer
from tests.helpers import soak_count

TINY = replace(
    SQLRecipe(), rows=60, vocab_size=400, width=16, inner=16, heads=2, layers=1, steps=2, batch_size=2
)


@pytest.fixture(scope="module")
def tokenizer():
    tasks = sql_tasks(600, seed=1)
    return BPETokenizer.train([prompt_of(one) + spaced(one.sql) for one in tasks], 1024, (END,), PATTERN)


def test_a_name_is_the_same_tokens_in_the_ddl_the_question_and_the_query(tokenizer):
    for word in ("town", "release_year", "Seoul", "서울", "1987", "zebra_count"):
        ids = tokenizer.encode(f" {word}")
        for text in (f" ( {word} TEXT ,", f" {word} ?", f" ' {word} '", f" staff . {word}", f" {word} >"):
            found = tokenizer.encode(text)
            assert any(found[i : i + len(ids)] == ids for i in range(len(found))), (word, text)
    assert tokenizer.encode(" 도시가 서울인")[-3:-1] == tokenizer.encode(" 서울")


def test_texts_come_back_and_fit_into_the_window(tokenizer):
    recipe = SQLRecipe()
    lengths = []
    for task in sql_tasks(400, "validation", seed=2):
        example = example_of(tokenizer, prompt_of(task), task.sql)
        assert tokenizer.decode(example["input_ids"][:-1]) == prompt_of(task) + spaced(task.sql)
        lengths.append(len(example["input_ids"]))
        learned = [token for token in example["labels"] if token != -100]
        assert tokenizer.decode(learned) == spaced(task.sql) + END
    assert max(lengths) <= recipe.row
    assert (
        max(
            sum(token != -100 for token in example_of(tokenizer, "", task.sql)["labels"])
            for task in sql_tasks(400)
        )
        < 90
    )


def test_the_prompt_without_the_ddl_holds_the_question_alone():
    task = sql_tasks(1)[0]
    assert task.schema.tables[0].name in prompt_of(task).split()
    assert prompt_of(task, ddl=False).strip().replace(" ", "") == task.question.replace(" ", "")


def test_answers_are_judged_by_what_they_find():
    tasks = sql_tasks(40, "test")
    assert right_answers(tasks, [task.sql for task in tasks]) == [True] * 40
    assert (
        right_answers(
            tasks, [task.sql.lower().replace(task.schema.tables[0].name, "nothing") for task in tasks]
        )
        == [False] * 40
    )
    with pytest.raises(ValueError, match="one answer to each of 40 tasks, got 1"):
        right_answers(tasks, ["SELECT 1"])


def test_figures_are_shares_of_what_was_asked():
    tasks = sql_tasks(50, "test")
    right = [i % 5 > 0 for i in range(50)]
    found = figures(tasks, right)
    assert found["execution"] == 0.8
    assert found["n"] == 50
    assert found["interval"][0] < 0.8 < found["interval"][1]
    korean = [good for task, good in zip(tasks, right) if task.language == "ko"]
    assert found["execution_ko"] == round(sum(korean) / len(korean), 4)


def test_a_training_row_in_the_exam_is_noticed():
    tasks = sql_tasks(30)
    assert "none in the training text" in held_out(sql_tasks(30, "test"), tasks)["proof"]
    with pytest.raises(ValueError, match="stand in the training text"):
        held_out(tasks[:3], tasks)


def test_a_prompt_that_is_too_long_gets_no_answer(tokenizer):
    model = new_program_model(tokenizer, replace(TINY, longest=64)).eval()
    answers = sql_answers(model, tokenizer, [" a" * 500, " a\n"], most=8)
    assert answers[0] == ""
    assert len(answers) == 2


def test_the_weights_take_little_room(tokenizer, tmp_path):
    model = new_program_model(tokenizer, SQLRecipe())
    model.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 1_500_000


def test_tuning_teaches_a_copy(tokenizer):
    base = SQLModel(new_program_model(tokenizer, TINY).eval(), tokenizer, {})
    before = {name: one.clone() for name, one in base.model.state_dict().items()}
    tasks = respelled_tasks(30)
    found = tuned(base, tasks, TINY)
    assert all(torch.equal(one, before[name]) for name, one in base.model.state_dict().items())
    assert any(not torch.equal(one, before[name]) for name, one in found.model.state_dict().items())
    assert found.facts["rows"] == len(tasks) == 30
    assert len(found.facts["losses"]) == TINY.steps
    assert not found.model.training
    again = tuned(base, tasks, TINY)
    assert all(
        torch.equal(one, again.model.state_dict()[name]) for name, one in found.model.state_dict().items()
    )
    other = tuned(base, tasks[:10], TINY)
    assert any(
        not torch.equal(one, other.model.state_dict()[name]) for name, one in found.model.state_dict().items()
    )


def test_it_is_kept_with_its_facts_and_not_made_again(monkeypatch, tmp_path):
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path))
    monkeypatch.setattr(sql_models, "SQLRecipe", lambda seed=0: replace(TINY, seed=seed))
    monkeypatch.setattr(
        sql_models, "make_sql_model", lambda recipe, progress: make_sql_model(recipe, progress, exam=12)
    )
    first = sql_model()
    monkeypatch.setattr(sql_models, "make_sql_model", None)  # a second making would fail
    again = sql_model()
    assert again.facts == first.facts
    assert first.facts["exam"]["n"] == 12
    ids = torch.tensor([first.tokenizer.encode(prompt_of(sql_tasks(1)[0]))])
    assert torch.equal(first.model(ids).logits, again.model(ids).logits)
    assert json.loads((sql_model_folder() / "facts.json").read_text()) == first.facts
    assert sql_model_folder(1) != sql_model_folder()
    assert not first.model.training
    with pytest.raises(ValueError, match="seed"):
        sql_model(seed=-1)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_the_recipe_reads_databases_that_it_has_not_seen(tmp_path, monkeypatch):
    """Wide margins: another processor's model ends elsewhere."""
    if soak_count(100) < 100:
        pytest.skip("the recipe takes two minutes: `make soak` runs it")
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path))
    found = sql_model()
    exam = found.facts["exam"]
    assert exam["execution"] > 0.8
    assert min(exam[f"execution_{kind}"] for kind in ("en", "ko", "1", "2", "3")) > 0.6
    tasks = sql_tasks(sql_models.EXAM, "test")
    again = right_answers(
        tasks, sql_answers(found.model, found.tokenizer, [prompt_of(task) for task in tasks])
    )
    assert sum(again) / len(again) == pytest.approx(exam["execution"], abs=0.02)
    blind = right_answers(
        tasks, sql_answers(found.model, found.tokenizer, [prompt_of(task, False) for task in tasks])
    )
    assert sum(blind) / len(blind) < 0.5
    assert sum(file.stat().st_size for file in sql_model_folder().iterdir()) < 1_500_000


def test_the_lesson_quotes_the_recorded_table():
    """Shares of the first seed: the counts that lesson 06_3 prints, and the table of BENCHMARKS.md."""
    root = Path(__file__).parents[2]
    cells = json.loads((root / "notebooks/06_3_fine_tuning_for_sql.ipynb").read_text("utf-8"))["cells"]
    (source,) = ("".join(one["source"]) for one in cells if "".join(one["source"]).startswith("RECORDED = "))
    quoted = ast.literal_eval(ast.parse(source).body[0].value)
    text = (
        (root / "BENCHMARKS.md")
        .read_text("utf-8")
        .split("<!-- bench:text2sql -->")[1]
        .split("<!-- /bench")[0]
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.strip().splitlines()[2:]]
    table = {row[0]: (float(row[2].split()[0]), float(re.split(r"[ <]", row[3])[0])) for row in rows}
    for name, method in {
        "unseen DDLs, our model": "small model, reads the DDL",
        "unseen DDLs, learned without the DDL": "the same, the DDL left out",
        "GeoQuery, a small model": "GeoQuery, small model",
        "GeoQuery, the query of the nearest question": "GeoQuery, the query of the nearest question",
        "Spider, our model, words linked": "Spider, the small model by linked names",
    }.items():
        execution, exact, n = quoted.pop(name)
        assert table[method] == pytest.approx((execution / n, exact / n), abs=6e-4)
    assert not quoted
