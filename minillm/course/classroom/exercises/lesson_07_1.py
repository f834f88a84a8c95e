"""Checkers of lesson 07_1, the KV cache."""

import torch

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    cases,
    copied_library,
    expect,
    forbid,
    plain,
    shown,
)
from minillm.course.page.instruments import watch, watch_layers
from minillm.models import Llama, LlamaConfig
from minillm.nn import MultiHeadAttention, RoPE, attention

BUILD = "build the cache yourself"


@exercise("07-1-a", points=2)
def tokens_computed(answer):
    """Work with and without a cache."""
    for case in cases(prompt=(1, 2, 5, 40), new=(1, 2, 3, 30), cache=(True, False)):
        steps = [case.prompt + i for i in range(case.new)]  # how long the text is when each token is written
        expected = case.prompt + case.new - 1 if case.cache else sum(steps)
        found = answer(case.prompt, case.new, case.cache)
        expect(found, expected, hint=f"{case}: the prompt is read once; the last new token is not read")


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
            torch.nn.init.normal_(parameter, std=0.4, generator=generator)

    def forward(self, x, cache=None):
        for layer in self.layers:
            x = x + layer(x, cache=cache)
        return x


@exercise("07-1-b", points=3)
def list_cache(answer):
    """A cache that grows."""
    copied = copied_library(answer, allowed=("attention",))
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
    cache = answer(2)
    cache.attend(0, q, k, v, causal=True)
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
    for batch, width in ((1, 4), (2, 8)):
        q, k, v = Inputs(batch).tensors(*[(batch, 2, 3, width)] * 3)
        with watch() as seen:
            cache = answer(1)
            cache.attend(0, q, k, v, causal=True)
        most = 4 * (k.nbytes + v.nbytes)
        assert seen.alive_bytes <= most, (
            f"the cache must not reserve room: keys and values of 3 tokens have {k.nbytes + v.nbytes} bytes, "
            f"your cache made {seen.alive_bytes} (at most {most})"
        )
        del cache


@exercise("07-1-c", points=2)
def cache_bytes(answer):
    """Bytes of a cache, sliding windows included."""
    copied = copied_library(answer)
    assert not copied, f"work it out yourself: your answer uses {copied}"
    windows = (None, 4, ["sliding_attention", "full_attention", "full_attention"])
    for case in cases(
        kv_heads=(1, 4), head_dim=(8, 16), window=windows, texts=(1, 3), tokens=(3, 10), size=(1, 2)
    ):
        config = _config(case.kv_heads, case.head_dim, case.window)
        tokens = [case.tokens if one is None else min(one, case.tokens) for one in config.windows]
        expected = 2 * sum(tokens) * case.kv_heads * case.head_dim * case.texts * case.size
        found = answer(config, case.texts, case.tokens, case.size)
        expect(found, expected, hint=f"3 layers with windows {config.windows}, {case}")


def _config(kv_heads, head_dim, window):
    shape = {
        "hidden_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
    }
    if window is None:
        return LlamaConfig(**shape)
    if isinstance(window, int):
        return LlamaConfig(**shape, model_type="mistral", sliding_window=window)
    return LlamaConfig(
        **shape, model_type="qwen2", sliding_window=4, use_sliding_window=True, layer_types=window
    )


@exercise("07-1-d", points=3)
def lost_positions(answer):
    """Positions that are wrong, and what shows it."""
    assert isinstance(answer, dict), f"check a dict, as the test cell does, got {shown(answer)}"
    lacking = {"surprise", "shows", "reason"} - set(answer)
    assert not lacking, f"the answer lacks {', '.join(sorted(lacking))}"
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
    for name, right in (("shows", "c"), ("reason", "b")):
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
    with watch_layers(model.body.blocks[0].attention.k_proj) as (inputs, _):
        found = surprise(model, list(ids), case.prompt, place)
    expect(found, sum(losses) / len(losses), 1e-3, f"{case}, ids {ids}: the mean loss of the last {case.new}")
    passes = [x.shape[1] for x in inputs]
    steps = [case.prompt, *[1] * (case.new - 1)]
    assert passes in (steps, [*steps, 1]), (
        f"{case}: read the prompt in one pass and then one token a pass, {steps}; yours read {passes}"
    )
