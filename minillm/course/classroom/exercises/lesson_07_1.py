"""Checkers of lesson 07_1, the KV cache."""

import tracemalloc
from contextlib import contextmanager

import torch

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_floats,
    cases,
    copied_library,
    expect,
    expect_parts,
    forbid,
    packages_of,
    plain,
    shown,
)
from minillm.course.page.instruments import watch, watch_layers
from minillm.models import Llama, LlamaConfig
from minillm.nn import MultiHeadAttention, RoPE, attention

BUILD = "build the cache yourself"
SMALL = 200_000  # bytes that Python may take for itself in a few calls
CUTS = ("minillm.inference.sampling.apply_top_p", "minillm.inference.sampling.process_logits")


@exercise("07-1-a", points=2)
def counted(answer):
    """Work, memory and choices, counted by hand."""
    hints = (
        "tokens without a cache: the passes read 200, 201, ... tokens, and there are 50 of them",
        "tokens with a cache: the prompt once, then each new token but the last",
        "bytes of a token: keys and values of 4 key heads in each layer, 2 bytes a number",
        "texts: what is left beside the weights, divided by 2,048 tokens of cache",
        "top_p: the fewest best tokens that add up to 0.75",
        "min_p: the tokens with at least half of 0.4",
    )
    expected = (sum(range(200, 250)), 200 + 49, 2 * 2 * 24 * 4 * 64, 64, 3, 2)
    for number, right, hint in zip(as_floats(answer, "the prediction", 6), expected, hints):
        expect(number, right, hint=hint)


class _Layers(torch.nn.Module):
    """Attention layers alone; they ask a cache for its length and hand it q, k and v of the new tokens."""

    def __init__(self, count, heads, kv_heads, seed):
        super().__init__()
        self.layers = torch.nn.ModuleList(
            MultiHeadAttention(4 * heads, heads, kv_heads, RoPE(4), causal=True, layer=i)
            for i in range(count)
        )
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            # numbers stay near 1 through three layers, and roundings near 1e-6: larger weights would amplify both
            torch.nn.init.normal_(parameter, std=(4 * heads) ** -0.5, generator=generator)

    def forward(self, x, cache=None):
        for layer in self.layers:
            x = x + layer(x, cache=cache)
        return x


@exercise("07-1-b", points=3)
def list_cache(answer):
    """A cache that grows."""
    copied = copied_library(answer, allowed=("attention",))
    copied = copied or packages_of(answer, "transformers")
    assert not copied, f"{BUILD}: your answer uses {copied}"
    names = [f"minillm.nn.cache.KVCache.{name}" for name in ("__init__", "attend", "update")]
    with torch.no_grad():
        for case in cases(layers=(1, 2, 3), heads=((2, 2), (4, 2), (4, 1)), batch=(1, 3)):
            _in_pieces(answer, case, names)
        _one_layer_ahead(answer)
        _no_room_reserved(answer)


def _in_pieces(answer, case, names):
    """A text in pieces, some of it forgotten and read again, against the whole text at once."""
    inputs = Inputs(case.seed)
    pieces = [inputs.integer(1, 4), 1, inputs.integer(1, 3), 1]
    model = _Layers(case.layers, *case.heads, case.seed)
    x = inputs.tensor(case.batch, sum(pieces), 4 * case.heads[0])
    expected = model(x)
    with forbid(BUILD, *names, answer=answer):
        cache = answer(case.layers)
        expect(cache.length, 0, hint="the length of a new cache")
        for start, stop in zip([0, *_sums(pieces)], _sums(pieces)):
            found = model(x[:, start:stop], cache)
            expect(cache.length, stop, hint=f"{case}: the length after tokens {start} to {stop - 1}")
            hint = f"{case}: with your cache, tokens {start} to {stop - 1} must come out as in the whole text"
            expect(found, expected[:, start:stop], 1e-4, hint)
        other = answer(case.layers)
        model(x[:, :1], other)
        expect(other.length, 1, hint=f"{case}: the length of a second cache, with one token")
        expect(
            cache.length, sum(pieces), hint=f"{case}: the first cache's length, after a second one was filled"
        )
        kept = pieces[0]
        cache.crop(kept)
        expect(cache.length, kept, hint=f"{case}: the length after crop({kept})")
        found = model(x[:, kept:], cache)
        expect(found, expected[:, kept:], 1e-4, f"{case}: after crop({kept}) the rest is read again")


def _sums(pieces):
    return [sum(pieces[: i + 1]) for i in range(len(pieces))]


def _one_layer_ahead(answer):
    """Between two layers the new tokens do not count yet; each layer has its own keys; options are passed on."""
    q, k, v = Inputs(1).tensors(*[(2, 3, 5, 4)] * 3)
    cache, given = answer(2), [x.clone() for x in (q, k, v)]
    cache.attend(0, *given, causal=True)
    for name, now, before in zip("qkv", given, (q, k, v)):
        expect(now, before, hint=f"{name} must stay as it was")
    expect(cache.length, 0, hint="layer 0 holds 5 tokens, layer 1 none: length is what every layer holds")
    cache.attend(1, q, -k, 2 * v, causal=True)
    expect(cache.length, 5, hint="both layers hold 5 tokens now: the length")
    mask = torch.tensor([[True, False, True, True, True, True]])
    options = {"mask": mask, "causal": True, "scale": 0.3, "bias": Inputs(2).tensor(1, 3, 1, 6)}
    last = (x[:, :, -1:] for x in (q, k, v))
    found = cache.attend(0, *last, **options)
    both = (torch.cat((x, x[:, :, -1:]), dim=2) for x in (k, v))
    expected = attention(q[:, :, -1:], *both, **options)
    expect(found, expected, 1e-4, "one more token in layer 0, with a mask, a scale and a bias")


def _no_room_reserved(answer):
    """Three tokens in one pass and one by one: torch's tensors are counted, and what other libraries take."""
    for batch, width, pieces in ((1, 4, [3]), (2, 8, [1, 1, 1]), (8, 64, [2, 1])):
        q, k, v = (x.split(pieces, dim=2) for x in Inputs(batch).tensors(*[(batch, 2, 3, width)] * 3))

        def filled(q=q, k=k, v=v):
            cache = answer(1)
            for piece in zip(q, k, v):
                cache.attend(0, *piece, causal=True)
            return cache

        filled()  # what torch imports the first time is not the cache's
        with traced() as elsewhere, watch() as seen:
            cache = filled()
        held = sum(x.nbytes for x in (*k, *v))
        made = max(seen.alive_bytes, elsewhere() - SMALL)
        assert made <= 4 * held, (
            f"the cache must not reserve room: keys and values of 3 tokens have {held} bytes, "
            f"your cache made {made} (at most {4 * held})"
        )
        del cache


@contextmanager
def traced():
    """How many bytes Python and numpy hold more at the end of the block than before it: a function that says so."""
    ours, held = not tracemalloc.is_tracing(), [0, 0]
    if ours:
        tracemalloc.start()
    held[0] = tracemalloc.get_traced_memory()[0]
    try:
        yield lambda: held[1] - held[0]
        held[1] = tracemalloc.get_traced_memory()[0]
    finally:
        if ours:
            tracemalloc.stop()


@exercise("07-1-c", points=3)
def nucleus(answer):
    """Top-p on plain probabilities: the smallest set that reaches p."""
    copied = copied_library(answer)
    assert not copied, f"cut the probabilities yourself: your answer uses {copied}"
    by_hand = (
        ([1.0], (0, 0.5, 1)),
        ([0.25] * 4, (0, 0.25, 0.5, 0.75, 1)),  # ties, and sums that are exactly p
        ([0.0, 0.5, 0.0, 0.5], (0, 0.5, 0.625, 1)),
        ([0.125, 0.5, 0.125, 0.25], (0.25, 0.5, 0.75, 0.8125, 0.875, 1)),
    )
    for probabilities, ps in by_hand:
        for p in ps:
            _nucleus_is_right(answer, probabilities, p)
    for case in cases(tokens=(2, 3, 8, 40), p=(0, 0.0625, 0.5, 0.75, 0.9375, 1), likes=(1, 3, 30)):
        probabilities = _dyadic(case.tokens, case.likes, Inputs(case.seed))
        _nucleus_is_right(answer, probabilities, case.p)
        best = sorted(probabilities, reverse=True)
        _nucleus_is_right(answer, probabilities, sum(best[: Inputs(case.seed).integer(1, case.tokens)]))


def _dyadic(tokens, likes, inputs):
    """Probabilities that are multiples of 1/1024; the fewer `likes`, the more of them are equal."""
    weights = [inputs.integer(0, likes) for _ in range(tokens)]
    scale = 1024 // max(1, sum(weights))
    weights = [scale * weight for weight in weights]
    weights[inputs.integer(0, tokens - 1)] += 1024 - sum(weights)
    return [weight / 1024 for weight in weights]


def _nucleus_is_right(answer, probabilities, p):
    order = sorted(range(len(probabilities)), key=lambda i: (-probabilities[i], i))
    kept, total = set(), 0.0
    for i in order:
        if kept and total >= p:
            break
        kept.add(i)
        total += probabilities[i]
    expected = [one / total if i in kept else 0.0 for i, one in enumerate(probabilities)]
    given = list(probabilities)
    with forbid("cut the probabilities yourself", *CUTS, answer=answer):
        found = answer(given, p)
    expect(found, expected, 1e-5, hint=f"p={p} of {shown(probabilities)}")
    expect(given, probabilities, hint="the list that you are given must stay as it is")


@exercise("07-1-d", points=3)
def lost_positions(answer):
    """Positions that are wrong, and which of them do no harm."""
    expect_parts(answer, "surprise", "harmless", "reason")
    surprise = answer["surprise"]
    assert callable(surprise), f"surprise must be a function, got {shown(surprise)}"
    places = {
        "n": lambda n: n,
        "0": lambda n: 0,
        "n + 7": lambda n: n + 7,
        "2 * n": lambda n: 2 * n,
        "0 after the prompt": lambda n: n if n < 3 else 0,
    }
    for case in cases(place=tuple(places), prompt=(1, 3, 5), new=(1, 4)):
        _surprise_is_right(surprise, case, places[case.place])
    for name, right in (("harmless", "b"), ("reason", "b")):
        letter = plain(answer[name], name)
        assert isinstance(letter, str), f"{name} must be a letter, got {shown(letter)}"
        letter = letter.strip().lower()
        assert letter in {"a", "b", "c", "d"}, f"{name} must be 'a', 'b', 'c' or 'd', got {shown(letter)}"
        assert letter == right, f"{name}: {letter!r} is not it; try your function on the small model"


def _surprise_is_right(surprise, case, place):
    config = LlamaConfig(
        vocab_size=11, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64,
    )  # fmt: skip
    model = Llama(config, seed=case.seed).eval()
    ids = Inputs(case.seed).integers(case.prompt + case.new, 0, 10)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6)  # fresh scores are nearly equal: positions would hardly show
        positions = torch.tensor([[place(n) for n in range(len(ids))]])
        logits = model(torch.tensor([ids]), position_ids=positions).logits[0].log_softmax(-1)
    losses = [-logits[n - 1, ids[n]].item() for n in range(case.prompt, len(ids))]
    scores = []
    model.register_forward_hook(lambda *call: scores.append(call[-1].logits[0, -1].detach().log_softmax(-1)))
    with watch_layers(model.body.blocks[0].attention.k_proj) as (inputs, _):
        found = surprise(model, list(ids), case.prompt, place)
    expect(found, sum(losses) / len(losses), 1e-3, f"{case}, ids {ids}: the mean loss of the last {case.new}")
    passes = [x.shape[1] for x in inputs]
    steps = [case.prompt, *[1] * (case.new - 1)]
    assert passes in (steps, [*steps, 1]), (
        f"{case}: read the prompt in one pass and then one token a pass, {steps}; yours read {passes}"
    )
    if len(scores) == len(
        passes
    ):  # the model was called as a whole: its own passes must have given these losses
        seen = [-one[ids[n]].item() for n, one in zip(range(case.prompt, len(ids)), scores)]
        expect(seen, losses, 1e-3, f"{case}: the losses of each pass of the model, with its cache")
