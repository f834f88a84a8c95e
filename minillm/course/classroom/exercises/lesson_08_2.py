"""Checkers of lesson 08_2, FlashAttention."""

import math
import weakref

import torch

from minillm.course import exercise


def _is_tuple(found, size):
    return isinstance(found, tuple) and len(found) == size


def _rounded(x):
    """Numbers for a message."""
    return [round(number, 3) for number in x.tolist()]


class _Watched(list):
    """A list of numbers that can be watched: whether someone still holds it."""

    __hash__ = object.__hash__  # a WeakSet needs it


def _stream(scores, values, alive):
    """(score, value) pairs, once; `alive` collects how many of the values given out are still kept by the answer."""
    given = weakref.WeakSet()
    for score, numbers in zip(scores, values):
        value = _Watched(numbers)
        given.add(value)
        yield score, value
        del value
        alive.append(len(given))


@exercise("08-2-a", points=3)
def attend_stream(answer):
    """Online softmax over a stream."""
    generator = torch.Generator().manual_seed(0)
    inf = math.inf
    rising = [0.0, 1.0, 2.0, 3.0, 5.0, 4.0]
    cases = [
        ("equal scores", [0.0] * 6),
        ("scores that fall", [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]),
        ("scores that rise: what was summed with a smaller maximum must shrink", rising),
        ("scores around 5,000", [5000 + score for score in rising]),
        ("scores around -5,000", [-5000 + score for score in rising]),
        ("a score of 1,000 among small ones", [0.0, 1.0, 1000.0, 2.0, 0.0, 3.0]),
        ("hidden keys (-inf) among others", [1.0, -inf, 0.5, 2.0, -inf, 0.0]),
        ("hidden keys at the start", [-inf, -inf, 1.0, 2.0, 0.0, 3.0]),
        ("all keys hidden: zeros and -inf", [-inf] * 6),
    ]
    for name, scores in cases:
        values = torch.randn(len(scores), 3, generator=generator, dtype=torch.float64)
        alive = []
        found = answer(_stream(scores, values.tolist(), alive))
        assert _is_tuple(found, 2), f"return (output, lse), got {found!r}"
        row = torch.tensor(scores, dtype=torch.float64)
        lse, expected = torch.logsumexp(row, 0).item(), torch.softmax(row, 0).nan_to_num(0.0) @ values
        output = torch.tensor(found[0], dtype=torch.float64)
        assert output.shape == (3,), (
            f"{name}: the output is a list of 3 numbers, as a value, got {found[0]!r}"
        )
        assert not torch.cat([output, torch.tensor([float(found[1])])]).isnan().any(), (
            f"{name}: NaN. Is there an -inf minus -inf?"
        )
        assert torch.allclose(output, expected, atol=1e-9), (
            f"{name}: expected {_rounded(expected)}, got {_rounded(output)}"
        )
        assert math.isclose(found[1], lse, abs_tol=1e-9), (
            f"{name}: log of the sum of exp(score) is {lse:.3f}, got {found[1]:.3f}"
        )
    alive = []
    answer(_stream([0.1 * i for i in range(50)], [[1.0]] * 50, alive))
    assert max(alive) < 5, (
        f"{max(alive)} values were kept at once: the stream is too long for that, keep sums only"
    )


def plan_of(T, S, block_q, block_k, left=None):
    """The tiles by the slow way: draw the whole picture of who sees whom, then cut it."""
    position = torch.arange(T)[:, None] + S - T
    blocks = -(-S // block_k)
    key = torch.arange(blocks * block_k)[None]
    seen = (key <= position) & (key < S)
    if left is not None:
        seen &= key >= position - left
    rows = []
    for first in range(0, T, block_q):
        tiles = seen[first : first + block_q].unflatten(1, (blocks, block_k))
        some, every = tiles.any(2).any(0), tiles.all(2).all(0)
        rows.append([(j, not every[j].item()) for j in range(blocks) if some[j]])
    return rows


@exercise("08-2-b", points=3)
def visit(answer):
    """Which tiles a causal kernel visits."""
    cases = [
        ("as many queries as keys", (4, 4, 2, 2)),
        ("query blocks wider than key blocks", (8, 8, 4, 2)),
        ("key blocks wider than query blocks", (8, 8, 2, 4)),
        ("one new query, ten keys: the last query stands at the last key", (1, 10, 4, 4)),
        ("a piece of a prompt: 4 queries at the end of 10 keys", (4, 10, 2, 4)),
        ("more queries than keys: the first ones see nothing", (6, 2, 2, 2)),
        ("lengths that no block divides", (7, 7, 3, 2)),
        ("a window of 1 earlier key: left blocks are skipped too", (8, 8, 2, 2, 1)),
        ("a window of 3 earlier keys: some blocks are seen whole", (8, 8, 2, 2, 3)),
        ("a window of 5 earlier keys", (16, 16, 4, 4, 5)),
        ("a window of 0: only itself", (5, 5, 2, 2, 0)),
    ]
    for name, sizes in cases:
        found, expected = answer(*sizes), plan_of(*sizes)
        where = f"{name}, visit{sizes}"
        assert len(found) == len(expected), (
            f"{where}: one list for each of the {len(expected)} query blocks, got {len(found)}"
        )
        for i, (mine, right) in enumerate(zip(found, expected)):
            assert all(_is_tuple(pair, 2) for pair in mine), (
                f"{where}: query block {i}: a list of tuples (block, masked), got {mine!r}"
            )
            mine = [(int(j), bool(masked)) for j, masked in mine]
            assert [j for j, _ in mine] == [j for j, _ in right], (
                f"{where}: query block {i} needs the key blocks {[j for j, _ in right]}, got {[j for j, _ in mine]}"
            )
            assert mine == right, (
                f"{where}: query block {i}: the mask is needed in {[j for j, masked in right if masked]}, "
                f"got {[j for j, masked in mine if masked]}"
            )


@exercise("08-2-c", points=1)
def kept(answer):
    """What training keeps of one layer."""
    found = answer(T=5, heads=4, kv_heads=2, D=8)
    assert _is_tuple(found, 2), f"return (plain, flash), two numbers, got {found!r}"
    plain, flash = found
    q, kv, weights, lse = 4 * 5 * 8 * 2, 2 * 5 * 8 * 2, 4 * 5 * 5 * 2, 4 * 5 * 4
    assert plain == q + 2 * kv + weights, (
        f"plain, 5 tokens, 4 heads, 2 key heads, D 8: q {q} bytes, k and v {kv} each, the weights {weights}; "
        f"got {plain}"
    )
    assert flash == q + 2 * kv + q + lse, (
        f"flash: q, k, v, the output ({q} bytes) and one float32 number for each query of each head "
        f"({lse} bytes); got {flash}"
    )


@exercise("08-2-d", points=2)
def merge(answer):
    """One attention out of pieces."""
    generator = torch.Generator().manual_seed(0)
    inf = math.inf

    def piece(scores, values):
        lse = torch.logsumexp(scores, -1)
        return torch.softmax(scores, -1).nan_to_num(0.0) @ values, lse

    def compare(name, scores, values, cuts):
        bounds = list(zip([0, *cuts], [*cuts, scores.shape[1]]))
        pieces = [piece(scores[:, a:b], values[a:b]) for a, b in bounds]
        found = answer([(out.clone(), lse.clone()) for out, lse in pieces])
        assert _is_tuple(found, 2), f"return (out, lse), got {found!r}"
        out, lse = found
        expected, total = piece(scores, values)
        assert (out.shape, lse.shape) == (expected.shape, total.shape), (
            f"{name}: expected out {tuple(expected.shape)} and lse {tuple(total.shape)}, "
            f"got {tuple(out.shape)} and {tuple(lse.shape)}"
        )
        assert not torch.cat([out.flatten(), lse]).isnan().any(), (
            f"{name}: NaN. Is there an exp of +inf, an inf minus inf, or a division by zero?"
        )
        assert torch.allclose(lse, total, rtol=1e-5, atol=1e-4), (
            f"{name}: the log-sum-exp of all keys is {_rounded(total)}, got {_rounded(lse)}"
        )
        assert torch.allclose(out, expected, rtol=1e-4, atol=1e-4), (
            f"{name}: largest difference {(out - expected).abs().max():.3f}. A piece counts by its exp(lse)"
        )

    scores, values = 2 * torch.randn(3, 8, generator=generator), torch.randn(8, 4, generator=generator)
    compare("two halves of 8 keys", scores, values, [4])
    compare("pieces of 1, 2 and 5 keys", scores, values, [1, 3])
    compare("one piece alone", scores, values, [])
    compare("scores around 3,000 (exp of them overflows)", scores + 3000, values, [2, 6])
    apart = scores + torch.tensor([[3000.0], [0.0], [-3000.0]])
    compare("one query's scores around 3,000, another's around -3,000", apart, values, [2, 6])
    hidden = scores.clone()
    hidden[:, :4] = -inf
    compare("a piece in which no key is visible (zeros, lse -inf)", hidden, values, [4])
    hidden[1] = -inf
    compare("a query that sees nothing in any piece (zeros, lse -inf)", hidden, values, [4])
