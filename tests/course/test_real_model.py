"""The tour's last stage: a real model answers from the passage, or one line says why not."""

from types import SimpleNamespace

import pytest

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
    "A zorb is a small copper tool used by bakers in Teral to mark bread. A zorb weighs about 90 grams and has a wooden "
    "handle.",
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
    monkeypatch.setattr(real_model, "generate", lambda model, ids, params: [3] * min(5, params.max_tokens))
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
    ],
)
def test_why_it_is_not_asked_is_one_line(stub, monkeypatch, question, passage, there, why):
    monkeypatch.setattr(real_model, "available", lambda name: there)
    lines = []
    assert real_model.ask(question, passage, 9, lines.append) is None
    assert len(lines) == 1
    assert why in lines[0]
    assert "\n" not in lines[0]


def test_a_tour_can_leave_it_out(stub):
    assert real_model.ask(QUESTION, PASSAGE, 0, print) is None
    assert stub == []
    assert TourSettings().answer_tokens > TourSettings().quick().answer_tokens > 0


@needs_model("smollm2")
def test_the_real_model_answers_from_a_passage():
    told = real_model.ask(QUESTION, PASSAGE, 30, print)
    assert "copper" in told.value.lower()
