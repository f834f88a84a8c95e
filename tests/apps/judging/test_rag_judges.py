"""A language model fills in the RAG figures: on scripted verdicts, what it is asked and what is made of it."""

import pytest

from minillm.apps.judging import ask_back, statements_of, support_by, useful
from minillm.evaluation import context_recall, faithfulness
from minillm.inference import ScriptedChat


def test_faithfulness_is_the_share_of_statements_the_judge_supports():
    chat = ScriptedChat(["Yes", "No", "No", "Yes"])
    said = statements_of("It opens at ten. It costs 12 euros. 어린이는 무료입니다. 지도도 줍니다.")
    assert len(said) == 4
    assert faithfulness(said, ["It opens at ten.", "It costs 8 euros."], support_by(chat)) == 0.5
    assert len(chat.asked) == 4
    asked = chat.asked[1][-1]["content"]
    assert "It costs 12 euros." in asked
    assert "It opens at ten.\nIt costs 8 euros." in asked


def test_recall_useful_and_the_question_asked_back():
    assert context_recall(["a.", "b."], ["c"], support_by(ScriptedChat(["Yes", "Yes"]))) == 1
    chat = ScriptedChat(["No", " When does it open? \n"])
    assert useful(chat, "When?", "At ten.", "Bus 17 stops here.") == 0
    assert ask_back(chat, "At ten.") == "When does it open?"
    assert "At ten." in chat.asked[1][-1]["content"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: statements_of("  "), "must say something"),
        (lambda: support_by(ScriptedChat(["Yes"]))("a", "text"), "contexts must be a list"),
        (lambda: support_by(ScriptedChat(["Yes"]))("a", []), "contexts must be a list"),
        (lambda: useful(ScriptedChat(["Yes"]), "q", None, "c"), "reference"),
        (lambda: ask_back(ScriptedChat([" "]), "a"), "no question"),
    ],
)
def test_bad_input(call, said):
    with pytest.raises(ValueError, match=said):
        call()
