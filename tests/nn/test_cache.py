"""The KV cache: cached equals uncached however a text is cut; a call that fails leaves it as it was."""

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import minillm
from minillm.inference import KVCache, kv_cache_bytes
from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig

V, WINDOW, LAYERS = 50, 40, 3
SIZES = {"vocab_size": V, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": LAYERS}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": WINDOW}


def make(kind, **options):
    """A model whose every weight shows in its logits."""
    if kind == "gpt2":
        model = GPT2(
            GPT2Config(vocab_size=V, n_positions=WINDOW, n_embd=16, n_layer=LAYERS, n_head=2, **options)
        )
    else:
        model = Llama(LlamaConfig(**SIZES, **HEADS | options, model_type=kind))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(8)
    return model.eval()


KINDS = {
    "gpt2": lambda: make("gpt2"),
    "llama": lambda: make("llama"),
    "mistral": lambda: make("mistral", sliding_window=3),
    "qwen3": lambda: make("qwen3", head_dim=6, num_key_value_heads=1),
    "linear rope": lambda: make("llama", rope_scaling={"rope_type": "linear", "factor": 2.0}),
}


@pytest.fixture(scope="module")
def models():
    return {name: kind() for name, kind in KINDS.items()}


@pytest.fixture(scope="module")
def llama(models):
    return models["llama"]


def ids(batch=2, length=12, seed=0):
    return torch.randint(0, V, (batch, length), generator=torch.Generator().manual_seed(seed))


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def logits(model, x, cache=None, **options):
    with torch.no_grad():
        return model(x, cache=cache, **options).logits


def state(cache):
    mask = cache.attention_mask
    return cache.length, None if mask is None else mask.tolist()


# Memory, and one layer's use of it


def test_bytes_equal_the_formula_and_what_is_allocated():
    llama2 = LlamaConfig()  # the 7B of Llama 2
    # 2 bytes · 2 (K and V) · 32 layers · 4096 width · 4096 tokens: the book's formula
    assert kv_cache_bytes(llama2, 1, 4096, torch.float16) == 2 * 2 * 32 * 4096 * 4096 == 2 * 2**30
    assert kv_cache_bytes(LlamaConfig(num_key_value_heads=8), 1, 4096, torch.float16) == 2 * 2**30 // 4
    config = LlamaConfig(num_hidden_layers=3, num_key_value_heads=4, hidden_size=64, num_attention_heads=8)
    for dtype in (torch.float32, torch.bfloat16):
        assert KVCache(config, 2, 10, dtype).nbytes == kv_cache_bytes(config, 2, 10, dtype)
    assert kv_cache_bytes(config, 0, 10) == kv_cache_bytes(config, 1, 0) == 0


def test_a_cache_counts_no_tokens_that_it_has_no_room_for():
    cache = KVCache(GPT2Config(n_layer=1, n_embd=8, n_head=2), 1, 4)
    cache.commit(3)
    for tokens in (-1, 2, 1.0, None):
        with pytest.raises(ValueError, match="tokens must be"):
            cache.commit(tokens)
    assert cache.length == 3
    whole = torch.zeros(1, 2, 1, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match="float"):
        cache.update(0, whole, whole)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("heads", [2, 4])
def test_attend_is_attention_over_all_that_came(causal, heads):
    """Held against torch's own over the keys and values put together by hand."""
    config = GPT2Config(n_layer=2, n_embd=8, n_head=2)
    cache, generator = KVCache(config, 3, 9), torch.Generator().manual_seed(0)
    past = {0: [], 1: []}
    for step in (4, 1, 3):
        before = cache.length
        for layer in (0, 1):
            q = torch.randn(3, heads, step, 4, generator=generator)
            k, v = torch.randn(2, 3, 2, step, 4, generator=generator)
            past[layer].append((k, v))
            keys, values = (
                torch.cat(parts, 2).repeat_interleave(heads // 2, 1) for parts in zip(*past[layer])
            )
            rows = torch.ones(step, keys.shape[2], dtype=torch.bool)
            mask = rows.tril(before) if causal else rows
            expected = torch.nn.functional.scaled_dot_product_attention(q, keys, values, mask, scale=0.7)
            close(cache.attend(layer, q, k, v, causal=causal, scale=0.7), expected)
            assert cache.length == before + step * layer  # it counts once the last layer has it
    assert len(cache) == 8
    cache.attend(0, q[:, :, :1], k[:, :, :1], v[:, :, :1])  # a pass that the second layer never sees
    assert cache.length == 8
    keys = torch.cat([pair[0] for pair in past[0]], 2)
    assert torch.equal(cache.update(0, k[:, :, :1], v[:, :, :1])[0][:, :, :8], keys)
    with pytest.raises(ValueError, match="room for 9"):
        cache.attend(0, q[:, :, :2], k[:, :, :2], v[:, :, :2])
    for wrong in (k[:2], k[:, :1], k[..., :3], v.double(), None):
        with pytest.raises(ValueError, match=r"cache|k and v"):
            KVCache(config, 3, 9, torch.float32).attend(0, q, wrong, wrong)


# Cached equals uncached


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
@settings(max_examples=12)
def test_any_cut_of_a_text_gives_the_whole_texts_logits(models, name, data):
    model = models[name]
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    x = ids(data.draw(st.integers(1, 3)), sum(sizes), seed=len(sizes))
    cache = model.new_cache(len(x), sum(sizes) + data.draw(st.integers(0, 2)))
    found = [logits(model, piece, cache) for piece in x.split(sizes, dim=1)]
    whole = logits(model, x)
    close(torch.cat(found, 1), whole)
    length = data.draw(st.integers(0, cache.length - 1))
    cache.crop(length)
    assert cache.length == length
    close(logits(model, x[:, length:], cache), whole[:, length:])
    cache.reset()
    close(logits(model, x.flip(1), cache), logits(model, x.flip(1)))


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
@settings(max_examples=12)
def test_any_cut_with_any_padding(models, name, data):
    """Padded on the left, on the right or in between; the mask told for the new tokens or for all."""
    model, T = models[name], 9
    mask = torch.tensor(
        data.draw(st.lists(st.lists(st.sampled_from([0, 1]), min_size=T, max_size=T), min_size=1, max_size=3))
    )
    mask[:, data.draw(st.integers(0, T - 1))] = 1
    x, positions = ids(len(mask), T), (mask.cumsum(1) - 1).clamp(min=0)
    kind = data.draw(st.sampled_from([torch.int64, torch.bool, torch.float32]))
    whole = logits(model, x, attention_mask=mask.to(kind), position_ids=positions)
    cache, found, start = model.new_cache(len(mask), T), [], 0
    while start < T:
        stop = data.draw(st.integers(start + 1, T))
        told = mask[:, start:stop] if data.draw(st.booleans()) else mask[:, :stop]
        if bool(told.all()) and data.draw(st.booleans()):
            told = None  # what is not padding need not be said
        told = None if told is None else told.to(kind)
        found.append(
            logits(model, x[:, start:stop], cache, attention_mask=told, position_ids=positions[:, start:stop])
        )
        start = stop
    real = mask.bool()
    close(torch.cat(found, 1)[real], whole[real])


@pytest.mark.parametrize("name", KINDS)
def test_a_row_does_not_depend_on_its_neighbours(models, name):
    model = models[name]
    rows = [ids(1, length, seed=length) for length in (7, 3, 1)]
    mask = torch.tensor([[0] * (7 - row.shape[1]) + [1] * row.shape[1] for row in rows])
    x = torch.cat([torch.cat((torch.zeros(1, 7 - row.shape[1], dtype=torch.long), row), 1) for row in rows])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    together = model.new_cache(3, 9)
    first = logits(model, x, together, attention_mask=mask, position_ids=positions)[:, -1:]
    second = logits(model, x[:, :1], together, position_ids=positions[:, -1:] + 1)
    for i, row in enumerate(rows):
        alone = model.new_cache(1, 8)
        close(first[i], logits(model, row, alone)[0, -1:])
        close(second[i], logits(model, x[i : i + 1, :1], alone)[0])


def test_made_by_hand_or_by_the_model(llama):
    for cache in (KVCache(llama.config, 2, 12), llama.new_cache(2, 12), llama.new_cache(2, 12)):
        close(logits(llama, ids(), cache), logits(llama, ids()))
    assert llama.new_cache(2, 12).nbytes == kv_cache_bytes(llama.config, 2, 12, torch.float32)
    for sizes in ((0, 4), (1, 0), (1.0, 4), (True, 4)):
        with pytest.raises(ValueError, match="must be"):
            llama.new_cache(*sizes)


def test_inputs_embeds_go_through_a_cache(llama):
    x = ids()
    embedded = llama.body.tokens(x).detach()
    cache = llama.new_cache(2, 12)
    with torch.no_grad():
        llama(inputs_embeds=embedded[:, :5], cache=cache)
        found = llama(x[:, 5:], cache=cache).logits
    close(found, logits(llama, x)[:, 5:])


# A call that fails leaves the cache as it was


def filled(model, padded):
    """A cache with 5 tokens of two texts, and what the next 3 tokens must give."""
    x = ids(2, 8)
    mask = torch.ones(2, 8, dtype=torch.long)
    if padded:
        mask[1, :2] = 0
    cache = model.new_cache(2, 8)
    logits(model, x[:, :5], cache, attention_mask=mask[:, :5] if padded else None)
    expected = logits(model, x, attention_mask=mask if padded else None)[:, 5:]
    return cache, x[:, 5:], expected


def parts(model):
    """Where a call may be cut short: in every block before and after attention, in the last norm, in the head."""
    for block in model.body.blocks:
        yield from (block, block.attention.o_proj, block.feed_forward)
    yield from (model.body.norm, model.head)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_call_leaves_the_cache_as_it_was(models, kind, padded, error):
    model = models[kind]

    def fail(*_):
        raise error("cut short")

    for part in parts(model):
        cache, rest, expected = filled(model, padded)
        before = state(cache)
        hook = part.register_forward_hook(fail)
        with pytest.raises(error):
            logits(model, rest, cache, attention_mask=torch.tensor([[1, 0, 1], [1, 1, 1]]))
        hook.remove()
        assert state(cache) == before
        if padded:
            assert cache.attention_mask.shape == (2, 5)
        close(logits(model, rest, cache), expected)
        assert cache.length == 8


def test_interrupted_at_any_line(llama):
    """Ctrl-C comes between any two lines of our own: the call counts wholly or not at all, never in part."""
    here = str(Path(minillm.__file__).parent)
    passed = 0

    def tracer(at):
        def trace(frame, event, _):
            nonlocal passed
            if not frame.f_code.co_filename.startswith(here):
                return None
            if event == "line":
                passed += 1
                if passed == at:
                    raise KeyboardInterrupt
            return trace

        return trace

    def attempt(at):
        nonlocal passed
        passed = 0
        cache, rest, expected = filled(llama, padded=True)
        before = sys.gettrace()
        sys.settrace(tracer(at))
        try:
            logits(llama, rest[:, :2], cache)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        assert cache.length in (5, 7)
        assert cache.attention_mask.shape == (2, cache.length)
        done = cache.length - 5
        close(logits(llama, rest[:, done:], cache), expected[:, done:])
        return done

    assert attempt(at=-1) == 2
    lines = passed
    assert lines > 50
    outcomes = [attempt(at) for at in range(1, lines + 1, max(1, lines // 60))]
    assert outcomes.count(0) > len(outcomes) // 2  # interrupted before its end


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_ids": torch.full((2, 1), V)}, "0..49"),
        ({"input_ids": torch.full((2, 1), -1)}, "0..49"),
        ({"input_ids": ids(3, 1)}, "made for 2 texts"),
        ({"input_ids": ids(2, 4)}, "room for 8 tokens"),
        ({"input_ids": ids(2, 1).float()}, "input_ids"),
        ({"input_ids": torch.zeros(2, 0, dtype=torch.long)}, "at least one token"),
        ({"attention_mask": torch.full((2, 1), 2)}, "attention_mask must hold 0 .* and 1"),
        ({"attention_mask": torch.full((2, 1), -1e4)}, "attention_mask must hold 0 .* and 1"),
        ({"attention_mask": torch.full((2, 6), -1e4)}, "attention_mask must hold 0 .* and 1"),
        ({"attention_mask": torch.tensor([[0.5], [1.0]])}, "attention_mask must hold 0 .* and 1"),
        ({"attention_mask": torch.tensor([[float("nan")], [1.0]])}, "attention_mask must hold 0 .* and 1"),
        ({"attention_mask": torch.ones(2, 2)}, "attention_mask must have shape"),
        ({"attention_mask": torch.ones(2, 7)}, "attention_mask must have shape"),
        ({"attention_mask": torch.ones(1, 1)}, "attention_mask must have shape"),
        ({"attention_mask": torch.ones(2)}, "attention_mask"),
        ({"attention_mask": torch.ones(2, 1, 1, 6)}, "attention_mask"),
        ({"attention_mask": [[1], [1]]}, "attention_mask"),
        ({"position_ids": torch.tensor([[WINDOW], [0]])}, "position_ids must lie in 0..39"),
        ({"position_ids": torch.tensor([[-1], [0]])}, "position_ids must lie in 0..39"),
        ({"position_ids": torch.tensor([[1.0], [0.0]])}, "position_ids"),
        ({"position_ids": torch.zeros(2, 2, dtype=torch.long)}, "position_ids"),
        ({"logits_to_keep": 2}, "logits_to_keep"),
        ({"logits_to_keep": -1}, "logits_to_keep"),
    ],
)
def test_a_refused_call_leaves_the_cache_as_it_was(models, padded, options, message):
    for kind in ("llama", "gpt2"):
        cache, rest, expected = filled(models[kind], padded)
        before = state(cache)
        with pytest.raises(ValueError, match=message):
            models[kind](**{"input_ids": rest[:, :1], **options}, cache=cache)
        assert state(cache) == before
        close(logits(models[kind], rest, cache), expected)


@pytest.mark.parametrize("value", [-1e4, 2.0, 0.5, float("nan"), float("-inf")])
def test_wrong_masks_are_refused_by_an_empty_cache_too(llama, value):
    cache = llama.new_cache(2, 12)
    for store in (cache, None):
        with pytest.raises(ValueError, match=r"attention_mask must hold 0 .* and 1"):
            logits(llama, ids(), store, attention_mask=torch.full((2, 12), value))
    assert state(cache) == (0, None)
    close(logits(llama, ids(), cache), logits(llama, ids()))


@pytest.mark.parametrize(
    "other",
    [
        {"num_hidden_layers": LAYERS - 1},
        {"num_hidden_layers": LAYERS + 1},
        {"num_key_value_heads": 4},
        {"head_dim": 8},
    ],
)
def test_a_cache_of_another_model_is_refused(llama, other):
    cache = KVCache(LlamaConfig(**SIZES | HEADS | other), 2, 12)
    with pytest.raises(ValueError, match=r"cache|layer"):
        logits(llama, ids(), cache)
    assert cache.length == 0


@pytest.mark.parametrize("cache", [5, "cache", {}, [torch.zeros(1)]])
def test_what_is_no_cache_is_refused(llama, cache):
    with pytest.raises(ValueError, match="cache"):
        llama(ids(), cache=cache)


# Dtypes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_models_own_cache_has_its_dtype(dtype):
    model = make("llama").to(dtype)
    cache = model.new_cache(2, 12)
    assert cache.nbytes == kv_cache_bytes(model.config, 2, 12, dtype)
    found = torch.cat([logits(model, piece, cache) for piece in ids().split(5, 1)], 1)
    assert found.dtype == dtype
    whole = logits(model, ids())
    assert (found - whole).abs().mean() <= 16 * torch.finfo(dtype).eps * whole.abs().max()


def test_a_float32_cache_under_a_bfloat16_model_is_refused_or_works():
    model = make("llama").to(torch.bfloat16)
    plain = KVCache(model.config, 2, 12)  # no dtype said
    assert logits(model, ids(), plain).shape == (2, 12, V)
    float32 = KVCache(model.config, 2, 12, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"float32.*bfloat16"):
        logits(model, ids(), float32)
    assert state(float32) == (0, None)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_models_own_cache_under_autocast(models, kind):
    model, x = models[kind], ids()
    cache = model.new_cache(2, 12)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.cat([logits(model, piece, cache) for piece in x.split(5, 1)], 1)
        whole = logits(model, x)
    assert (found - whole).abs().mean() <= 16 * torch.finfo(torch.bfloat16).eps * whole.abs().max()


def test_a_failed_call_leaves_an_undecided_cache_undecided(llama):
    cache = KVCache(llama.config, 2, 12)

    def stop(*_):
        raise KeyboardInterrupt

    handle = llama.body.blocks[1].register_forward_pre_hook(stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            logits(llama, ids(), cache)
    finally:
        handle.remove()
    assert logits(make("llama").to(torch.bfloat16), ids(), cache).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_cache_filled_in_inference_mode_serves_outside_it(dtype):
    model = make("llama").to(dtype)
    with torch.inference_mode():
        made_inside = model.new_cache(2, 12)
    for cache in (made_inside, KVCache(model.config, 2, 12)):
        with torch.inference_mode():
            model(ids(2, 6), cache=cache)
        assert logits(model, ids(2, 1), cache).shape == (2, 1, V)


def test_a_cache_keeps_a_mask_of_its_own(llama):
    x, mask = ids(2, 6), torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]]).bool()
    cache = llama.new_cache(2, 7)
    logits(llama, x, cache, attention_mask=mask)
    before = state(cache)
    mask.fill_(True)
    assert state(cache) == before


# Crop and reset


def test_crop_forgets_padding_too(llama):
    x, mask = ids(2, 6), torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    cache = llama.new_cache(2, 8)
    logits(llama, x, cache, attention_mask=mask)
    cache.crop(4)  # what was padding is forgotten
    assert state(cache) == (4, [[True] * 4] * 2)
    close(logits(llama, x[:, :3], cache), logits(llama, torch.cat((x[:, :4], x[:, :3]), 1))[:, 4:])
    cache.reset()
    assert state(cache) == (0, None)
    close(logits(llama, x, cache), logits(llama, x))
    for length in (7, -1, 1.0, None):
        with pytest.raises(ValueError, match="length"):
            cache.crop(length)
    assert cache.length == 6


# Select


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("rows", [[2, 0, 1], [1, 1, 1], [0], [2, 2, 0, 1, 1], (0, 2), torch.tensor([1, 0])])
def test_select_makes_each_text_a_copy_of_another(models, name, rows):
    """As if the texts had been read in that order from the start: padding, positions and what comes after included."""
    model, x = models[name], ids(3, 6)
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6, [0, 1, 1, 1, 1, 1]])
    positions, chosen = (mask.cumsum(1) - 1).clamp(min=0), list(map(int, rows))
    found, expected = model.new_cache(3, 9), model.new_cache(len(chosen), 9)
    logits(model, x, found, attention_mask=mask, position_ids=positions)
    logits(model, x[chosen], expected, attention_mask=mask[chosen], position_ids=positions[chosen])
    found.select(rows)
    assert state(found) == state(expected)
    assert found.nbytes == expected.nbytes == kv_cache_bytes(model.config, len(chosen), 9, torch.float32)
    for step in range(3):  # copies go their own ways from here on
        new, place = ids(len(chosen), 1, seed=step), positions[chosen][:, -1:] + 1 + step
        close(logits(model, new, found, position_ids=place), logits(model, new, expected, position_ids=place))


@pytest.mark.parametrize("rows", [[], [2], [-1], [0.0], [True], "0", None, 0, [[0]]])
def test_wrong_rows_leave_the_cache_as_it_was(llama, rows):
    cache, rest, expected = filled(llama, padded=True)
    before = state(cache)
    with pytest.raises(ValueError, match="row"):
        cache.select(rows)
    assert state(cache) == before
    close(logits(llama, rest, cache), expected)


# Bytes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    ("options", "kv_heads"),
    [
        ({"num_key_value_heads": 4}, 4),
        ({"num_key_value_heads": 2}, 2),
        ({"num_key_value_heads": 1}, 1),
        ({"head_dim": 6}, 2),
        ({"model_type": "mistral", "sliding_window": 3}, 2),
    ],
    ids=["multi-head", "grouped", "multi-query", "head width of its own", "sliding window"],
)
def test_the_formula_is_what_is_allocated(options, kv_heads, dtype):
    """Counted in the storages themselves, before and after use; the formula written out once more by hand."""
    config = LlamaConfig(**SIZES, **HEADS | options)
    width = options.get("head_dim", 4)
    by_hand = 2 * LAYERS * 9 * kv_heads * width * dtype.itemsize * 2
    model = Llama(config).to(dtype)
    cache = model.new_cache(2, 9)
    for piece in (ids(2, 9), None):
        storages = [one.untyped_storage().nbytes() for one in (*cache.keys, *cache.values)]
        assert kv_cache_bytes(config, 2, 9, dtype) == cache.nbytes == sum(storages) == by_hand
        if piece is not None:
            logits(model, piece, cache)


def test_the_formula_for_gpt2(models):
    assert models["gpt2"].new_cache(2, 9).nbytes == 2 * LAYERS * 9 * 16 * 4 * 2
    assert kv_cache_bytes(models["gpt2"].config, 2, 9, torch.float32) == 2 * LAYERS * 9 * 16 * 4 * 2
