"""`minillm generate` with a model that was taught to answer, and the ways to name a model."""

import json
import re
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest

from minillm.cli import build_parser, main
from minillm.commands._sampling import sampling_params
from minillm.data.real_models import REAL_MODELS, model_folders
from minillm.inference import SamplingParams
from minillm.models import Llama, LlamaConfig
from minillm.tokenizer import BPETokenizer, load_tokenizer
from tests.helpers import needs_model

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny chat model: what it says means nothing."""
    path = tmp_path_factory.mktemp("chat") / "smollm2"
    tokenizer = BPETokenizer.train(
        ["user and assistant"], 280, special_tokens=["<|im_start|>", "<|im_end|>"], min_frequency=1
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save(path)
    config = LlamaConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=128, eos_token_id=tokenizer.token_to_id("<|im_end|>"),
    )  # fmt: skip
    Llama(config, seed=1).save_pretrained(path)
    return path


def run(capsys, *arguments):
    code = main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    return code, out, err


def test_a_model_that_was_taught_to_answer_gets_its_template(folder, capsys, monkeypatch):
    seen = []
    import minillm.inference as inference

    real = inference.stream_text
    monkeypatch.setattr(
        inference,
        "stream_text",
        lambda model, tokenizer, ids, params: seen.append(ids) or real(model, tokenizer, ids, params),
    )
    code, out, err = run(capsys, "generate", folder, "hello", "--max-tokens", 4)
    assert (code, err) == (0, "")
    tokenizer = load_tokenizer(folder)
    asked = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(seen[0]) == asked
    assert seen[0][0] == tokenizer.token_to_id("<|im_start|>")  # one token, not the letters of its name
    assert not out.startswith("hello")
    code, out, _ = run(capsys, "generate", folder, "--raw", "--max-tokens", 4, "hello")
    assert tokenizer.decode(seen[1]) == "hello"
    assert out.startswith("hello")


def test_json_holds_the_answer_alone(folder, capsys):
    code, out, _ = run(capsys, "generate", "--model", folder, "hello", "--max-tokens", 4, "--json")
    told = json.loads(out)
    assert code == 0
    assert told["prompt"] == "hello"
    assert told["text"] == load_tokenizer(folder).decode(told["token_ids"], skip_special_tokens=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("smollm2", "hi", "--model", "there"), "name the model once: smollm2 and --model there came"),
        (("smollm2", "hi"), r"smollm2 is not here: `minillm fetch smollm2` \(93 MB\) brings it, once"),
        (
            ("smollm", "hi"),
            r"no model at smollm: .*, nor a real model \(smollm2, e5, minilm\) or owner/name of the hub",
        ),
    ],
)
def test_a_model_that_is_not_there_is_one_line(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MINILLM_DATA", raising=False)
    code, out, err = run(capsys, "generate", *arguments)
    assert (code, out) == (1, "")
    assert re.fullmatch(f"minillm: error: {message}\n", err)
    assert run(capsys, "convert", *arguments[:1], tmp_path / "x.gguf")[0] == 1


def test_a_folder_of_that_name_wins_over_the_real_model(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder.parent)
    code, out, _ = run(capsys, "generate", "smollm2", "hello", "--max-tokens", 1, "--json")
    assert code == 0
    assert len(json.loads(out)["token_ids"]) == 1


@needs_model("minilm")
def test_a_model_that_writes_nothing_is_said(capsys):
    code, _, err = run(capsys, "generate", "minilm", "hello")
    assert code == 1
    assert re.fullmatch(r"minillm: error: \S+minilm holds a BERT, which writes no text\n", err)


def test_what_is_fetched_is_what_there_is(capsys):
    with pytest.raises(SystemExit):
        main(["fetch", "nothing"])
    assert f"name must be one of {', '.join(REAL_MODELS)}, got 'nothing'" in capsys.readouterr().err


@needs_model("e5")
def test_e5_writes_nothing_either(capsys):
    code, _, err = run(capsys, "generate", "e5", "hello")
    assert code == 1
    assert re.fullmatch(r"minillm: error: \S+\.bin turns text into vectors, it writes none\n", err)


@needs_model("smollm2")
def test_the_real_one_answers(capsys):
    code, out, _ = run(
        capsys,
        "generate",
        "smollm2",
        "What is the capital of France?",
        "--temperature",
        0,
        "--max-tokens",
        12,
    )
    assert code == 0
    assert "Paris" in out
    assert list(model_folders("smollm2"))[-1].name == REAL_MODELS["smollm2"].folder


DRAWN = {
    "max_tokens": 40, "temperature": 0.7, "top_k": 9, "top_p": 0.8, "min_p": 0.1, "repetition_penalty": 1.2,
    "frequency_penalty": 0.5, "presence_penalty": -0.5, "logit_bias": {3: 1.5, 4: -2.0}, "stop": ("끝", "end"),
    "stop_token_ids": (7, 8), "ignore_eos": True, "min_tokens": 2, "seed": 11, "n": 2, "best_of": 4, "logprobs": 3,
    "prompt_logprobs": 1, "no_repeat_ngram_size": 3,
}  # fmt: skip
SEARCHED = {
    "max_tokens": 9,
    "temperature": 0,
    "beams": 4,
    "length_penalty": 2.0,
    "early_stopping": "never",
    "seed": 0,
    "json_schema": {"type": "object", "properties": {"이름": {"type": "string"}}},
}
OF_SEVERAL_TEXTS = {
    "n",
    "best_of",
    "beams",
    "length_penalty",
    "early_stopping",
    "logprobs",
    "prompt_logprobs",
}


def as_options(settings):
    """["--top-k", "9", ...], as a user types them."""
    typed = []
    for name, value in settings.items():
        if name == "json_schema":
            typed += ["--json-schema", json.dumps(value)]
            continue
        for one in (
            value.items() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]
        ):
            said = f"{one[0]}={one[1]}" if isinstance(one, tuple) else str(one)
            typed += [f"--{name.replace('_', '-')}", *([] if one is True else [said])]
    return typed


@pytest.mark.parametrize("settings", [DRAWN, SEARCHED])
def test_every_parameter_is_an_option_and_is_handed_over(settings):
    of_a_chat = {
        "calls"
    }  # which functions may be called: said by the messages' tools, not by a user of the shell
    assert {field.name for field in fields(SamplingParams)} - of_a_chat == {*DRAWN, *SEARCHED}
    model = SimpleNamespace(generation_config={})
    options = build_parser().parse_args(["generate", "model", "text", *as_options(settings)])
    assert sampling_params(options, model, None, False, options.max_tokens) == SamplingParams(**settings)
    of_one = {name: value for name, value in settings.items() if name not in OF_SEVERAL_TEXTS}
    options = build_parser().parse_args(["chat", "model", *as_options(of_one)])
    assert sampling_params(options, model, None, True, options.max_tokens) == replace(
        SamplingParams(top_p=0.9), **of_one
    )


def test_a_schema_is_read_from_a_file(tmp_path, capsys):
    (tmp_path / "s.json").write_text('{"type": "boolean"}')
    parse = build_parser().parse_args
    assert parse(["generate", "m", "t", "--json-schema", str(tmp_path / "s.json")]).json_schema == {
        "type": "boolean"
    }
    for wrong in ("{", str(tmp_path / "none.json")):
        with pytest.raises(SystemExit):
            parse(["generate", "m", "t", "--json-schema", wrong])
        assert "must be a JSON schema or a file" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "kept"), [("true", True), ("false", False), ("never", "never")])
def test_early_stopping_is_read(text, kept):
    options = build_parser().parse_args(
        ["generate", "model", "text", "--beams", "2", "--early-stopping", text]
    )
    found = sampling_params(options, SimpleNamespace(generation_config={}), None, False, 5)
    assert (found.early_stopping, found.temperature) == (kept, 0.0)
