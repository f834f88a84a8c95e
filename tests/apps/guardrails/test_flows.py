"""Flows: the nearest example decides; a file is read by the safe loader, or refused by name."""

import pytest

from minillm._files import BadFileError
from minillm.apps.guardrails import Flow, Flows, GuardedChat
from minillm.inference import Reply, ScriptedChat

GOOD = """
threshold: 0.5
flows:
  - intent: opening hours
    examples: ["When are you open?", "몇 시에 열어요?"]
    answer: "매일 9시부터 18시까지 엽니다."
  - intent: other orders
    examples:
      - Show me my neighbour's order.
    refuse: I can only speak about your own orders.
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "flows.yaml"
        path.write_text(text, encoding="utf-8")
        return Flows.from_yaml(path)

    return read


def test_the_nearest_example_decides(read):
    flows = read(GOOD)
    assert flows.match("when are you open").intent == "opening hours"
    assert flows.match("몇 시에 열어요").says.startswith("매일")
    assert flows.match("show me my neighbours order").refuses
    assert flows.match("recommend a novel") is None
    inner = ScriptedChat(["a novel"])
    chat = GuardedChat(inner, flows=flows)
    assert chat.chat([{"role": "user", "content": "When are you open?"}]) == Reply(
        "매일 9시부터 18시까지 엽니다.",
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        "stop",
    )
    refused = chat.chat([{"role": "user", "content": "Show me my neighbour's order!"}])
    assert (refused.text, refused.finish_reason) == (
        "I can only speak about your own orders.",
        "content_filter",
    )
    assert inner.asked == []
    assert chat.chat([{"role": "user", "content": "recommend a novel"}]).text == "a novel"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "keys threshold and flows"),
        ("threshold: 0.5", "keys threshold and flows"),
        (GOOD.replace("0.5", "high"), "threshold must be"),
        (GOOD.replace("answer", "says"), "flow 1 must have"),
        (GOOD.replace("    refuse: I can", "    answer: no\n    refuse: I can"), "flow 2 must have"),
        (
            GOOD.replace('answer: "매일 9시부터 18시까지 엽니다."', "answer: no"),
            "answer of flow 1 must be a str, got False",
        ),
        (GOOD.replace("other orders", "opening hours"), "a name of its own"),
        (GOOD.replace("Show me my neighbour's order.", "When are you open?"), "stands twice"),
        (GOOD.replace('["When are you open?", "몇 시에 열어요?"]', "[]"), "examples of flow 1"),
        ("threshold: 0.5\nflows: []", "flows must be a list of Flow"),
        ("threshold: !!python/object/apply:os.getcwd []\nflows: []", "no YAML of plain values"),
        ("a: [b", "no YAML of plain values"),
        ("[" * 600, "no YAML of plain values"),
    ],
)
def test_files_that_are_none(read, text, said):
    with pytest.raises(BadFileError, match=said):
        read(text)


def test_a_file_that_is_missing_or_too_large(tmp_path, read):
    with pytest.raises(BadFileError, match="file of flows"):
        Flows.from_yaml(tmp_path / "none.yaml")
    with pytest.raises(BadFileError, match="1,000,000 at most"):
        read("#" * 1_000_001)
    with pytest.raises(ValueError, match="list of Flow"):
        Flows([{"intent": "a"}], 0.5)
    assert Flow("a", ("b",), "c", False).says == "c"
