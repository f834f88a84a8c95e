"""The compiled decode step: the model's own logits, whatever the sizes, and only where nobody looks or interferes."""

import pytest
import torch

from minillm._kernels import use_kernels
from minillm.course import watch, watch_attention, watch_layers
from minillm.inference import SamplingParams, generate, generate_batch, stream
from minillm.inference.fused import FusedStep
from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig, load_model, save_gguf
from minillm.nn import attention_backend
from minillm.nn.fast_cpu import fast_layers
from minillm.quantization import load_packed, quantize
from tests.inference.test_inference import spread

SIZES = {"vocab_size": 61, "hidden_size": 32, "intermediate_size": 54, "num_hidden_layers": 2}
KINDS = {
    "multi-head": {},
    "shared keys, tied": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "one key head": {"num_key_value_heads": 1, "head_dim": 6},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "qwen2": {"model_type": "qwen2", "num_key_value_heads": 2},
    "qwen3": {"model_type": "qwen3", "head_dim": 16},
    "mistral": {"model_type": "mistral", "sliding_window": 5},
    "slower turns": {"rope_scaling": {"rope_type": "linear", "factor": 3.0}},
    "yarn": {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
}


def llama(**options):
    given = {"num_attention_heads": 4, "max_position_embeddings": 64} | SIZES | options
    return spread(Llama(LlamaConfig(**given)))


def gpt2(**options):
    return spread(GPT2(GPT2Config(vocab_size=61, n_positions=64, n_embd=32, n_layer=2, n_head=2, **options)))


def largest_difference(model, prompt=3, new=24):
    """Of the logits of the fused step from the model's own, relative to their size; and of keys and values."""
    ids = torch.randint(0, 61, (1, prompt + new), generator=torch.Generator().manual_seed(prompt))
    ours, plain = model.new_cache(1, 64), model.new_cache(1, 64)
    worst = 0.0
    with torch.inference_mode():
        for cache in (ours, plain):
            model(ids[:, :prompt], cache=cache)
        step = FusedStep.of(model, ours)
        for place in range(prompt, prompt + new):
            expected = model(ids[:, place : place + 1], cache=plain).logits[:, -1]
            got = step(int(ids[0, place]))
            worst = max(worst, ((got - expected).abs().max() / expected.abs().max()).item())
        assert ours.length == plain.length == prompt + new
        for mine, theirs in zip((*ours.keys, *ours.values), (*plain.keys, *plain.values)):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())
    return worst


@pytest.mark.parametrize("kind", KINDS)
def test_a_llama_has_its_own_logits(kind):
    assert largest_difference(llama(**KINDS[kind])) < 1e-4


@pytest.mark.parametrize("options", [{}, {"n_inner": 50}, {"scale_attn_by_inverse_layer_idx": True}])
def test_a_gpt2_has_its_own_logits(options):
    assert largest_difference(gpt2(**options), prompt=1, new=40) < 1e-4


def test_rows_that_are_no_multiple_of_four_are_all_worked_out():
    for rows in (33, 34, 35):
        assert largest_difference(llama(intermediate_size=rows, vocab_size=61 + rows), new=3) < 1e-4


@pytest.mark.parametrize("method", ["int8", "nf4", "int4", "rtn", "gptq", "awq"])
@pytest.mark.parametrize("make", [llama, gpt2])
def test_quantized_layers_are_read_as_codes(make, method):
    model = make(**({"intermediate_size": 56} if make is llama else {"n_inner": 40}))
    given = {"calibration": list(range(60))} if method in ("gptq", "awq") else {}
    group = None if method == "int8" else 16
    assert largest_difference(quantize(model, method, group_size=group, **given)) < 1e-4


@pytest.mark.parametrize("kind", ["q4_0", "q4_1", "q8_0"])
def test_the_codes_of_a_file_give_the_logits_of_the_file(kind, tmp_path):
    wide = {"hidden_size": 64, "intermediate_size": 96, "num_key_value_heads": 2, "vocab_size": 100}
    save_gguf(llama(**wide, tie_word_embeddings=kind == "q8_0"), tmp_path / "a.gguf", kind)
    packed, floats = load_packed(tmp_path / "a.gguf"), load_model(tmp_path / "a.gguf")
    ids = torch.randint(0, 61, (2, 9))
    with torch.inference_mode():
        expected = floats(ids).logits
        torch.testing.assert_close(
            packed(ids).logits, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item()
        )
    assert largest_difference(packed) < 1e-4
    params = SamplingParams(max_tokens=12, temperature=0)
    assert generate(packed, [1, 2, 3], params) == generate(floats, [1, 2, 3], params)


@pytest.fixture
def taken(monkeypatch):
    """How often the compiled step ran."""
    count = []
    own = FusedStep.__call__
    monkeypatch.setattr(FusedStep, "__call__", lambda self, token: (count.append(token), own(self, token))[1])
    return count


@pytest.mark.parametrize("make", [llama, gpt2])
def test_one_text_on_a_cpu_goes_this_way(make, taken):
    model, params = make(), SamplingParams(max_tokens=20, temperature=0)
    new = generate(model, [1, 2, 3], params)
    assert len(taken) == 19
    assert taken == new[:-1]
    assert generate(model, [1, 2, 3], params, cache=False) == new
    assert generate_batch(model, [[1, 2, 3]], params)[0].token_ids == new
    assert len(taken) == 38
    generate_batch(model, [[1, 2, 3], [4]], params)
    assert len(taken) == 38


def test_layers_that_are_large_enough_to_be_swapped_go_this_way_too(taken):
    model = llama(hidden_size=256, intermediate_size=512)
    with fast_layers(model):
        generate(model, [1], SamplingParams(max_tokens=3, temperature=0))
    assert len(taken) == 2


def untouched(model):
    """What stands in the way of the compiled step, one after the other; each is taken away again."""
    block = model.body.blocks[1]
    handle = block.attention.register_forward_hook(lambda *_: None)
    yield "a hook"
    handle.remove()
    block.norm2.forward = lambda x: x
    yield "another forward"
    del block.norm2.forward
    with watch():
        yield "a mode of torch"
    with watch_attention():
        yield "attention that is watched"
    with watch_layers(block.attention.q_proj):
        yield "a layer that is watched"
    with attention_backend("plain"):
        yield "a backend of the user's choice"
    with use_kernels("always"):
        yield "kernels of the user's choice"
    with torch.autocast("cpu", torch.bfloat16):
        yield "autocast"


def test_whoever_looks_or_interferes_gets_the_models_own_pass():
    model = llama()
    cache = model.new_cache(1, 8)
    assert FusedStep.of(model, cache) is not None
    for what in untouched(model):
        assert FusedStep.of(model, cache) is None, what
    assert FusedStep.of(model, cache) is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda: llama(hidden_act="gelu"),
        lambda: gpt2(activation_function="relu"),
        lambda: llama(rope_scaling={"rope_type": "dynamic", "factor": 2.0}),
        lambda: llama().to(torch.bfloat16),
        lambda: quantize(llama(intermediate_size=56), "nf4", group_size=4),
        lambda: quantize(llama(intermediate_size=56), "rtn", 8, 16),
        lambda: llama().body,
    ],
)
def test_models_that_it_has_no_loop_for_go_their_own_way(make):
    model = make()
    assert FusedStep.of(model, model.new_cache(1, 8)) is None


def test_caches_that_it_cannot_write_to():
    model = llama()
    assert FusedStep.of(model, model.new_cache(2, 8)) is None
    assert FusedStep.of(model, None) is None
    padded = model.new_cache(1, 8)
    model(torch.tensor([[0, 1, 2]]), torch.tensor([[0, 1, 1]]), padded)
    assert FusedStep.of(model, padded) is None


def test_weights_that_change_in_place_are_seen_and_replaced_ones_are_not_freed():
    model = llama(tie_word_embeddings=True)
    params = SamplingParams(max_tokens=30, temperature=0)
    tokens = stream(model, [1, 2], params)
    next(tokens), next(tokens)
    with torch.no_grad():
        model.body.norm.weight.neg_()
    cache = model.new_cache(1, 8)
    assert largest_difference(model) < 1e-4
    step = FusedStep.of(model, cache)
    before = step(5)
    model.to(torch.bfloat16)
    cache.crop(0)
    assert torch.equal(step(5), before)
    list(tokens)


def test_a_full_cache_is_said_and_stays_as_it_was():
    model = llama()
    cache = model.new_cache(1, 2)
    step = FusedStep.of(model, cache)
    step(1), step(2)
    with pytest.raises(ValueError, match="room for 2 tokens"):
        step(3)
    assert cache.length == 2
