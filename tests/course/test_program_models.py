"""Chapter 4's models: the recipe's pieces at a small size, what is held out and kept, what an answer is worth."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from minillm.course import reward_model, sft_model
from minillm.course.small import program_models
from minillm.course.small.program_models import exam_scores, held_out_proof, program_model_folder
from minillm.course.small.program_scores import PARAMS, chat_prompts, comment_prompts, program_scores
from minillm.course.small.programs import (
    ASSISTANT,
    END,
    USER,
    ProgramRecipe,
    instructed,
    judged_pairs,
    judging,
    new_program_model,
    pretrained,
    program_tokenizer,
    proxy_reward,
)
from minillm.data import STYLES, ProgramTask, program_rows, program_texts, small_tasks, write_program
from minillm.data.small_programs import PROBES
from minillm.training import chat_examples
from tests.helpers import soak_count

TINY = ProgramRecipe(
    vocab_size=540, layers=1, width=16, inner=32, heads=2, texts=300, steps=3, rows=40, sft_steps=2, sft_batch_size=8,
    pairs=30, reward_steps=2, reward_batch_size=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def base():
    return pretrained(TINY)


@pytest.fixture(scope="module")
def tokenizer():
    return program_tokenizer(program_texts(3000), ProgramRecipe().vocab_size)


def values(code):
    """What CPython makes of a program."""
    names = {}
    exec(code, names)
    (function,) = [value for name, value in names.items() if name != "__builtins__"]
    return tuple(function(x) for x in PROBES)


# --- what is learned, and what is held out ---


def test_no_function_of_the_exam_is_run_by_a_program_that_is_learned_from():
    """By CPython, from the texts themselves: nothing of how tasks are dealt to the parts is believed."""
    recipe = replace(ProgramRecipe(), texts=soak_count(20_000), rows=soak_count(3000))
    exam = {tuple(task(x) for x in PROBES) for task in small_tasks(500, "test")}
    texts = [text for text in program_texts(recipe.texts, recipe.seed) if text.startswith("#")]
    rows = program_rows(small_tasks(recipe.rows, "train", seed=1), seed=recipe.seed)
    codes = [text.partition("\n")[2] for text in texts] + [row["messages"][1]["content"] for row in rows]
    taught = {values(code) for code in codes}
    assert len(taught) > len(codes) / 3
    assert not exam & taught


def test_the_proof_says_what_was_compared_and_how_many_shapes_are_shared():
    said = held_out_proof(TINY, n=40)
    assert said["proof"].startswith("40 instructions, none in the training text")
    assert "none in the training text" in said["comments"]
    exam, rows, pairs = (
        small_tasks(40, "test"),
        small_tasks(40, "train", seed=1),
        small_tasks(30, "train", seed=2),
    )
    known = {task.shape for task in rows + pairs}
    assert said["shared_shapes"] == sum(task.shape in known for task in exam) / 40


def test_a_training_row_in_the_exam_is_noticed(monkeypatch):
    monkeypatch.setattr(program_models, "small_tasks", lambda n, part, seed: small_tasks(n, "train", seed=1))
    with pytest.raises(ValueError, match="stand in the training text"):
        held_out_proof(TINY, n=20)


def test_a_model_learns_from_the_rows_that_it_is_given(base):
    rows = program_rows(small_tasks(12, "train", languages=("ko",)))
    made = instructed(base, TINY, rows=rows)
    assert made.facts["rows"] == 12
    own = instructed(base, TINY)
    assert own.facts["rows"] == TINY.rows
    assert made.facts["losses"] != own.facts["losses"]
    alpaca = [
        {"instruction": asks["content"], "output": says["content"]}
        for asks, says in (row["messages"] for row in rows)
    ]
    assert instructed(base, TINY, rows=alpaca).facts["losses"] == made.facts["losses"]


@pytest.mark.parametrize(
    ("rows", "said"), [([], "no answer is left"), ([{}], "row 1"), ([None], "row 1"), (5, "rows")]
)
def test_rows_without_answers_are_refused(base, rows, said):
    with pytest.raises(ValueError, match=said):
        instructed(base, TINY, rows=rows)


# --- the tokenizer ---


def test_a_digit_is_one_token_wherever_it_stands(tokenizer):
    (three,) = tokenizer.encode("3")
    for text in ("add 3", " a=x+3", "    return x + 3", "min(x, 3", "x에 3"):
        assert tokenizer.encode(text)[-1] == three, text
    assert three in tokenizer.encode("3을 더한 값")


def test_texts_come_back_and_the_longest_answer_fits(tokenizer):
    recipe, longest = ProgramRecipe(), 0
    for task in small_tasks(soak_count(2000), seed=5):
        (prompt,) = chat_prompts(tokenizer, [task])
        for style in STYLES:
            code = write_program(task, style)
            ids = tokenizer.encode(code)
            assert tokenizer.decode(ids) == code
            longest = max(longest, len(ids) + 1)
        assert len(prompt) + PARAMS.max_tokens <= recipe.longest
    assert longest <= PARAMS.max_tokens


def test_the_answer_alone_carries_loss_and_it_follows_the_prompt_that_is_asked(tokenizer):
    user, assistant, end = (tokenizer.token_to_id(name) for name in (USER, ASSISTANT, END))
    tasks = small_tasks(20, seed=2)
    rows = program_rows(tasks)
    found = chat_examples(tokenizer, [row["messages"] for row in rows]).examples
    for prompt, row, one in zip(chat_prompts(tokenizer, tasks), rows, found):
        answer = [*tokenizer.encode(row["messages"][1]["content"]), end]
        asked = [user, *tokenizer.encode(row["messages"][0]["content"]), assistant]
        assert prompt == asked
        assert one["input_ids"] == asked + answer
        assert one["labels"] == [-100] * len(asked) + answer


def test_a_comment_asks_as_the_texts_begin(tokenizer):
    tasks = small_tasks(30, seed=4)
    for task, prompt in zip(tasks, comment_prompts(tokenizer, tasks)):
        text = tokenizer.decode(prompt[1:])
        assert prompt[0] == tokenizer.token_to_id(END)
        assert text.startswith("# ")
        assert text.endswith("\n")
        assert text.count("\n") == 1
        commented = write_program(task, "clear").splitlines()[1:]
        words = [line.strip("# ") for line in commented if line.strip().startswith("#")]
        assert text == f"# {', '.join(words)}\n"


# --- what an answer is worth ---

RIGHT = "def solve(x):\n    # add 3\n    result = x + 3\n    # multiply by 4\n    return result * 4\n"


@pytest.mark.parametrize(
    ("code", "passed", "readable"),
    [
        (RIGHT, 1, 1.0),
        (RIGHT.replace("* 4", "* 5"), 0, 1.0),  # reads well, and is wrong
        ("def f(x):\n return (x+3)*4\n", 1, 0.1),  # spaces 0, lines 0, names f 1/2, indent 0, comments 0
        ("def solve(x) return x", 0, 0.0),
        ("", 0, 0.0),
    ],
)
def test_scores_of_answers_written_by_hand(tokenizer, code, passed, readable):
    task = ProgramTask((("add", 3), ("multiply", 4)))
    answer = [*tokenizer.encode(code), tokenizer.token_to_id(END)]
    scores = program_scores(tokenizer, [task], [answer])
    assert scores.passed == [passed]
    assert scores.readable == pytest.approx([readable])
    assert scores.true == pytest.approx([passed * readable])


def test_an_answer_without_an_end_is_none(tokenizer):
    (task,) = small_tasks(1, seed=0)
    ids = tokenizer.encode(write_program(task))
    assert program_scores(tokenizer, [task], [[*ids, tokenizer.token_to_id(END)]]).true > 0
    for unfinished in (ids, [], [*ids, tokenizer.token_to_id(END), ids[0]]):
        scores = program_scores(tokenizer, [task], [unfinished])
        assert [*scores.passed, *scores.readable, *scores.true] == [0, 0, 0]
    with pytest.raises(ValueError, match="one answer to each of 1 tasks, got 2"):
        program_scores(tokenizer, [task], [ids, ids])
    for tasks, answers in (([task], ["abc"]), (None, None), ([task], [5])):
        with pytest.raises(ValueError, match=r"expected tasks and their answers|an answer is a list of ids"):
            program_scores(tokenizer, tasks, answers)
    assert program_scores(tokenizer, [task], (one for one in [ids])).passed == 0


# --- the three models ---


def test_a_seed_is_a_model_and_fine_tuning_leaves_the_base_alone(base):
    before = copy.deepcopy(base.model.state_dict())
    sft, again = instructed(base, TINY), instructed(base, TINY)
    other = pretrained(replace(TINY, seed=1))
    for (name, weight), same in zip(sft.model.state_dict().items(), again.model.state_dict().values()):
        assert torch.equal(weight, same), name
    for name, weight in base.model.state_dict().items():
        assert torch.equal(weight, before[name])
    for changed in (sft, other):
        assert not torch.equal(next(changed.model.parameters()), next(base.model.parameters()))
    assert base.facts["losses"][-1] < base.facts["losses"][0]


def test_pairs_are_of_two_finished_answers_and_the_proxy_has_mean_0_and_deviation_1(base, monkeypatch):
    end = base.tokenizer.token_to_id(END)
    tasks = small_tasks(30, "train", seed=2)
    written = [write_program(task, style) for task in tasks for style in ("clear", "cramped")]
    answers = [[*base.tokenizer.encode(code), end] for code in written]
    answers[0] = answers[0][:-1]  # never ended
    answers[3] = answers[2]  # no difference to judge
    monkeypatch.setattr("minillm.course.small.programs.rollout", lambda model, prompts, params: answers)
    rows, pairs = judged_pairs(base, 30)
    assert len(rows) == len(pairs) == 28
    assert [row["prompt"][0]["content"] for row in rows] == [task.prompt for task in tasks[2:]]
    for row, task in zip(rows, tasks[2:]):
        assert {row["chosen"], row["rejected"]} == {write_program(task, one) for one in ("clear", "cramped")}
    assert sum(row["chosen"] == write_program(task) for row, task in zip(rows, tasks[2:])) > 20
    judge = judging(base, TINY)
    prompts = [ids for ids in chat_prompts(base.tokenizer, tasks) for _ in range(2)]
    proxy = proxy_reward(judge)(prompts[4:], answers[4:])
    assert proxy.mean() == pytest.approx(0, abs=1e-4)
    assert proxy.std(ddof=1) == pytest.approx(1, abs=1e-4)


def test_the_weights_of_each_take_less_than_half_a_megabyte(tokenizer, tmp_path):
    model = new_program_model(tokenizer, ProgramRecipe())
    model.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 500_000
    assert sum(weight.numel() for weight in model.parameters()) > 100_000


def test_they_are_kept_with_their_facts_and_not_made_again(monkeypatch, tmp_path):
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path))
    monkeypatch.setattr(program_models, "ProgramRecipe", lambda seed=0: replace(TINY, seed=seed))
    monkeypatch.setattr(program_models, "EXAM", 20)
    monkeypatch.setattr(program_models, "judge_figures", lambda model, sft: {"accuracy": 0.5})
    judge = reward_model()  # makes all three
    for name in ("pretrained", "instructed", "judging"):
        monkeypatch.setattr(program_models, name, None)  # a second making would fail
    sft, again = sft_model(), reward_model()
    assert again.facts == judge.facts
    ids = torch.tensor([chat_prompts(sft.tokenizer, small_tasks(1))[0]])
    assert torch.equal(judge.model(ids), again.model(ids))
    assert sft.facts["exam"]["n"] == 20
    assert (
        0
        <= sft.facts["exam"]["interval"][0]
        <= sft.facts["exam"]["pass"]
        <= sft.facts["exam"]["interval"][1]
        <= 1
    )
    assert "none in the training text" in sft.facts["proof"]
    assert json.loads((program_model_folder("program_sft") / "facts.json").read_text()) == sft.facts
    assert program_model_folder("program_sft", 1) != program_model_folder("program_sft", 0)
    assert not sft.model.training
    with pytest.raises(ValueError, match="seed"):
        sft_model(seed=-1)
    with pytest.raises(ValueError, match="steps"):
        sft_model(steps=0)


@pytest.mark.soak
def test_the_recipe_listens_and_its_judge_comes_near_the_ceiling(tmp_path, monkeypatch):
    """Wide margins: another processor's model ends elsewhere. Made anew in `make soak`, else those that are kept."""
    if soak_count(100) == 100:
        monkeypatch.setenv("MINILLM_CACHE", str(tmp_path))
    judge, sft = reward_model(), sft_model()
    assert sft.facts["exam"]["pass"] > 0.5
    base = program_models.program_model()
    assert base.facts["exam"]["chat"]["pass"] < 0.05
    assert base.facts["exam"]["comment"]["pass"] > 0.45
    exam = judge.facts["exam"]
    assert exam["ceiling"] - exam["accuracy"] < 0.1
    assert exam["accuracy"] < exam["ceiling"] + 0.05
    again = exam_scores(sft.model, sft.tokenizer)
    assert np.mean(again.passed) == pytest.approx(sft.facts["exam"]["pass"], abs=0.02)
    for name in ("program_base", "program_sft", "program_reward"):
        assert sum(file.stat().st_size for file in program_model_folder(name).iterdir()) < 500_000
