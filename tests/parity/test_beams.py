"""Beam search writes the texts that transformers' num_beams writes, in the same order, with the same scores."""

import itertools
import json

import pytest
import torch

from minillm.inference import SamplingParams, generate, generate_batch
from minillm.models import load_model
from tests.helpers import soak_count
from tests.parity import encoder_decoders
from tests.parity.folders import Case, transformers

FAMILIES = {
    "Llama": {},
    "Qwen2": {},
    "Qwen3": {"head_dim": 8},
    "GPT2": {},
}
ENDS = [7, 11, 23]
NEW = 12


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """name -> (transformers' model, ours), of random weights."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name.replace(", ", "_"))
            if name in FAMILIES:
                Case(name, FAMILIES[name]).write(folder)
                theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
            else:
                theirs = encoder_decoders.make(name, scale=1.0)
                theirs.config.forced_eos_token_id = theirs.generation_config.forced_eos_token_id = None
                theirs.save_pretrained(folder)
                theirs = type(theirs).from_pretrained(folder).eval()
            made[name] = theirs.eval(), load_model(folder)
        return made[name]

    return get


def beams_of_transformers(model, prompt, beams, n, ends, **options):
    """[(new tokens, score)], best first, what stands behind an end token cut off."""
    ids = torch.tensor([prompt])
    made = model.generate(
        ids, attention_mask=torch.ones_like(ids), num_beams=beams, num_return_sequences=n, do_sample=False,
        eos_token_id=ends, pad_token_id=0, max_new_tokens=NEW, return_dict_in_generate=True, output_scores=True,
        **options,
    )  # fmt: skip
    start = 1 if model.config.is_encoder_decoder else len(prompt)
    rows = [row[start:] for row in made.sequences.tolist()]
    cut = [next((i + 1 for i, token in enumerate(row) if token in ends), len(row)) for row in rows]
    return [(row[:end], score) for row, end, score in zip(rows, cut, made.sequences_scores.tolist())]


def ends_of(model, prompt, beams):
    """Tokens that stand in the middle of texts that are kept: with them as ends some beams end early, some never."""
    params = SamplingParams(max_tokens=NEW, beams=beams, n=beams, ignore_eos=True)
    rows = [row.token_ids for row in generate_batch(model, [prompt], params)]
    return sorted({rows[0][4], rows[-1][9], rows[-1][6]})


def clear(found):
    """Whether the scores of the texts are no near-ties."""
    return all(a - b > 2e-5 for (_, a), (_, b) in itertools.pairwise(found))


@pytest.mark.parametrize("name", [*FAMILIES, "t5, 1.1", "mt5", "bart", "mbart"])
@pytest.mark.parametrize("early", [False, True, "never"])
def test_beams_are_those_of_transformers(opened, name, early):
    theirs, ours = opened(name)
    generator = torch.Generator().manual_seed(0)
    compared, lengths, not_greedy = 0, set(), 0
    for turn in range(soak_count(60)):
        prompt = torch.randint(3, 61, (1 + turn % 5,), generator=generator).tolist()
        beams, penalty = 2 + turn % 4, (1.0, 0.0, 2.0, -0.7)[turn % 4]
        more = {"length_penalty": penalty, "early_stopping": early}
        ends = ends_of(ours, prompt, beams)
        expected = beams_of_transformers(theirs, prompt, beams, beams, ends, **more)
        params = SamplingParams(
            max_tokens=NEW, temperature=0, beams=beams, n=beams, stop_token_ids=ends, ignore_eos=True, **more
        )
        rows = generate_batch(ours, [prompt], params)
        if not clear(expected):
            continue
        compared += 1
        assert [row.token_ids for row in rows] == [tokens for tokens, _ in expected], (turn, prompt)
        best = SamplingParams(max_tokens=NEW, beams=beams, stop_token_ids=ends, ignore_eos=True, **more)
        assert generate(ours, prompt, best) == generate(ours, prompt, best, cache=False) == expected[0][0]
        lengths |= {len(tokens) for tokens, _ in expected}
        greedy = SamplingParams(max_tokens=NEW, temperature=0, stop_token_ids=ends, ignore_eos=True)
        not_greedy += expected[0][0] != generate(ours, prompt, greedy)
    assert compared >= 3
    assert len(lengths) > 1
    assert not_greedy


@pytest.mark.parametrize("name", ["Llama", "GPT2", "t5, 1.1", "bart"])
@pytest.mark.parametrize(
    ("theirs_say", "ours_say"),
    [
        ({"repetition_penalty": 1.4}, {"repetition_penalty": 1.4}),
        ({"no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 2}),
        ({"no_repeat_ngram_size": 1}, {"no_repeat_ngram_size": 1}),
        ({"min_new_tokens": 9}, {"min_tokens": 9}),
        ({"sequence_bias": [[[20], 2.5], [[31], -4.0]]}, {"logit_bias": {20: 2.5, 31: -4.0}}),
    ],
)
def test_beams_with_other_settings(opened, name, theirs_say, ours_say):
    theirs, ours = opened(name)
    compared = 0
    for prompt in ([5, 6, 7, 5], [40, 12], [33], [21, 22, 60]):
        ends = ends_of(ours, prompt, 3)
        expected = beams_of_transformers(theirs, prompt, 3, 3, ends, **theirs_say)
        params = SamplingParams(
            max_tokens=NEW, temperature=0, beams=3, n=3, stop_token_ids=ends, ignore_eos=True, **ours_say
        )
        if not clear(expected):
            continue
        compared += 1
        assert [row.token_ids for row in generate_batch(ours, [prompt], params)] == [t for t, _ in expected]
    assert compared


@pytest.mark.parametrize("name", ["Llama", "bart"])
def test_settings_of_a_folder(opened, name, tmp_path):
    """generation_config.json of a summariser: beams, length penalty, n-grams, forced tokens."""
    theirs, _ = opened(name)
    theirs.save_pretrained(tmp_path)
    settings = {
        "num_beams": 4, "length_penalty": 2.0, "early_stopping": True, "no_repeat_ngram_size": 3, "max_new_tokens": 10,
        "num_return_sequences": 2, "eos_token_id": ENDS, "pad_token_id": 0, "bos_token_id": 1,
    }  # fmt: skip
    if name == "bart":
        settings |= {"decoder_start_token_id": 2, "forced_bos_token_id": 9, "forced_eos_token_id": 7}
    (tmp_path / "generation_config.json").write_text(json.dumps(settings))
    again = type(theirs).from_pretrained(tmp_path).eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    made = again.generate(ids, attention_mask=torch.ones_like(ids))[:, 1 if name == "bart" else 4 :].tolist()
    params = SamplingParams.from_folder(tmp_path)
    assert (params.beams, params.length_penalty, params.early_stopping, params.n) == (4, 2.0, True, 2)
    rows = generate_batch(load_model(tmp_path), [[5, 6, 7, 8]], params)
    assert [row.token_ids for row in rows] == [
        row[: next((i + 1 for i, t in enumerate(row) if t in ENDS), len(row))] for row in made
    ]


def test_several_prompts_and_log_probabilities(opened):
    _, ours = opened("Llama")
    prompts = [[5, 6, 7], [9], [30, 31, 32, 33]]
    params = SamplingParams(max_tokens=6, temperature=0, beams=3, n=2, logprobs=1)
    rows = generate_batch(ours, prompts, params)
    for i, row in enumerate(rows):
        prompt = prompts[i // 2]
        alone = generate_batch(ours, [prompt], params)[i % 2]
        assert (row.token_ids, row.finish_reason) == (alone.token_ids, "length")
        with torch.no_grad():
            scores = ours(torch.tensor([prompt + row.token_ids])).logits[0, len(prompt) - 1 :].log_softmax(-1)
        for token, said, place in zip(row.token_ids, row.logprobs, scores):
            assert said[token] == pytest.approx(place[token].item(), abs=1e-4)
            assert max(said.values()) == pytest.approx(place.max().item(), abs=1e-4)
