"""n, best_of, seeds, and log probabilities of new and of prompt tokens: held against one text at a time."""

import pytest
import torch

from minillm.inference import SamplingParams, generate, generate_batch
from tests.inference.test_inference import gpt2, llama  # noqa: F401  (fixtures)

PROMPTS = [[1, 2, 3, 4, 5, 6], [7], [8, 9, 10]]
DRAWING = {
    "max_tokens": 8,
    "temperature": 0.9,
    "top_p": 0.95,
    "frequency_penalty": 0.2,
    "stop_token_ids": [17, 21],
}


def scores(model, prompt, new):
    """The log probabilities (N, V) of what stands where each of the new tokens does, of one pass over the text."""
    with torch.no_grad():
        return model(torch.tensor([[*prompt, *new]])).logits[0, len(prompt) - 1 : -1].double().log_softmax(-1)


def total(model, prompt, new):
    """log p(new | prompt) of the model itself, without temperature and penalties."""
    return scores(model, prompt, new).gather(1, torch.tensor(new)[:, None]).sum().item()


@pytest.mark.parametrize("seed", [0, 5, 2**63 - 2])
def test_the_jth_text_of_a_prompt_is_that_of_its_seed_alone(llama, seed):  # noqa: F811
    rows = generate_batch(llama, PROMPTS, SamplingParams(**DRAWING, n=3, seed=seed))
    texts = [row.token_ids for row in rows]
    alone = [
        generate(llama, prompt, SamplingParams(**DRAWING, seed=(seed + j) % 2**63))
        for prompt in PROMPTS
        for j in range(3)
    ]
    assert texts == alone
    assert len(set(map(tuple, texts))) == 9
    assert generate_batch(llama, PROMPTS[:1], SamplingParams(**DRAWING, n=3, seed=seed)) == rows[:3]


def test_best_of_keeps_the_most_probable_of_those_drawn(llama):  # noqa: F811
    many = SamplingParams(**DRAWING, n=6, seed=40)
    drawn = generate_batch(llama, PROMPTS, many)
    kept = generate_batch(llama, PROMPTS, SamplingParams(**DRAWING, n=2, best_of=6, seed=40))
    for i, prompt in enumerate(PROMPTS):
        texts = [row.token_ids for row in drawn[6 * i : 6 * i + 6]]
        ranked = sorted(texts, key=lambda new: -total(llama, prompt, new))
        assert [row.token_ids for row in kept[2 * i : 2 * i + 2]] == ranked[:2]
        assert ranked[0] != texts[0] or i  # the first drawn is not always the best
        best = SamplingParams(**DRAWING, best_of=6, seed=40)
        assert generate(llama, prompt, best) == generate(llama, prompt, best, cache=False) == ranked[0]
    assert kept[0].logprobs is None
    equal = SamplingParams(**DRAWING, n=3, best_of=3, seed=4)  # nothing to choose: as they are drawn
    assert generate_batch(llama, PROMPTS, equal) == generate_batch(
        llama, PROMPTS, SamplingParams(**DRAWING, n=3, seed=4)
    )


@pytest.mark.parametrize("best", [0, 1, 4, 99])
@pytest.mark.parametrize("which", ["gpt2", "llama"])
def test_log_probabilities_are_the_models_own(which, best, request):
    """Of the chosen token and the best, before temperature, cuts and penalties."""
    model = request.getfixturevalue(which)
    rows = generate_batch(model, PROMPTS, SamplingParams(**DRAWING, n=2, seed=3, logprobs=best))
    chosen_is_no_best = 0
    for i, row in enumerate(rows):
        expected = scores(model, PROMPTS[i // 2], row.token_ids)
        assert len(row.logprobs) == len(row.token_ids)
        for token, said, place in zip(row.token_ids, row.logprobs, expected):
            assert set(said) == {token, *place.topk(min(best, 50)).indices.tolist()}
            for one, value in said.items():
                assert value == pytest.approx(place[one].item(), abs=2e-4)
            chosen_is_no_best += token != place.argmax()
        assert row.prompt_logprobs is None
    assert chosen_is_no_best


@pytest.mark.parametrize("best", [0, 3])
def test_log_probabilities_of_a_prompt(llama, best):  # noqa: F811
    params = SamplingParams(max_tokens=2, n=2, seed=0, prompt_logprobs=best)
    rows = generate_batch(llama, PROMPTS, params)
    for i, row in enumerate(rows):
        prompt = PROMPTS[i // 2]
        expected = scores(llama, prompt[:1], prompt[1:])
        assert row.prompt_logprobs[0] is None
        assert len(row.prompt_logprobs) == len(prompt)
        for token, said, place in zip(prompt[1:], row.prompt_logprobs[1:], expected):
            assert set(said) == {token, *place.topk(best).indices.tolist()}
            assert said[token] == pytest.approx(place[token].item(), abs=2e-4)
        assert row.logprobs is None
