import numpy as np
import pytest
import torch

from minillm.search.vectors.negative_sampling import (
    Noise,
    _bits,
    _draw,
    _next,
    contexts,
    keep_limits,
    noise_table,
    sigmoid,
    step_plain,
    train,
    train_plain,
)

V, D = 9, 5


def matrices(seed=0, dtype=np.float64, size=(V, D)):
    rng = np.random.default_rng(seed)
    return rng.normal(size=size).astype(dtype), rng.normal(size=size).astype(dtype)


def autograd(inputs, outputs, context, word, negatives, mean):
    """Gradients of the loss as the papers write it: of h, of the inputs and of the outputs."""
    inputs, outputs = torch.tensor(inputs, requires_grad=True), torch.tensor(outputs, requires_grad=True)
    h = inputs[context].mean(0) if mean else inputs[context].sum(0)
    h.retain_grad()
    loss = -torch.nn.functional.logsigmoid(outputs[word] @ h)
    loss = loss - torch.nn.functional.logsigmoid(-(outputs[negatives] @ h)).sum()
    loss.backward()
    return h.grad.numpy(), inputs.grad.numpy(), outputs.grad.numpy()


@pytest.mark.parametrize("negatives", [[1, 2, 3], [4, 4, 1], []])
def test_a_step_of_skip_gram_is_the_gradient_that_torch_finds(negatives):
    inputs, outputs = matrices()
    _, for_inputs, for_outputs = autograd(inputs, outputs, [6], 0, negatives, True)
    moved = inputs.copy(), outputs.copy()
    step_plain(*moved, [6], 0, negatives, rate=0.1)
    np.testing.assert_allclose(moved[0], inputs - 0.1 * for_inputs, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(moved[1], outputs - 0.1 * for_outputs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("mean", [True, False])
def test_a_step_of_cbow_moves_each_neighbour_as_word2vec_does(mean):
    """A word twice in the window moves twice. Of a mean, each moves by the gradient of h: count times what the loss
    says. Of a sum they share it."""
    inputs, outputs = matrices(1)
    context = [5, 6, 6, 8]
    of_h, for_inputs, for_outputs = autograd(inputs, outputs, context, 2, [0, 1], mean)
    moved = inputs.copy(), outputs.copy()
    step_plain(*moved, context, 2, [0, 1], 0.1, mean)
    np.testing.assert_allclose(moved[1], outputs - 0.1 * for_outputs, rtol=1e-12, atol=1e-14)
    factor = len(context) if mean else 1 / len(context)
    np.testing.assert_allclose(moved[0], inputs - 0.1 * factor * for_inputs, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose((moved[0] - inputs)[8], -0.1 * of_h * (1 if mean else 0.25), rtol=1e-12)


def some_text(seed=0, sentences=12):
    rng = np.random.default_rng(seed)
    parts = [
        rng.integers(0, V, rng.integers(0, 12)) for _ in range(sentences)
    ]  # some are empty, some of one word
    words = np.concatenate(parts).astype(np.int32)
    return words, np.concatenate([[0], np.cumsum(list(map(len, parts)))]).astype(np.int64)


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("skipgram", [True, False])
def test_the_fast_version_ends_where_the_plain_one_does(skipgram, mean):
    counts = np.arange(1, V + 1)
    keep, noise = keep_limits(counts, 0.05), noise_table(counts)
    assert (keep < 2**32).any()
    words, starts = some_text()
    fast, plain = matrices(2, np.float32), matrices(2)
    plain = tuple(part.astype(np.float32).astype(np.float64) for part in plain)
    options = (keep, noise, skipgram, 3, 4, mean, 0.1, 0.001)
    ended = train(words, starts, *fast, *options, np.uint64(7))
    assert ended == train_plain(words, starts, *plain, *options, 7)  # as many random numbers
    before = matrices(2)
    for one, other, first in zip(fast, plain, before, strict=True):
        assert np.abs(other - first).max() > 0.05
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_a_text_in_two_calls_is_a_text_in_one():
    counts = np.arange(1, V + 1)
    tables = keep_limits(counts, 0.1), noise_table(counts)
    words, starts = some_text(3)
    whole, parts = matrices(4, np.float32), matrices(4, np.float32)
    end = train(words, starts, *whole, *tables, True, 2, 3, True, 0.125, 2**-12, np.uint64(1))
    state = train(words, starts[:6], *parts, *tables, True, 2, 3, True, 0.125, 2**-12, np.uint64(1))
    rate = 0.125 - 2**-12 * starts[5]
    assert end == train(words, starts[5:], *parts, *tables, True, 2, 3, True, rate, 2**-12, np.uint64(state))
    np.testing.assert_array_equal(whole[0], parts[0])
    np.testing.assert_array_equal(whole[1], parts[1])


def test_the_random_numbers_are_splitmix64():
    """The published numbers of the seed 1234567."""
    state, found = 1234567, []
    for _ in range(5):
        state = _next(state)
        found.append(_draw(state))
        assert int(_bits(np.uint64(state))) == found[-1]
    assert found == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def shares(noise: Noise) -> np.ndarray:
    """What a table draws, word by word, from its limits alone."""
    own = noise.limits / 2**32
    shares = own.copy()
    np.add.at(shares, noise.aliases, 1 - own)
    return shares / len(own)


@pytest.mark.parametrize("power", [0.75, 1.0, 0.0, -0.5, 3.0, 400.0])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_negatives_are_drawn_by_count_to_a_power(power, size):
    counts = np.random.default_rng(size).zipf(1.3, size).clip(max=10**6)
    logs = power * np.log(counts)
    expected = np.exp(logs - logs.max())
    np.testing.assert_allclose(shares(noise_table(counts, power)), expected / expected.sum(), atol=2e-9)


@pytest.mark.parametrize(("power", "only"), [(1e308, 0), (-1e308, 2)])
def test_the_largest_powers_draw_one_word(power, only):
    np.testing.assert_array_equal(shares(noise_table(np.array([5, 3, 1]), power)), np.eye(3)[only])


def test_the_table_of_two_words():
    noise = noise_table(np.array([3, 1]), 1)
    np.testing.assert_array_equal(noise.limits, [2**32, 2**31])
    np.testing.assert_array_equal(noise.aliases, [0, 0])


def test_frequent_words_are_kept_by_the_square_root_rule():
    counts = np.array([900, 90, 10])
    f = counts / 1000
    np.testing.assert_allclose(
        keep_limits(counts, 0.01) / 2**32, np.minimum(1, np.sqrt(0.01 / f) + 0.01 / f), atol=1e-9
    )
    assert (keep_limits(counts, 0) == 2**32).all()


def settled(pairs: np.ndarray, negative: int, dim: int, power: float = 1.0):
    """Scores (contexts, words) of skip-gram trained on `pairs` (V, V): pairs[a, b] sentences of the words a, b."""
    size = len(pairs)
    text = np.array([(a, b) for a in range(size) for b in range(size) for _ in range(pairs[a, b])], np.int32)
    counts = np.bincount(text.reshape(-1), minlength=size)
    rng = np.random.default_rng(0)
    inputs = (rng.random((size, dim), np.float32) * 2 - 1) / dim
    outputs = np.zeros((size, dim), np.float32)
    starts = np.arange(0, 2 * len(text) + 1, 2)
    state, rate, epochs = np.uint64(0), 0.05, 200
    fall = rate / (epochs * text.size)
    for epoch in range(epochs):
        words = rng.permutation(text).reshape(-1)
        start = rate * (1 - epoch / epochs)
        state = np.uint64(
            train(
                words, starts, inputs, outputs, keep_limits(counts, 0), noise_table(counts, power), True, 1, negative,
                True, start, fall, state,
            )
        )  # fmt: skip
    return inputs.astype(np.float64) @ outputs.astype(np.float64).T, counts


def optimum(pairs: np.ndarray, counts: np.ndarray, negative: int) -> np.ndarray:
    """Where the derivative of the expected loss is 0: of each context's pairs, those with w as the word pull up, and
    each other pair draws w as a negative with its chance, `negative` times."""
    together = pairs + pairs.T  # (contexts, words), each pair both ways round
    others = together.sum(1, keepdims=True) - together
    return np.log(together / (negative * counts / counts.sum() * others))


def test_two_words_settle_where_the_closed_form_says():
    pairs = np.array([[40, 25], [25, 10]])
    scores, counts = settled(pairs, negative=2, dim=4)
    np.testing.assert_allclose(scores, optimum(pairs, counts, 2), atol=0.1)


def test_many_words_settle_at_the_shifted_pmi():
    """Levy & Goldberg 2014: o_w . h_c = ln( P(w, c) / (P(w) P(c)) ) - ln(negatives)."""
    rng = np.random.default_rng(5)
    pairs = rng.integers(1, 16, (12, 12))
    scores, counts = settled(pairs, negative=3, dim=16)
    together = (pairs + pairs.T) / (2 * pairs.sum())
    share = counts / counts.sum()
    shifted = np.log(together / np.outer(share, share)) - np.log(3)
    exact = optimum(pairs, counts, 3)
    np.testing.assert_allclose(exact, shifted, atol=0.3)  # what leaving out the word itself changes
    np.testing.assert_allclose(scores, exact, atol=0.25)
    assert np.corrcoef(scores.reshape(-1), shifted.reshape(-1))[0, 1] > 0.98


def test_sigmoid_is_the_chance_of_yes():
    np.testing.assert_allclose(sigmoid(np.array([0, np.log(3), -np.log(3)])), [0.5, 0.75, 0.25])


@pytest.mark.parametrize("length", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("reach", [1, 2, 20])
def test_every_word_is_guessed_by_its_neighbours(length, reach):
    """Skip-gram takes a step for each pair at a distance of at most `reach`, both ways; CBOW one for each word."""
    words = [f"w{n}" for n in range(length)]
    pairs = {(a, b) for a in words for b in words if a != b and abs(int(a[1:]) - int(b[1:])) <= reach}
    alone = [(*one, words[at]) for at in range(length) for one in contexts(words, at, reach, True)]
    assert len(alone) == len(set(alone)) == 2 * sum(max(length - far, 0) for far in range(1, reach + 1))
    assert set(alone) == pairs
    together = [(words[at], contexts(words, at, reach, False)) for at in range(length)]
    assert [len(found) for _, found in together] == [int(length > 1)] * length
    assert {(one, word) for word, found in together for context in found for one in context} == pairs
