"""Instruction and preference rows: every published form to one form, and every malformed row refused by its number."""

import gzip
import json

import pytest

from minillm._files import BadFileError
from minillm.data import instruction_rows, load_dataset, preference_rows, read_instructions, read_preferences

USER, REPLY = {"role": "user", "content": "질문"}, {"role": "assistant", "content": "답"}
SYSTEM = {"role": "system", "content": "be kind"}
CALLS = [{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]
CALL = {"role": "assistant", "content": "", "tool_calls": CALLS}
FOUND = {"role": "tool", "content": "2", "name": "add", "tool_call_id": "a"}
OTHER = {"role": "assistant", "content": "x"}

INSTRUCTIONS = [
    ({"instruction": "질문", "input": "", "output": "답"}, [USER, REPLY]),
    ({"instruction": "질문", "output": "답"}, [USER, REPLY]),
    ({"instruction": "Add", "input": "1 2", "output": "3"},
     [{"role": "user", "content": "Add\n\n1 2"}, {"role": "assistant", "content": "3"}]),
    ({"messages": [USER, REPLY]}, [USER, REPLY]),
    ({"messages": [SYSTEM, USER, REPLY, USER, REPLY], "id": 7}, [SYSTEM, USER, REPLY, USER, REPLY]),
    ({"conversations": [{"from": "human", "value": "질문"}, {"from": "gpt", "value": "답"}], "system": "be kind"},
     [SYSTEM, USER, REPLY]),
    ({"prompt": "질문", "completion": "답"}, [USER, REPLY]),
    ({"prompt": [USER], "completion": [REPLY]}, [USER, REPLY]),
    ({"prompt": "질문", "output": "답"}, [USER, REPLY]),
    ({"system": "be kind", "instruction": "질문", "input": "", "output": "답", "history": []}, [SYSTEM, USER, REPLY]),
    ({"system": "be kind", "prompt": "질문", "completion": "답"}, [SYSTEM, USER, REPLY]),
    ({"system": "be kind", "prompt": [USER], "completion": [REPLY]}, [SYSTEM, USER, REPLY]),
    ({"system": "", "instruction": "질문", "output": "답", "history": "of Korea"}, [USER, REPLY]),
    ({"prompt": [USER], "completion": [CALL, FOUND, REPLY]}, [USER, CALL, FOUND, REPLY]),
    ({"messages": [USER, {**CALL, "content": None}, FOUND, FOUND, REPLY]}, [USER, CALL, FOUND, FOUND, REPLY]),
    ({"messages": [USER, {"role": "assistant", "tool_calls": CALLS}, FOUND]}, [USER, CALL, FOUND]),
    ({"messages": [{"role": "developer", "content": ""}, USER, {**REPLY, "tool_calls": None, "weight": 1}, USER]},
     [{"role": "developer", "content": ""}, USER, REPLY, USER]),
    ({"messages": [USER, {**REPLY, "reasoning_content": "왜"}]}, [USER, {**REPLY, "reasoning_content": "왜"}]),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "질"}, {"type": "text", "text": "문"}]},
                   REPLY]}, [USER, REPLY]),
    ({"conversations": [USER, REPLY]}, [USER, REPLY]),
    ({"conversations": [{"from": "system", "value": "be kind"}, {"from": "human", "value": "질문"},
                        {"from": "gpt", "value": "답"}, {"from": "observation", "value": "2"},
                        {"from": "gpt", "value": "답"}]},
     [SYSTEM, USER, REPLY, {"role": "tool", "content": "2"}, REPLY]),
]  # fmt: skip


@pytest.mark.parametrize(("row", "messages"), INSTRUCTIONS)
def test_every_form_becomes_messages(row, messages):
    assert instruction_rows([row]) == [{"messages": messages}]


def test_a_seed_task_gives_a_row_for_each_instance():
    row = {
        "instruction": "Add",
        "instances": [{"input": "1 2", "output": "3"}, {"input": "", "output": "none"}],
    }
    assert [one["messages"][1]["content"] for one in instruction_rows([row])] == ["3", "none"]


PAIRS = [
    ({"prompt": "질문", "chosen": "답", "rejected": "x"}, [USER]),
    ({"system": "be kind", "instruction": "질문", "chosen": "답", "rejected": "x"}, [SYSTEM, USER]),
    ({"prompt": [SYSTEM, USER], "chosen": [REPLY], "rejected": [{**REPLY, "content": "x"}]}, [SYSTEM, USER]),
    ({"instruction": "질문", "input": "", "output": "답", "chosen": "답", "rejected": "x"}, [USER]),
    ({"conversations": [{"from": "human", "value": "질문"}], "chosen": {"from": "gpt", "value": "답"},
      "rejected": {"from": "gpt", "value": "x"}}, [USER]),
    ({"chosen": [USER, REPLY], "rejected": [USER, OTHER]}, [USER]),
    ({"prompt": "질문", "chosen": [USER, REPLY], "rejected": [USER, OTHER]}, [USER]),
    ({"prompt": [USER, CALL, FOUND], "chosen": "답", "rejected": "x"}, [USER, CALL, FOUND]),
    ({"chosen": [SYSTEM, USER, CALL, FOUND, REPLY], "rejected": [SYSTEM, USER, CALL, FOUND, OTHER]},
     [SYSTEM, USER, CALL, FOUND]),
]  # fmt: skip


@pytest.mark.parametrize(("row", "prompt"), PAIRS)
def test_every_form_becomes_a_pair(row, prompt):
    assert preference_rows([row]) == [{"prompt": prompt, "chosen": "답", "rejected": "x"}]


SEVERAL = [
    ({"prompt": [USER], "chosen": [CALL, FOUND, REPLY], "rejected": "x"}, [CALL, FOUND, REPLY], [OTHER]),
    ({"prompt": "질문", "chosen": [REPLY], "rejected": [CALL]}, [REPLY], [CALL]),
    ({"chosen": [USER, REPLY, USER, REPLY], "rejected": [USER, OTHER, USER, REPLY]},
     [REPLY, USER, REPLY], [OTHER, USER, REPLY]),
    ({"chosen": [USER, CALL, FOUND, REPLY], "rejected": [USER, CALL, {**FOUND, "content": "3"}, REPLY]},
     [CALL, FOUND, REPLY], [CALL, {**FOUND, "content": "3"}, REPLY]),
    ({"chosen": [USER, REPLY, USER, REPLY], "rejected": [USER, OTHER]}, [REPLY, USER, REPLY], [OTHER]),
]  # fmt: skip


@pytest.mark.parametrize(("row", "chosen", "rejected"), SEVERAL)
def test_answers_of_several_messages_stay_messages(row, chosen, rejected):
    assert preference_rows([row]) == [{"prompt": [USER], "chosen": chosen, "rejected": rejected}]


def test_two_equal_conversations_are_two_equal_answers():
    same = [USER, REPLY, USER, REPLY]
    assert preference_rows([{"chosen": same, "rejected": same}]) == [
        {"prompt": same[:3], "chosen": "답", "rejected": "답"}
    ]


BAD_INSTRUCTIONS = [
    (3, "expected an object, got 3"),
    ({}, "expected instruction and output"),
    ({"instruction": "q"}, r"its keys are \['instruction'\]"),
    ({"instruction": "q", "output": ""}, "output must be a text that is not empty, got ''"),
    ({"instruction": " \n", "output": "a"}, "instruction must be a text that is not empty"),
    ({"instruction": None, "output": "a"}, "instruction must be a text .* got None"),
    ({"instruction": "q", "input": 5, "output": "a"}, "input must be a text, got 5"),
    ({"instruction": "q", "output": "a", "system": 5}, "system must be a text"),
    ({"instruction": "q", "output": "a", "history": [["b", "c"]]}, "history holds turns that came before"),
    ({"prompt": [SYSTEM, USER], "output": "a", "system": "b"}, "the roles are system, system, user"),
    ({"instruction": "q", "output": ["a", "b"]}, "output, number 1 must be an object, got 'a'"),
    ({"instruction": "q", "instances": []}, "instances must be a list of objects"),
    ({"instruction": "q", "instances": ["a"]}, "an instance must be an object, got 'a'"),
    ({"instruction": "q", "instances": [{"input": "x"}]}, "output must be a text"),
    ({"messages": []}, r"messages must be a list of objects, got \[\]"),
    ({"messages": "hi"}, "messages must be a list of objects, got 'hi'"),
    ({"messages": [USER]}, "an answer of the assistant is missing; the roles are user"),
    ({"messages": [REPLY, USER]}, "take turns, the user first; the roles are assistant, user"),
    ({"messages": [USER, USER, REPLY]}, "the roles are user, user, assistant"),
    ({"messages": [USER, SYSTEM, REPLY]}, "the roles are user, system, assistant"),
    ({"messages": [SYSTEM]}, "an answer of the assistant is missing"),
    ({"messages": [USER, {"role": "robot", "content": "x"}]}, "number 2: role must be one of .* got 'robot'"),
    ({"messages": [USER, FOUND, REPLY]}, "the roles are user, tool, assistant"),
    ({"messages": [USER, CALL, FOUND, USER, REPLY]}, "the roles are user, assistant, tool, user, assistant"),
    ({"messages": [USER, REPLY, REPLY]}, "the roles are user, assistant, assistant"),
    ({"messages": [{**USER, "tool_calls": CALLS}, REPLY]}, "number 1: tool_calls must be a list, and the assistant's"),
    ({"messages": [USER, {**CALL, "tool_calls": "add"}]}, "number 2: tool_calls must be a list"),
    ({"messages": [USER, {**CALL, "tool_calls": []}]}, "number 2: content must be a text that is not empty"),
    ({"messages": [USER, {**REPLY, "content": "a\ud800"}]}, "half a surrogate pair"),
    ({"messages": [USER, {**REPLY, "name": "a\ud800"}]}, "half a surrogate pair"),
    ({"prompt": "q", "output": [REPLY, USER]}, "the last message of output must be the assistant's"),
    ({"messages": [USER, {"role": ["user"], "content": "x"}]}, r"number 2: role must be one of .* got \['user'\]"),
    ({"messages": [USER, {"role": "assistant"}]}, "number 2: content must be a text .* got None"),
    ({"messages": [USER, {"role": "assistant", "content": [{"type": "text"}]}]}, "number 2: content must be a text"),
    ({"messages": [USER, "hi"]}, "number 2 must be an object, got 'hi'"),
    ({"conversations": [{"from": "robot", "value": "x"}]}, "number 1: from must be one of human"),
    ({"prompt": "q", "completion": None}, "completion must be a text"),
    ({"prompt": [REPLY], "completion": "a"}, "take turns"),
]  # fmt: skip
BAD_PAIRS = [
    ([], "expected an object"),
    ({"chosen": "a", "rejected": "b"}, "expected chosen and rejected, with a prompt"),
    ({"prompt": "q", "chosen": "a"}, "its keys are"),
    ({"prompt": "q", "chosen": "", "rejected": "b"}, "chosen must be a text that is not empty"),
    ({"prompt": "q", "chosen": "a", "rejected": 1}, "rejected must be a text"),
    ({"prompt": [USER, REPLY], "chosen": "a", "rejected": "b"}, "the user says, or with what a tool finds"),
    ({"prompt": "q", "chosen": USER, "rejected": REPLY}, "chosen must be said by the assistant, got 'user'"),
    ({"prompt": "q", "chosen": {"content": "a"}, "rejected": "b"}, "chosen, number 1: role must be one of .* got None"),
    ({"chosen": [USER, REPLY], "rejected": [SYSTEM, USER, REPLY]}, "the same messages before the first answer"),
    ({"chosen": [USER], "rejected": [USER]}, "the last message of chosen must be the assistant's"),
    ({"prompt": "other", "chosen": [USER, REPLY], "rejected": [USER, OTHER]}, "do not ask what the prompt asks"),
    ({"prompt": "q", "chosen": [REPLY, USER], "rejected": "x"}, "the last message of chosen must be the assistant's"),
    ({"prompt": "q", "chosen": [REPLY, REPLY], "rejected": "x"}, "the roles are user, assistant, assistant"),
    ({"prompt": "q", "chosen": [], "rejected": "x"}, "chosen must be a list of objects"),
    ({"chosen": [SYSTEM, USER, REPLY], "rejected": [SYSTEM, {**USER, "content": "b"}, REPLY]}, "the same messages"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("convert", "good", "row", "match"),
    [(instruction_rows, INSTRUCTIONS[0][0], *bad) for bad in BAD_INSTRUCTIONS]
    + [(preference_rows, PAIRS[0][0], *bad) for bad in BAD_PAIRS],
)
def test_a_malformed_row_is_refused_by_its_number(convert, good, row, match):
    with pytest.raises(ValueError, match=rf"^row 3: .*{match}"):
        convert([good, good, row, good])


@pytest.mark.parametrize("rows", [None, "text", {"messages": []}, 5])
@pytest.mark.parametrize("convert", [instruction_rows, preference_rows])
def test_rows_must_be_a_list(convert, rows):
    with pytest.raises(ValueError, match="rows must be a list of dicts"):
        convert(rows)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.jsonl.gz"])
def test_a_users_file(tmp_path, name):
    rows = [row for row, _ in INSTRUCTIONS]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    text = json.dumps(rows) if name.endswith(".json") else f"\ufeff{lines}\n\n"
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert read_instructions(tmp_path / name) == [{"messages": messages} for _, messages in INSTRUCTIONS]


@pytest.mark.parametrize("read", [read_instructions, read_preferences])
def test_a_bad_file_is_refused_by_name_and_row(tmp_path, read):
    path = tmp_path / "mine.jsonl"
    for text, match in [
        ('{"messages": []}', r"mine\.jsonl': row 1: "), ("", "holds no row"), ("[]", "holds no row"),
        ('{"a": 1}\n{"a"', r"mine\.jsonl' is cut short or damaged: line 2"), ('["x"]', "row 1"),
    ]:  # fmt: skip
        path.write_text(text)
        with pytest.raises(BadFileError, match=match):
            read(path)
    with pytest.raises(BadFileError, match="cannot be read"):
        read(tmp_path / "missing.jsonl")
    with pytest.raises(ValueError, match="data file must be a path, got None"):
        read(None)


def test_published_sets(real_data):
    for name, count in (("instruct", 1100), ("seed_tasks", 175)):
        rows = instruction_rows(load_dataset(name, "train"))
        assert len(rows) == count
        assert all(row["messages"][-1]["role"] == "assistant" for row in rows)
    for name in ("preference", "dpo_demo"):
        given = load_dataset(name, "train")
        rows = preference_rows(given)
        assert len(rows) == len(given)
        assert all(row["prompt"][-1]["role"] == "user" for row in rows)
        assert sum(row["chosen"] == row["rejected"] for row in rows) < 0.01 * len(rows)
