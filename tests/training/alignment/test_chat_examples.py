"""Conversations as examples: whatever the template, turns and truncation, only the assistant's words carry loss."""

import random
import re

import pytest

from minillm.tokenizer import BPETokenizer
from minillm.training import PackedSet, answer_spans, chat_example, chat_examples
from minillm.training.alignment.chat_examples import TRUNCATIONS, TURNS, truncated
from tests.helpers import soak_count
from tests.parity.chat_templates import CALL, CHATML, TEMPLATES

ENDS = ("</s>", "<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>")
SPECIALS = ("<s>", "<unk>", "<|im_start|>", *ENDS)
# templates that write the conversation backwards, or statistics of it: no answer has a place in their text
NO_CHATS = {"break and continue", "filters"}
# that refuse a system's message, or write it before whatever the user has said last, which changes with every turn
NO_SYSTEM = {"mistral", "mistral, tools", "gemma"}
# that have no generation prompt: whoever answers begins the turn himself
OWN_HEAD = {
    "hermes, macro over a schema": "<|im_start|>assistant\n",
    "call blocks, filters and scopes": "<assistant>",
}
HARDER = {
    "no mark ends a turn": "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
    "the prompt says more than the text": CHATML.replace(
        "'<|im_start|>assistant\n'", "'<|im_start|>assistant\n<thought>\n'"
    ),
    "one end of each turn, another of the whole": "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + "
    "'<|end|>\n' }}{% endfor %}{{ '<|assistant|>\n' if add_generation_prompt else eos_token }}",
}
# what a tokenizer may know as one token: a few, the ends alone, the beginnings of turns too
KNOWN = {
    "usual": SPECIALS,
    "few": ("<s>", "</s>", "<unk>"),
    "many": (*SPECIALS, "<|user|>", "<|assistant|>", "<|system|>", "<|start_header_id|>", "<|end_header_id|>",
             "<start_of_turn>", "[INST]", "[/INST]", "<|END_OF_TURN_TOKEN|>", "<|START_OF_TURN_TOKEN|>"),
}  # fmt: skip


def taught(special_tokens):
    found = BPETokenizer.train(["a chat with the assistant, 한국어로 말한다"], 300, special_tokens)
    found.roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    found.chat_template = CHATML
    return found


@pytest.fixture(scope="module")
def tokenizer():
    return taught(SPECIALS)


@pytest.fixture(scope="module")
def tokenizers():
    return {kind: taught(known) for kind, known in KNOWN.items()}


def talk(rng, turns, system=False):
    """Users say numbers, the assistant Korean words; blanks around both."""
    blank = lambda: rng.choice(["", " ", "\n"])  # noqa: E731
    chat = [{"role": "system", "content": f"{rng.randrange(10**6, 10**7)}"}] if system else []
    for _ in range(turns):
        asked, said = (
            rng.randrange(10**6, 10**7),
            "".join(rng.choices("가나다라마바사아", k=rng.randint(1, 8))),
        )
        chat.append({"role": "user", "content": f"{blank()}{asked}{blank()}"})
        chat.append({"role": "assistant", "content": f"{blank()}{said}{blank()}"})
    return chat


def words(chat, *roles):
    return [one["content"].strip() for one in chat if one["role"] in roles]


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - NO_CHATS))
def test_no_word_of_a_prompt_carries_loss_and_every_word_of_an_answer_does(tokenizer, name):
    rng, done = random.Random(name), 0
    for number in range(soak_count(200)):
        chat = talk(rng, rng.randint(1, 3), system=number % 3 == 2)
        options = {"turns": rng.choice(TURNS), "chat_template": TEMPLATES[name]}
        if chat[0]["role"] == "system" and name in NO_SYSTEM:
            continue
        found = chat_example(tokenizer, chat, **options)
        done += 1
        assert found["input_ids"] == tokenizer.encode(answer_spans(tokenizer, chat, **options)[0])
        taught = tokenizer.decode([one for one in found["labels"] if one != -100])
        read = tokenizer.decode([i for i, one in zip(found["input_ids"], found["labels"]) if one == -100])
        assert not any(word in taught for word in words(chat, "user", "system"))
        answers = words(chat, "assistant")
        assert all(word in taught for word in (answers if options["turns"] == "every" else answers[-1:]))
        if options["turns"] == "every":
            assert not any(letter in read for word in answers for letter in word)
    assert done >= 3


@pytest.mark.parametrize("name", sorted({*TEMPLATES, *HARDER} - NO_CHATS))
def test_an_answer_is_its_words_and_their_end_whatever_the_tokenizer_knows(tokenizers, name):
    """Nothing of the next turn, not its first character; and of the text's own end mark all or nothing."""
    rng, template = random.Random(name), (TEMPLATES | HARDER)[name]
    head = rf"(?:{re.escape(OWN_HEAD[name])})?" if name in OWN_HEAD else ""
    for kind, tokenizer in tokenizers.items():
        for number in range(4):
            chat = talk(rng, 1 + number % 3, system=number == 3 and name not in NO_SYSTEM)
            said = [one["content"].strip() for one in chat if one["role"] == "assistant"]
            text, spans = answer_spans(tokenizer, chat, chat_template=template)
            assert len(spans) == len(said)
            for word, (start, end) in list(zip(said, spans))[: None if name not in OWN_HEAD else -1]:
                found = re.fullmatch(
                    rf"{head}\s*(?:<think>\s*</think>\s*)?{word}\s*"
                    r"(<\S*(?:end|eot|END|im_end|/s|/assistant|end▁of)[^<>\s]*>\s*)*",
                    text[start:end],
                )
                assert found, (kind, text[start:end])
                rest = text[end:].lstrip()  # a turn begins, or the text is over: no end mark is left
                assert not rest.startswith(
                    ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|end_of_text|>")
                )


@pytest.mark.parametrize("name", sorted({*TEMPLATES, *HARDER} - NO_CHATS))
def test_whatever_the_template_what_is_cut_or_packed_carries_the_same_loss(tokenizers, name):
    """Labels after a cut, and in a packed row, are those of the whole conversation, place by place."""
    rng, template = random.Random(name), (TEMPLATES | HARDER)[name]
    for tokenizer in tokenizers.values():
        chats = [talk(rng, 1 + n % 3, system=n % 2 == 1 and name not in NO_SYSTEM) for n in range(4)]
        whole = [chat_example(tokenizer, chat, chat_template=template) for chat in chats]
        kept = []
        for example, truncation in ((one, how) for one in whole for how in TRUNCATIONS):
            ids, labels = example["input_ids"], example["labels"]
            assert labels[0] == -100
            for longest in rng.sample(range(2, len(ids) + 3), 6):
                one = truncated(example, longest, truncation)
                if truncation == "drop" and len(ids) > longest:
                    assert one is None
                    continue
                place = max(len(ids) - longest, 0) if truncation == "keep_end" else 0
                part = slice(place, place + min(longest, len(ids)))
                expected = [-100, *labels[part][1:]]
                if one is None:
                    assert set(expected) == {-100}
                    continue
                assert (one["input_ids"], one["labels"]) == (ids[part], expected)
                kept.append(one)
        packed = PackedSet(kept, max(len(one["input_ids"]) for one in kept) + 40)
        batch = packed._padded(range(len(packed)))
        for row, pack in enumerate(packed.packs):
            expected = [label for i in pack for label in kept[i]["labels"]]
            found = batch["labels"][row].tolist()
            assert found == expected + [-100] * (len(found) - len(expected))


def test_an_answer_that_begins_like_the_rest_of_its_prompt_is_learned_whole(tokenizer):
    chat = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "<tt>가"}]
    text, [(start, end)] = answer_spans(
        tokenizer, chat, chat_template=HARDER["the prompt says more than the text"]
    )
    assert text[start:end] == "<tt>가<|im_end|>"


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - NO_CHATS))
def test_an_answer_is_what_the_model_must_write_after_its_prompt(tokenizer, name):
    """The prompt of inference stands in front of each answer, up to a thought that the template begins for it."""
    chat = talk(random.Random(3), 2)
    text, spans = answer_spans(tokenizer, chat, chat_template=TEMPLATES[name])
    for i, (start, end) in zip((1, 3), spans):
        prompt = tokenizer.apply_chat_template(
            chat[:i], tokenize=False, add_generation_prompt=True, chat_template=TEMPLATES[name]
        )
        assert prompt.startswith(text[:start])
        assert chat[i]["content"].strip() in text[start:end]
        assert chat[i - 1]["content"].strip() in text[:start]


@pytest.mark.parametrize("truncation", TRUNCATIONS)
def test_truncated_examples_and_packed_rows_teach_no_prompt(tokenizer, truncation):
    rng = random.Random(0)
    chats = [talk(rng, rng.randint(1, 3), rng.random() < 0.3) for _ in range(30)]
    whole = [chat_example(tokenizer, chat) for chat in chats]
    for longest in (60, 90, 200):
        examples, dropped = chat_examples(tokenizer, chats, max_length=longest, truncation=truncation)
        assert len(examples) + dropped == 30
        packed = PackedSet(examples, 240)._padded(range(len(PackedSet(examples, 240))))
        for one in (*examples, {"input_ids": packed["input_ids"].reshape(-1).tolist(),
                                "labels": packed["labels"].reshape(-1).tolist()}):  # fmt: skip
            taught = tokenizer.decode([label for label in one["labels"] if label != -100])
            assert taught
            assert not any(letter.isdigit() for letter in taught)
            assert all(label in (-100, i) for i, label in zip(one["input_ids"], one["labels"]))
        assert all(len(one["input_ids"]) <= longest and one["labels"][0] == -100 for one in examples)
        if truncation == "drop":
            assert [one["input_ids"] for one in examples] == [
                one["input_ids"] for one in whole if len(one["input_ids"]) <= longest
            ]
    assert (packed["labels"][packed["attention_mask"] == 0] == -100).all()


def test_the_end_of_a_turn_is_learned_and_what_follows_is_not(tokenizer):
    chat = [
        {"role": "user", "content": "1"},
        {"role": "assistant", "content": "가"},
        {"role": "user", "content": "2"},
    ]
    text, [(start, end)] = answer_spans(tokenizer, chat)
    assert text[start:end] == "가<|im_end|>"
    labels = chat_example(tokenizer, chat)["labels"]
    assert [one for one in labels if one != -100] == tokenizer.encode("가<|im_end|>")


def test_a_call_of_a_function_is_part_of_the_answer(tokenizer):
    chat = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "22", "name": "x"}, {"role": "assistant", "content": "가"}]  # fmt: skip
    text, spans = answer_spans(tokenizer, chat, chat_template=TEMPLATES["qwen 2.5, tools"])
    assert [text[slice(*one)] for one in spans][1] == "가<|im_end|>"
    assert text[slice(*spans[0])].startswith("<tool_call>")
    assert text[slice(*spans[0])].endswith("</tool_call><|im_end|>")


def test_a_call_whose_end_cannot_be_told_is_refused(tokenizer):
    """It is written in front of the thought that only the last turn keeps: where it ends is nowhere to be seen."""
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if loop.last and m.role == 'assistant' %}"
        "{{ 'hm ' }}{% endif %}{{ m.content }}{{ m.tool_calls | tojson if m.tool_calls }}{{ '<|im_end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    chat = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "22", "name": "x"}, {"role": "assistant", "content": "가"}]  # fmt: skip
    with pytest.raises(ValueError, match="does not show where the answer in message 1 ends"):
        answer_spans(tokenizer, chat, chat_template=template)
    text, [(start, end)] = answer_spans(tokenizer, chat, "last", chat_template=template)
    assert text[start:end] == "hm 가<|im_end|>"


def test_what_is_no_conversation_to_learn_from_is_refused(tokenizer):
    user, answer = {"role": "user", "content": "1"}, {"role": "assistant", "content": "a"}
    for chat, message in (
        ([], "must be a list of dicts with role and content"),
        ("text", "must be a list of dicts"),
        ([user], "needs a message of the assistant"),
        ([answer, user, answer], "begins with a message of the assistant"),
    ):
        with pytest.raises(ValueError, match=message):
            chat_example(tokenizer, chat)
        with pytest.raises(ValueError, match="conversation 2: "):
            chat_examples(tokenizer, [[user, answer], chat])
    for options, message in (
        ({"turns": "first"}, "turns must be one of"),
        ({"truncation": "middle"}, "truncation must be one of"),
        ({"max_length": 1}, "max_length must be at least 2"),
        ({"max_length": 4, "truncation": "drop"}, "no answer is left to learn from in 1"),
    ):
        with pytest.raises(ValueError, match=message):
            chat_examples(tokenizer, [[user, answer]], **options)
    with pytest.raises(ValueError, match="in another way once more follows"):
        chat_example(tokenizer, [user, answer], chat_template=TEMPLATES["break and continue"])


def test_what_cannot_be_cut_is_refused():
    one = {"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}
    for arguments, message in (
        ((one, 2, "keep"), "truncation must be one of"), ((one, -1, "keep_end"), "max_length must be at least 1"),
        ((one, 2.5, "keep_end"), "max_length must be an integer"), ((None, 2, "drop"), "example must have"),
        (({"input_ids": [1, 2], "labels": [1]}, 2, "drop"), "example must have"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            truncated(*arguments)
