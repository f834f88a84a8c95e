"""SamplingParams of a folder: what generation_config.json says, in transformers' meaning, or a refusal by name."""

import json

import pytest

from minillm._files import BadFileError
from minillm.inference import SamplingParams


@pytest.fixture
def folder(tmp_path):
    def write(content):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "generation_config.json").write_text(text)
        return tmp_path

    return write


def test_a_chat_models_settings(folder):
    content = {
        "bos_token_id": 1, "eos_token_id": [2, 16], "pad_token_id": 0, "do_sample": True, "temperature": 0.6,
        "top_p": 0.95, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.05, "max_new_tokens": 7,
        "min_new_tokens": 2, "stop_strings": ["\n\n", "User:"], "num_return_sequences": 2, "max_length": 4096,
        "transformers_version": "4.51.0", "use_cache": True, "num_beams": 1, "no_repeat_ngram_size": 0,
        "chat_format": "chatml", "length_penalty": 1.0, "typical_p": None,
    }  # fmt: skip
    expected = SamplingParams(
        max_tokens=7, temperature=0.6, top_p=0.95, top_k=20, min_p=0.05, repetition_penalty=1.05, min_tokens=2,
        stop=("\n\n", "User:"), n=2,
    )  # fmt: skip
    assert SamplingParams.from_folder(folder(content)) == expected
    assert SamplingParams.from_folder(str(folder(content)), n=1, seed=3, top_k=5).top_k == 5


def test_greedy_unless_the_file_says_do_sample(folder, tmp_path):
    nothing = SamplingParams.from_folder(tmp_path)  # no file
    assert (nothing.temperature, nothing.max_tokens) == (0.0, 16)
    assert SamplingParams.from_folder(folder({})) == nothing
    assert SamplingParams.from_folder(folder({"temperature": 0.6, "top_p": 0.9})).temperature == 0
    asked = SamplingParams.from_folder(folder({"do_sample": False, "top_p": 0.9}), temperature=0.7)
    assert (asked.temperature, asked.top_p, asked.top_k) == (0.7, 0.9, 50)
    drawn = SamplingParams.from_folder(folder({"do_sample": True}))
    assert (drawn.temperature, drawn.top_k, drawn.top_p) == (1.0, 50, 1.0)
    assert SamplingParams.from_folder(folder({"do_sample": True, "top_k": 0})).top_k == 0
    assert SamplingParams.from_folder(folder({"do_sample": True, "top_p": 0.0})).top_k == 1
    long = SamplingParams.from_folder(folder({"min_new_tokens": 30}), max_tokens=40)
    assert (long.min_tokens, long.max_tokens) == (30, 40)


def test_beams_of_a_folder(folder):
    content = {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True, "no_repeat_ngram_size": 3}
    expected = SamplingParams(
        temperature=0, top_k=50, beams=4, length_penalty=2.0, early_stopping=True, no_repeat_ngram_size=3
    )
    assert SamplingParams.from_folder(folder(content)) == expected
    assert SamplingParams.from_folder(folder(content | {"early_stopping": "never"})).early_stopping == "never"


def test_settings_are_hashable_and_do_not_change():
    bias = {5: 1}
    params = SamplingParams(logit_bias=bias)
    bias[5] = 2
    assert params.logit_bias == {5: 1.0}
    assert len({params, SamplingParams(logit_bias={5: 1.0}), SamplingParams()}) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"num_beams": 4, "do_sample": True}, "num_beams = 4 with do_sample"),
        ({"num_beams": 0}, "beams must be at least 1"),
        ({"num_beams": 2, "num_return_sequences": 3}, "n must be at most beams"),
        ({"num_beams": 2, "num_beam_groups": 2}, "num_beam_groups = 2"),
        ({"early_stopping": "always"}, "early_stopping"),
        ({"length_penalty": "long"}, "length_penalty"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size"),
        ({"bad_words_ids": [[5]]}, "bad_words_ids"),
        ({"suppress_tokens": [1, 2]}, "suppress_tokens"),
        ({"begin_suppress_tokens": [220]}, "begin_suppress_tokens"),
        ({"forced_bos_token_id": 0}, "forced_bos_token_id = 0"),
        ({"forced_eos_token_id": 2}, "forced_eos_token_id"),
        ({"sequence_bias": [[[5], 1.0]]}, "sequence_bias"),
        ({"typical_p": 0.9}, "typical_p"),
        ({"epsilon_cutoff": 1e-4}, "epsilon_cutoff"),
        ({"eta_cutoff": 1e-4}, "eta_cutoff"),
        ({"top_h": 0.4}, "top_h"),
        ({"guidance_scale": 1.5}, "guidance_scale"),
        ({"encoder_repetition_penalty": 1.2}, "encoder_repetition_penalty"),
        ({"exponential_decay_length_penalty": [5, 1.1]}, "exponential_decay_length_penalty"),
        ({"penalty_alpha": 0.6}, "penalty_alpha"),
        ({"min_length": 10}, "min_length"),
        ({"watermarking_config": {"bias": 2}}, "watermarking_config"),
        ({"do_sample": "yes"}, "do_sample"),
        ({"temperature": "hot"}, "temperature must be a finite number, got 'hot'"),
        ({"do_sample": True, "temperature": -1}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"max_new_tokens": 0}, "max_tokens"),
        ([1], "JSON object"),
        ("{", "not a whole JSON file"),
        ('{"temperature": NaN}', "temperature|not a whole"),
    ],
)
def test_what_would_give_other_tokens_is_refused_by_name(folder, tmp_path, content, message):
    with pytest.raises(BadFileError, match=message) as caught:
        SamplingParams.from_folder(folder(content))
    assert str(tmp_path) in str(caught.value)


def test_wrong_calls(folder, tmp_path):
    for call, message in (
        (lambda: SamplingParams.from_folder(tmp_path / "nowhere"), "nowhere"),
        (lambda: SamplingParams.from_folder(None), "folder must be a path"),
        (lambda: SamplingParams.from_folder(tmp_path, top_p=2), "top_p"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError):
        SamplingParams.from_folder(tmp_path, heat=1)


@pytest.mark.parametrize(
    "options",
    [
        {"stop_token_ids": 5}, {"stop_token_ids": "5"}, {"stop_token_ids": [-1]}, {"stop_token_ids": [1.0]},
        {"stop_token_ids": None}, {"ignore_eos": 1}, {"ignore_eos": None}, {"min_tokens": -1}, {"min_tokens": 1.0},
        {"min_tokens": 17}, {"min_tokens": True}, {"frequency_penalty": 2.1}, {"frequency_penalty": None},
        {"presence_penalty": -2.1}, {"logit_bias": [5]}, {"logit_bias": {-1: 1.0}}, {"logit_bias": {"5": 1.0}},
        {"logit_bias": {5: 101}}, {"logit_bias": {5: float("-inf")}}, {"best_of": 0}, {"best_of": 2, "n": 3},
        {"best_of": 2, "temperature": 0}, {"beams": 0}, {"beams": 2.0}, {"beams": 2, "temperature": 0.5},
        {"beams": 2, "top_k": 5}, {"beams": 2, "n": 3}, {"best_of": 2, "beams": 2}, {"length_penalty": None},
        {"early_stopping": 1}, {"early_stopping": "always"}, {"no_repeat_ngram_size": -1}, {"prompt_logprobs": -1},
        {"prompt_logprobs": True}, {"json_schema": {1, 2}},
    ],
)  # fmt: skip
def test_bad_settings_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SamplingParams(**options)


def test_a_schema_that_changes_later_does_not_change_the_settings():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    params = SamplingParams(json_schema=schema)
    schema["properties"]["a"]["type"] = "boolean"
    assert params.json_schema == {"type": "object", "properties": {"a": {"type": "integer"}}}
