"""Chat templates rendered as transformers renders them: the forms of the known families, with many conversations."""

import json

import pytest
import transformers

from minillm.inference import apply_chat_template
from minillm.tokenizer import BPETokenizer, load_tokenizer
from tests.parity.chat_templates import CHATML, CHATS, TEMPLATES, TOOLS

SPECIALS = ("<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>")
ROLES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = BPETokenizer.train(["a chat with the assistant, 한국어"], 280, SPECIALS)
    tokenizer.roles = ROLES
    tokenizer.chat_template = CHATML
    folder = tmp_path_factory.mktemp("chat")
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="module")
def both(folder):
    return load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder)


def outcome(call):
    """(what a call gives, None), or (None, what it says) where the template raises."""
    try:
        return call(), None
    except Exception as error:
        return None, str(error)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_family_renders_alike(both, name):
    ours, theirs = both
    rendered = refused = 0
    for chat in CHATS.values():
        for options in (
            {}, {"add_generation_prompt": True}, {"tools": TOOLS}, {"tools": TOOLS[1:], "add_generation_prompt": True},
            {"enable_thinking": False, "add_generation_prompt": True}, {"date_string": "1 Jan", "tools": []},
            {"documents": [{"title": "a paper", "text": "long " * 20}, {"title": "b", "text": ""}]},
            {"bos_token": "<other>"},
        ):  # fmt: skip
            options = {"chat_template": TEMPLATES[name], **options}
            expected, why = outcome(lambda: theirs.apply_chat_template(chat, tokenize=False, **options))  # noqa: B023
            found, ours_why = outcome(lambda: ours.apply_chat_template(chat, tokenize=False, **options))  # noqa: B023
            assert found == expected, (chat, options, why, ours_why)
            rendered += found is not None
            refused += found is None
            if found is None:
                assert why.strip() in ours_why  # with the same words: raise_exception's, or Python's
    assert rendered >= 8
    assert rendered + refused == 64


def test_ids_and_batches_are_theirs(both):
    ours, theirs = both
    chats = [CHATS["one"], CHATS["turns"]]
    for options in (
        {},
        {"add_generation_prompt": True},
        {"return_dict": False},
        {"max_length": 5, "truncation": True},
    ):
        assert {**_as_dict(ours.apply_chat_template(chats[1], **options))} == _as_dict(
            theirs.apply_chat_template(chats[1], **options)
        )
    found = ours.apply_chat_template(chats, padding=True, return_tensors="pt")
    expected = theirs.apply_chat_template(chats, padding=True, return_tensors="pt")
    assert all((found[name] == expected[name]).all() for name in ("input_ids", "attention_mask"))
    assert ours.apply_chat_template(chats, tokenize=False) == theirs.apply_chat_template(
        chats, tokenize=False
    )
    ids = apply_chat_template(ours, chats[0], tokenize=True)
    assert ids == theirs.apply_chat_template(chats[0], add_generation_prompt=True, return_dict=False)


def _as_dict(batch):
    return (
        {k: v for k, v in batch.items() if k != "token_type_ids"}
        if hasattr(batch, "items")
        else {"ids": batch}
    )


def test_a_message_is_continued_as_theirs(both):
    ours, theirs = both
    parts = [{"role": "assistant", "content": [{"type": "text", "text": "so "}, {"type": "image"}]}]
    for name, chat in (
        ("chatml", CHATS["answered"]), ("llama 3", CHATS["turns"][:2]), ("qwen 3, thinking", CHATS["answered"]),
        ("gemma 3", [*CHATS["one"], *parts]), ("mistral", [*CHATS["one"], {"role": "assistant", "content": "end  "}]),
    ):  # fmt: skip
        options = {"chat_template": TEMPLATES[name], "tokenize": False, "continue_final_message": True}
        assert ours.apply_chat_template(chat, **options) == theirs.apply_chat_template(chat, **options), name


def test_several_templates_by_name(both, folder, tmp_path):
    named = {
        "default": CHATML,
        "tool_use": TEMPLATES["qwen 2.5, tools"],
        "rag": TEMPLATES["granite, documents"],
    }
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = named
    tokenizer.save(tmp_path)
    ours, theirs = load_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert ours.chat_template == theirs.chat_template == named
    theirs.save_pretrained(tmp_path / "theirs")  # as files that end in .jinja
    assert len(list((tmp_path / "theirs").rglob("*.jinja"))) == 3
    for one in (ours, load_tokenizer(tmp_path / "theirs")):
        assert one.chat_template == named
        for options in (
            {},
            {"tools": TOOLS},
            {"chat_template": "rag"},
            {"chat_template": "{{ messages | length }}"},
        ):
            assert one.apply_chat_template(
                CHATS["system"], tokenize=False, **options
            ) == theirs.apply_chat_template(CHATS["system"], tokenize=False, **options)


def test_roles_and_template_go_both_ways(both, folder, tmp_path):
    ours, theirs = both
    assert ours.roles == theirs.special_tokens_map == ROLES
    assert ours.pad_token_id == theirs.pad_token_id
    theirs.save_pretrained(tmp_path)
    assert (tmp_path / "chat_template.jinja").exists()
    again = load_tokenizer(tmp_path)
    assert (again.roles, again.chat_template) == (ROLES, CHATML)
    again.chat_template = "{{ messages }}"
    again.save(tmp_path)  # the file of before would win over what is saved now
    assert load_tokenizer(tmp_path).chat_template == "{{ messages }}"
    assert transformers.AutoTokenizer.from_pretrained(tmp_path).chat_template == "{{ messages }}"
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["bos_token"] == "<s>"
