"""The model of chapter 6: it reads the DDL of a database and a question, English or Korean, and writes SQL.

    model, tokenizer, facts = sql_model()

    python -m minillm.course.small.sql_models          make it if it is not there, and say what it is

Made by the first call on this machine in one to two minutes of one core, and kept. The recipe is this file; the
world is data/sql_questions.py. It reads names letter for letter as they stand in the DDL (`small_prompt`), and the loss
is that of the query alone. Its figures are of schemas and questions that are in no training data; the proof stands
beside them.

Book: 6.3 실습: 미세 조정 수행하기. Left out: what would take longer; subqueries.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from minillm._checks import check_int
from minillm._files import read_json, write_json
from minillm.apps.text2sql import SQLProcess, SQLSandbox, compare_execution
from minillm.course.kept import DEADLINE, kept, kept_folder, key_of
from minillm.course.small.programs import END, new_program_model
from minillm.course.small.recipe import one_thread
from minillm.data import SQLTask, prove_held_out, shared_forms, small_prompt, spaced, sql_tasks, unspaced
from minillm.evaluation import paired
from minillm.inference import SamplingParams, generate_batch
from minillm.models import Llama
from minillm.tokenizer import BPETokenizer, load_tokenizer
from minillm.training import PackedSet, SFTObjective, Trainer, TrainerConfig

VERSION = 2  # count it up when what is called here would make another model of the same recipe
VOCABULARY = 4000  # texts that the tokenizer is made from
EXAM = 400  # questions of the examination
PHRASES = (  # one token each: what always stands together
    r" CREATE TABLE", r" \( id INTEGER PRIMARY KEY ,", r" INTEGER REFERENCES", r" \( id \)", r" (?:TEXT|INTEGER) [,)]",
    r" \) ;", r" COUNT \( \* \)", r" (?:GROUP|ORDER) BY", r" (?:무엇|얼마|어디|언제|몇 [살점쪽])인가요 \?",
    r" 보여 줘 \.",
)  # fmt: skip
# Else one token for a syllable of Hangul or a digit, with the blank before it: what is copied is cut alike everywhere.
PATTERN = "|".join([*PHRASES, r" ?[가-힣]", r" ?\d", r" ?[A-Za-z_]+", r" ?[^\sA-Za-z_\d가-힣]", r"\s"])


@dataclass(frozen=True)
class SQLRecipe:
    """Everything that decides the model."""

    rows: int = 24_000
    vocab_size: int = 1024
    layers: int = 2
    width: int = 96  # model width C
    inner: int = 192
    heads: int = 4
    longest: int = 224  # tokens that the model can see: a DDL, a question and the longest query
    spread: float = 0.1  # of the first weights
    row: int = 144  # tokens of a packed row: what does not fit is not learned from
    batch_size: int = 12  # packed rows
    steps: int = 1300
    learning_rate: float = 4e-3
    ddl: bool = True  # whether it reads the DDL
    seed: int = 0


class SQLModel(NamedTuple):
    """A language model in evaluation mode, its tokenizer, and the facts that were measured when it was made."""

    model: Llama
    tokenizer: BPETokenizer
    facts: dict[str, Any]


# --- the recipe ---


def prompt_of(task: SQLTask, ddl: bool = True) -> str:
    """What the model reads of a task."""
    return small_prompt(task.ddl if ddl else "", task.question)


def example_of(tokenizer: BPETokenizer, prompt: str, sql: str) -> dict[str, list[int]]:
    """{"input_ids", "labels"}: the prompt is read, the query and its end are learned."""
    (end,) = tokenizer.encode(END, allowed_special="all")
    asked, written = tokenizer.encode(prompt), [*tokenizer.encode(spaced(sql)), end]
    return {"input_ids": asked + written, "labels": [-100] * len(asked) + written}


def trained(
    pairs: Sequence[tuple[str, str]], recipe: SQLRecipe = SQLRecipe(), progress: bool = False
) -> tuple[Llama, BPETokenizer, list[dict[str, Any]]]:
    """(a model in evaluation mode, its tokenizer, the history) that has learned these (prompt, query) pairs."""
    texts = [prompt + spaced(sql) for prompt, sql in pairs]
    tokenizer = BPETokenizer.train(texts[:VOCABULARY], recipe.vocab_size, (END,), PATTERN)
    examples = [example_of(tokenizer, prompt, sql) for prompt, sql in pairs]
    model = new_program_model(tokenizer, recipe)
    history = learn(model, examples, recipe, progress)
    return model.eval(), tokenizer, history


def learn(
    model: Llama, examples: Sequence[dict[str, list[int]]], recipe: SQLRecipe, progress: bool = False
) -> list[dict[str, Any]]:
    """Teach the model, in place: packed rows, the loss of the queries alone. The history."""
    data = PackedSet([one for one in examples if len(one["input_ids"]) <= recipe.row], recipe.row)
    settings = TrainerConfig(
        max_steps=recipe.steps, batch_size=recipe.batch_size, context_length=recipe.row,
        learning_rate=recipe.learning_rate, warmup_steps=recipe.steps // 20, betas=(0.9, 0.99), weight_decay=0.1,
        precision="fp32", seed=recipe.seed, log_every=max(1, recipe.steps // 10), progress=progress,
    )  # fmt: skip
    with one_thread():
        return Trainer(model, settings, data, objective=SFTObjective(fused=True)).train()


def tuned(base: SQLModel, tasks: Sequence[SQLTask], recipe: SQLRecipe, progress: bool = False) -> SQLModel:
    """A copy of the model that has learned these tasks, too; recipe: its steps, learning rate and batches count."""
    model, start = copy.deepcopy(base.model), time.process_time()
    examples = [example_of(base.tokenizer, prompt_of(task, recipe.ddl), task.sql) for task in tasks]
    history = learn(model, examples, recipe, progress)
    facts = {
        "losses": [round(record["train_loss"], 4) for record in history], "rows": len(tasks),
        "cpu_seconds": round(time.process_time() - start, 1),
    }  # fmt: skip
    return SQLModel(model.eval(), base.tokenizer, facts)


def make_sql_model(recipe: SQLRecipe = SQLRecipe(), progress: bool = False, exam: int = EXAM) -> SQLModel:
    """Train it and examine it: the whole recipe, with nothing kept."""
    start = time.process_time()
    tasks = sql_tasks(recipe.rows, "train", recipe.seed)
    pairs = [(prompt_of(task, recipe.ddl), task.sql) for task in tasks]
    model, tokenizer, history = trained(pairs, recipe, progress)
    seconds = time.process_time() - start
    asked = sql_tasks(exam, "test", 0)
    answers = sql_answers(model, tokenizer, [prompt_of(task, recipe.ddl) for task in asked])
    facts = {
        "losses": [round(record["train_loss"], 4) for record in history], "cpu_seconds": round(seconds, 1),
        "parameters": sum(parameter.numel() for parameter in model.parameters()), "recipe": asdict(recipe),
        "exam": figures(asked, right_answers(asked, answers)), **held_out(asked, tasks),
        "python": ".".join(map(str, sys.version_info[:3])), "torch": torch.__version__,
    }  # fmt: skip
    return SQLModel(model, tokenizer, facts)


# --- examinations ---


def sql_answers(model: Llama, tokenizer: BPETokenizer, prompts: Sequence[str], most: int = 90) -> list[str]:
    """The query that the model writes for each prompt, by the likeliest token each time; "" for one without an end.

    most: tokens of a query. A prompt that does not fit into the model's window with it gets "", too.
    """
    ids = [tokenizer.encode(prompt) for prompt in prompts]
    fitting = sorted(
        (i for i, one in enumerate(ids) if len(one) + most <= model.config.max_length),
        key=lambda i: len(ids[i]),
    )
    params = SamplingParams(max_tokens=most, temperature=0.0)
    answers = [""] * len(prompts)
    with one_thread():
        for start in range(0, len(fitting), 64):  # prompts of like length side by side: less padding
            places = fitting[start : start + 64]
            done = generate_batch(model, [ids[i] for i in places], params, tokenizer)
            for place, one in zip(places, done):
                answers[place] = unspaced(one.text.replace(END, "")) if one.finish_reason == "stop" else ""
    return answers


def right_answers(tasks: Sequence[SQLTask], answers: Sequence[str]) -> list[bool]:
    """Whether each query finds in its task's database what the task's own query finds."""
    if len(tasks) != len(answers):
        raise ValueError(f"expected one answer to each of {len(tasks)} tasks, got {len(answers)}")
    with SQLProcess() as process:
        return [
            compare_execution(SQLSandbox(script=task.script, process=process), answer, task.sql).match
            for task, answer in zip(tasks, answers)
        ]


def figures(tasks: Sequence[SQLTask], right: Sequence[bool]) -> dict[str, Any]:
    """Execution accuracy with its 95 % interval, and of each language and number of tables."""
    kinds = {"en": [], "ko": [], "1": [], "2": [], "3": []}
    for task, good in zip(tasks, right):
        kinds[task.language].append(good)
        kinds[str(len(task.schema.tables))].append(good)
    return {
        "execution": round(sum(right) / len(right), 4), "n": len(right),
        "interval": [round(end, 4) for end in paired(right, [0] * len(right)).interval],
        **{f"execution_{kind}": round(sum(good) / len(good), 4) for kind, good in kinds.items() if good},
    }  # fmt: skip


def held_out(exam: Sequence[SQLTask], taught: Sequence[SQLTask]) -> dict[str, Any]:
    """The proof that no schema and no question of the exam is in the training data, and what is: forms of queries."""
    schemas = prove_held_out({one.ddl for one in exam}, {one.ddl for one in taught}, what="schema")
    questions = prove_held_out(
        {one.question for one in exam}, {one.question for one in taught}, what="question"
    )
    return {"proof": f"{schemas}; {questions}", "shared_forms": round(shared_forms(exam, taught), 4)}


# --- made once and kept ---


def sql_model(
    rebuild: bool = False, progress: bool = False, deadline: float = DEADLINE, seed: int = 0
) -> SQLModel:
    """The model of chapter 6: (model, tokenizer, facts), made by the first call on this machine and kept.

    rebuild: make it again. progress: show a bar while it is made. seed: of everything; lessons take 0. Raises
    TimeoutError when another process has been at it for `deadline` seconds.
    """
    recipe = SQLRecipe(seed=check_int("seed", seed, 0))

    def save(folder: Path) -> None:
        model, tokenizer, facts = make_sql_model(recipe, progress)
        model.save_pretrained(folder)
        tokenizer.save(folder)
        write_json(folder / "facts.json", facts)

    def load(folder: Path) -> SQLModel:
        facts = read_json(folder / "facts.json", "facts of the SQL model")
        return SQLModel(Llama.from_pretrained(folder).eval(), load_tokenizer(folder), facts)

    return kept("sql_model", _key(recipe), save, load, rebuild, deadline)


def sql_model_folder(seed: int = 0) -> Path:
    """Where it is kept, whether it has been made yet or not."""
    return kept_folder("sql_model", _key(SQLRecipe(seed=seed)))


def _key(recipe: SQLRecipe) -> str:
    """Another recipe, another world, another torch or another version makes another model."""
    tasks = [(one.question, one.sql, one.ddl) for one in sql_tasks(200, "train", recipe.seed)]
    return key_of(recipe, tasks, torch.__version__, VERSION)


def main(arguments: list[str] | None = None) -> int:
    """Make it if it is not there, and say what it is."""
    parser = argparse.ArgumentParser(
        prog="python -m minillm.course.small.sql_models", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--rebuild", action="store_true", help="make it again")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    facts = sql_model(options.rebuild, progress=True, seed=options.seed).facts
    print(f"{facts['parameters']:,} weights, {facts['cpu_seconds']:.0f} s; loss {facts['losses'][-1]:.3f}")
    print(f"execution accuracy: {facts['exam']}")
    print(f"{facts['proof']}; {facts['shared_forms']:.0%} of the queries have a form that was taught")
    print(f"kept in {sql_model_folder(options.seed)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
