"""The harness on a model whose probabilities are a table, and on texts whose reading can be said beforehand."""

import random
import re
from types import SimpleNamespace

import pytest
import torch

from minillm.evaluation import generate_until, log_likelihoods, multiple_choice
from minillm.evaluation.harness import (
    UNTIL_GSM8K,
    cut_at,
    encoded_pair,
    flexible_number,
    gsm8k_item,
    mmlu_item,
    same_answer,
    strict_number,
)

TABLE = torch.randn(256, 256, generator=torch.Generator().manual_seed(0)) * 2


class Bytes:
    """One token a byte."""

    def encode(self, text):
        return list(text.encode("utf-8"))


class Words:
    """Tokens that begin with their blank, as byte-level BPE has them: "a b" -> "a", " b"."""

    def __init__(self):
        self.names = {}

    def encode(self, text):
        parts = text.replace(" ", "\0 ").split("\0")
        return [self.names.setdefault(part, len(self.names)) for part in parts if part]


class Bigrams(torch.nn.Module):
    """p(next | this byte), from TABLE."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(TABLE.clone())
        self.widths = []

    def forward(self, ids):
        self.widths.append(tuple(ids.shape))
        return SimpleNamespace(logits=self.table[ids])


def by_hand(context, continuation):
    logs = TABLE.double().log_softmax(-1)
    whole = list((context + continuation).encode())
    behind = whole[len(context.rstrip().encode()) :]
    before = whole[-len(behind) - 1 : -1]
    return sum(logs[a, b].item() for a, b in zip(before, behind)), len(behind)


def test_log_likelihoods_are_the_tables():
    rng = random.Random(0)
    letters = "abc 가나\n"
    pairs = [
        ("x" + "".join(rng.choices(letters, k=rng.randrange(9))), "".join(rng.choices(letters, k=5)) + "!")
        for _ in range(60)
    ]
    for size in (1, 7, 100):
        found = log_likelihoods(Bigrams(), Bytes(), pairs, batch_size=size)
        for pair, one in zip(pairs, found):
            expected, tokens = by_hand(*pair)
            assert one.log_likelihood == pytest.approx(expected, abs=1e-4)
            assert one.tokens == tokens


def test_greedy_is_said():
    best = TABLE.argmax(-1)
    first = best[ord("x")].item()
    if first < 128:  # a byte alone is a text
        assert log_likelihoods(Bigrams(), Bytes(), [("x", chr(first))])[0].greedy
    worst = next(i for i in range(97, 123) if i != first)
    assert not log_likelihoods(Bigrams(), Bytes(), [("x", chr(worst))])[0].greedy


def test_a_blank_belongs_to_the_word_behind_it():
    words = Words()
    assert encoded_pair(words, "Answer: ", "A") == (words.encode("Answer:"), words.encode(" A"))
    assert encoded_pair(words, "Answer:", " A") == encoded_pair(words, "Answer: ", "A")


def test_what_is_too_long_loses_its_front_and_the_model_comes_back_as_it_was():
    model = Bigrams().train()
    (one,) = log_likelihoods(model, Bytes(), [("a" * 500 + "x", "yz")], max_length=8)
    assert max(width for _, width in model.widths) == 8
    assert one.log_likelihood == pytest.approx(by_hand("x", "yz")[0], abs=1e-4)
    assert model.training


def test_the_likeliest_choice_is_the_answer_and_length_can_change_it():
    def model(ids):  # every token costs the same
        return SimpleNamespace(logits=torch.zeros(*ids.shape, 256))

    items = [
        {"prompt": "q", "choices": ["ab", "a", "abc"], "answer": 1},
        {"prompt": "q", "choices": ["가", "abc"], "answer": 0},
    ]
    plain = multiple_choice(model, Bytes(), items)
    assert plain.answers == [1, 0]  # fewest bytes with the blank; of 4 and 4 the first
    assert plain.right == [True, True]
    assert plain.accuracy == 1
    log2 = torch.tensor(256.0).log().item()
    assert plain.details[0] == pytest.approx([-3 * log2, -2 * log2, -4 * log2], rel=1e-5)
    by_length = multiple_choice(model, Bytes(), items, by_length=True)
    assert by_length.answers == [2, 1]  # -3/2, -2/1, -4/3 an English letter; -4/1, -4/3
    assert str(by_length) == "0.000 [0.000, 0.658], n = 2"


def test_written_answers_are_cut_taken_out_and_compared():
    items = [gsm8k_item("1 + 1?", "two\n#### 2"), gsm8k_item("10 x 100?", "#### 1,000")]
    given = [" It is 2.\n#### 2\n\nQuestion: 3?\n#### 9", " so 1000 dollars, $1,000."]
    seen = []

    def write(prompts):
        seen.extend(prompts)
        return given

    strict = generate_until(write, items, UNTIL_GSM8K, strict_number)
    assert seen == ["Question: 1 + 1?\nAnswer:", "Question: 10 x 100?\nAnswer:"]
    assert strict.answers == ["2", "[invalid]"]
    assert strict.right == [True, False]
    assert strict.details[0].endswith("#### 2\n\n")
    flexible = generate_until(write, items, UNTIL_GSM8K, flexible_number)
    assert flexible.answers == ["2", "$1,000."]
    assert flexible.right == [True, True]
    with pytest.raises(ValueError, match="what extract gives must be a str, got None"):
        generate_until(write, items, UNTIL_GSM8K, lambda text: re.search("####", text[:9]))


@pytest.mark.parametrize(("answer", "gold", "same"), [
    ("1,000", "1000", True), ("$5", "5", True), ("5.", "5", True), ("5.0", "5", False), ("Yes", "yes", True),
    ("a\n#### 7", "7", True), ("", "", True), ("7", "77", False),
])  # fmt: skip
def test_answers_that_are_one(answer, gold, same):
    assert same_answer(answer, gold) is same


def test_prompts_have_the_harness_form():
    shown = {"question": "2 + 2? ", "choices": ["3", "4"], "answer": 1}
    item = mmlu_item("1 + 1?", ["2", "3", "4"], 0, "elementary_mathematics", [shown])
    assert item["prompt"] == (
        "The following are multiple choice questions (with answers) about elementary mathematics.\n\n"
        "2 + 2?\nA. 3\nB. 4\nAnswer: B\n\n1 + 1?\nA. 2\nB. 3\nC. 4\nAnswer:"
    )
    assert item["choices"] == ["A", "B", "C"]
    two = gsm8k_item("q?", "#### 1", [("p?", "#### 2")])
    assert two["prompt"] == "Question: p?\nAnswer: #### 2\n\nQuestion: q?\nAnswer:"
    assert cut_at("ab\nc", ["x", "", "\n"]) == "ab"


ONE = [{"prompt": "q", "choices": ["a", "b"], "answer": 0}]


def test_a_question_before_letters_is_read_once():
    model = Bigrams()
    prompts = [{"prompt": f"question {n}:", "choices": list("ABCD"), "answer": 1} for n in range(6)]
    found = multiple_choice(model, Bytes(), prompts, delimiter="", batch_size=3)
    assert model.widths == [(3, 11), (3, 11)]
    logs = TABLE.log_softmax(-1)[ord(":")]
    for scores in found.details:
        assert scores == pytest.approx([logs[ord(letter)].item() for letter in "ABCD"], abs=1e-5)


def lost(ids):
    """A model that gives NaN."""
    return SimpleNamespace(logits=torch.full((*ids.shape, 256), torch.nan))


@pytest.mark.parametrize(("call", "said"), [
    (lambda: multiple_choice(Bigrams(), Bytes(), []), "at least one item"),
    (lambda: multiple_choice(Bigrams(), Bytes(), [{**ONE[0], "choices": ["a"]}]), "two texts or more"),
    (lambda: multiple_choice(Bigrams(), Bytes(), [{**ONE[0], "choices": "ab"}]), "two texts or more"),
    (lambda: multiple_choice(Bigrams(), Bytes(), [{**ONE[0], "answer": 2}]), "answer"),
    (lambda: multiple_choice(Bigrams(), Bytes(), ["q"]), r"items\[0\] must be"),
    (lambda: multiple_choice(Bigrams(), Bytes(), [{**ONE[0], "prompt": ""}], delimiter=" "), "expected a context"),
    (lambda: multiple_choice(None, Bytes(), ONE), "model must be"),
    (lambda: multiple_choice(Bigrams(), Bytes(), ONE, delimiter=None), "delimiter must be"),
    (lambda: multiple_choice(Bigrams(), Bytes(), ONE, by_length="no"), "by_length must be"),
    (lambda: multiple_choice(lost, Bytes(), ONE), "gave NaN"),
    (lambda: generate_until(lambda prompts: ["a"], [{"prompt": "q", "answer": "a"}], "END"), "list of stop texts"),
    (lambda: generate_until(lambda prompts: ["a"], [{"prompt": "q", "answer": "a"}], [3]), "a stop text must be"),
    (lambda: log_likelihoods(Bigrams(), Bytes(), [("a", "")]), "1 to 1024 tokens"),
    (lambda: log_likelihoods(Bigrams(), Bytes(), [("a", "bcd")], max_length=2), "1 to 2 tokens"),
    (lambda: log_likelihoods(Bigrams(), Bytes(), [("a", None)]), "continuation must be a str"),
    (lambda: generate_until(lambda prompts: "one", [{"prompt": "q", "answer": "a"}]), "a text for each of 1"),
    (lambda: generate_until(lambda prompts: [None], [{"prompt": "q", "answer": "a"}]), "what write gives"),
    (lambda: generate_until(lambda prompts: [""], [{"prompt": "q"}]), "'answer': str"),
    (lambda: generate_until(lambda prompts: [""], {"prompt": "q"}), "list of at least one item"),
])  # fmt: skip
def test_what_is_no_benchmark_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"question": 3}, "question must be"),
        ({"choices": "AB"}, "choices must be 2 to 26 texts"),
        ({"choices": ["one"]}, "choices must be 2 to 26 texts"),
        ({"choices": ["one", 2]}, "choices must be 2 to 26 texts"),
        ({"choices": ["x"] * 27}, "choices must be 2 to 26 texts"),
        ({"answer": 2}, "answer must be"),
        ({"answer": True}, "answer must be"),
        ({"subject": None}, "subject must be"),
        ({"examples": "none"}, "examples must be a list"),
        ({"examples": [{"question": "?"}]}, r"examples\[0\] must be"),
        ({"examples": [{"question": "?", "choices": ["a", "b"], "answer": 9}]}, r"examples\[0\] answer"),
    ],
)
def test_an_mmlu_item_of_another_form_is_refused(changed, said):
    given = {"question": "Which?", "choices": ["one", "two"], "answer": 1, "subject": "marketing"}
    with pytest.raises(ValueError, match=said):
        mmlu_item(**given | changed)
