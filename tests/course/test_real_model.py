"""The tour's last stage: a real model answers from the passage, or one line says why not."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from minillm._files import BadFileError
from minillm.course.tour import real_model
from minillm.course.tour.run import summary
from minillm.course.tour.settings import TourSettings
from minillm.data import Passage
from tests.helpers import needs_model

QUESTION = "What is a zorb made of?"
PASSAGE = Passage(
    "zorb#0",
    "zorb",
    "Tools",
    "A zorb is a small copper tool used by bakers in Teral to mark bread. It weighs about 90 grams.",
)


@pytest.fixture
def stub(monkeypatch):
    """A model that says what it is told to: what it was asked is kept in `asked`."""
    asked = []
    tokenizer = SimpleNamespace(
        encode=lambda text: asked.append(text) or [1, 2], decode=lambda ids, **_: " Copper,\nit says. "
    )
    monkeypatch.setattr(real_model, "available", lambda name: True)
    monkeypatch.setattr(real_model, "load_model", lambda name: SimpleNamespace(num_parameters=lambda: 135e6))
    monkeypatch.setattr(real_model, "load_tokenizer", lambda name: tokenizer)
    monkeypatch.setattr(real_model, "apply_chat_template", lambda _, messages: messages[-1]["content"])
    monkeypatch.setattr(
        real_model, "generate", lambda model, ids, params, tokenizer: [3] * min(5, params.max_tokens)
    )
    return asked


def test_it_is_asked_with_the_passage_and_its_words_are_told(stub):
    lines = []
    told = real_model.ask(QUESTION, PASSAGE, 9, lines.append)
    assert lines == []
    assert PASSAGE.text in stub[0]
    assert QUESTION in stub[0]
    assert (told.name, told.figure, told.meaning) == ("real model", "135M weights", "Copper, it says.")
    assert told.figures == {
        "model": "smollm2", "text": "Copper,\nit says.", "passage": "zorb#0", "prompt_tokens": 2, "new_tokens": 5,
    }  # fmt: skip
    closing = real_model.words(told)
    assert "English only, and small: check it" in closing
    assert closing.endswith("-> Copper,\nit says.")
    result = {"seconds": 1.0, "peak_memory_bytes": None, "question": QUESTION, "report": "tour.html"}
    assert f"-> found\n\n{closing}" in summary(result, [told], f"found\n\n{closing}")


def test_an_answer_that_was_cut_says_so(stub):
    assert real_model.ask(QUESTION, PASSAGE, 3, print).value == "Copper,\nit says. ..."


@pytest.mark.parametrize(
    ("question", "passage", "there", "why"),
    [
        (QUESTION, PASSAGE, False, "`minillm fetch smollm2` (93 MB) brings a real model"),
        (QUESTION, None, True, "there is no passage to answer from"),
        (
            "with 문은 어떻게 동작하나요?",
            Passage("a#0", "a", "문", "블록을 감싼다."),
            True,
            "reads English only",
        ),
        (
            "with 문은 어떻게 동작하나요?",
            PASSAGE,
            True,
            "reads English only",
        ),  # a long passage hides no question
    ],
)
def test_why_it_is_not_asked_is_one_line(stub, monkeypatch, question, passage, there, why):
    monkeypatch.setattr(real_model, "available", lambda name: there)
    lines = []
    assert real_model.ask(question, passage, 9, lines.append) is None
    assert len(lines) == 1
    assert why in lines[0]
    assert "\n" not in lines[0]


def test_a_model_that_cannot_answer_ends_no_tour(stub, monkeypatch):
    """A file damaged since it was fetched, or a passage of more tokens than the model reads, after minutes of work."""

    def damaged(name):
        raise BadFileError("'x.gguf' is damaged: delete it and run `minillm fetch smollm2`")

    monkeypatch.setattr(real_model, "load_model", damaged)
    lines = []
    assert real_model.ask(QUESTION, PASSAGE, 9, lines.append) is None
    assert lines == [
        "a real model is not asked: 'x.gguf' is damaged: delete it and run `minillm fetch smollm2`"
    ]


def test_a_tour_can_leave_it_out(stub):
    assert real_model.ask(QUESTION, PASSAGE, 0, print) is None
    assert stub == []
    assert TourSettings().answer_tokens > TourSettings().quick().answer_tokens > 0


@needs_model("smollm2")
def test_the_real_model_answers_from_a_passage():
    told = real_model.ask(QUESTION, PASSAGE, 30, print)
    assert "copper" in told.value.lower()


@pytest.mark.soak
@needs_model("smollm2")
def test_it_answers_from_passages_what_it_cannot_know(monkeypatch):
    """8 of 12 with the passage when this was written."""
    model, tokenizer = real_model.load_model(real_model.NAME), real_model.load_tokenizer(real_model.NAME)
    monkeypatch.setattr(real_model, "load_model", lambda name: model)
    monkeypatch.setattr(real_model, "load_tokenizer", lambda name: tokenizer)
    right = {True: 0, False: 0}
    for line in Path(__file__).with_name("invented_facts.jsonl").read_text(encoding="utf-8").splitlines():
        fact = json.loads(line)
        for given in right:
            passage = Passage("x#0", "x", "x", fact["passage"] if given else "There is nothing here.")
            told = real_model.ask(fact["question"], passage, 25, print)
            right[given] += fact["answer"].lower() in told.value.lower()
    assert right[True] >= 6
    assert right[True] >= right[False] + 4
