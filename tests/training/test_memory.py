"""The memory of training by formula, against what autograd keeps and what AdamW holds; sizes against built models."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from minillm.models import GPT2, BERTConfig, GPT2Config, Llama, LlamaConfig
from minillm.training import (
    AdamW,
    CausalLMObjective,
    SavedMemory,
    checkpointed_blocks,
    largest_batch,
    memory_table,
    parameter_memory,
    training_memory,
)
from minillm.training.memory import parameters_of


def gpt2(layers=3, width=64, heads=4, **more):
    return GPT2Config(vocab_size=300, n_positions=96, n_embd=width, n_layer=layers, n_head=heads, **more)


def llama(layers=3, width=64, heads=4, kv_heads=2, **more):
    sizes = {"vocab_size": 300, "hidden_size": width, "intermediate_size": 152, "num_hidden_layers": layers}
    sizes |= {"num_attention_heads": heads, "num_key_value_heads": kv_heads, "max_position_embeddings": 96}
    return LlamaConfig(**sizes, **more)


CONFIGS = {
    "GPT-2": gpt2(),
    "GPT-2, untied, narrow feed-forward": gpt2(5, 48, 6, n_inner=100, tie_word_embeddings=False),
    "Llama": llama(),
    "Llama, one key head, wide heads": llama(2, 64, 4, 1, head_dim=32),
    "Llama, all heads, tied": llama(4, 32, 2, 2, tie_word_embeddings=True),
    "Mistral": llama(model_type="mistral"),
    "Qwen2": llama(model_type="qwen2"),
    "Qwen3": llama(model_type="qwen3"),
    "Llama with biases": llama(attention_bias=True, mlp_bias=True),
}
EACH = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def build(config):
    return (GPT2 if isinstance(config, GPT2Config) else Llama)(config).train()


def kept(model, B, T, segments=None):
    """Bytes of the storages that autograd keeps at most, weights left out."""
    ids = torch.randint(0, 300, (B, T + 1), generator=torch.Generator().manual_seed(0))
    surround = contextlib.nullcontext() if segments is None else checkpointed_blocks(model, segments)
    with SavedMemory(model) as memory, surround:
        CausalLMObjective()(model, {"input_ids": ids, "labels": ids}).loss.backward()
    return memory.peak


@EACH
@pytest.mark.parametrize(("B", "T"), [(1, 20), (4, 64)])
def test_activations_are_what_autograd_keeps(config, B, T):
    model = build(config)
    for segments in (None, 1, 2, config.num_layers):
        formula = training_memory(config, B, T, segments=segments).activations
        assert formula == pytest.approx(kept(model, B, T, segments), rel=0.01), segments


def test_activations_in_16_bits():
    for config in (gpt2(), llama(), llama(model_type="qwen3")):
        model = build(config).bfloat16()
        for segments in (None, 3):
            formula = training_memory(config, 3, 50, precision="mixed", segments=segments).activations
            assert formula == pytest.approx(kept(model, 3, 50, segments), rel=0.01)


def test_a_norm_in_one_kernel_keeps_its_input_alone(monkeypatch):
    """As a kernel does: what stands for it here keeps x and one number a row."""

    class OneKernel(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight, eps):
            rate = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + eps)
            ctx.save_for_backward(x, weight, rate)
            return (x.float() * rate).to(x.dtype) * weight

        @staticmethod
        def backward(ctx, gradient):
            _, weight, rate = ctx.saved_tensors
            return gradient * rate * weight, torch.zeros_like(weight), None  # close enough to be walked

    monkeypatch.setattr("minillm.nn.blocks.rms_norm", OneKernel.apply)
    config = llama()
    for precision, dtype in (("fp32", torch.float32), ("mixed", torch.bfloat16)):
        model = build(config).to(dtype)
        for segments in (None, 3):
            options = {"precision": precision, "segments": segments, "fused_norm": True}
            formula = training_memory(config, 3, 50, **options).activations
            assert formula == pytest.approx(kept(model, 3, 50, segments), rel=0.01)


class Adapter(nn.Module):
    """LoRA as its paper has it: W x + B (A x), W frozen."""

    def __init__(self, linear, r):
        super().__init__()
        self.base, self.in_features = linear, linear.in_features
        self.A, self.B = (
            nn.Linear(linear.in_features, r, bias=False),
            nn.Linear(r, linear.out_features, bias=False),
        )

    def forward(self, x):
        return self.base(x) + self.B(self.A(x)) * 2.0


def with_adapters(config, r, targets):
    model = build(config).requires_grad_(False)
    for block in model.body.blocks:
        for part in (block.attention, block.feed_forward):
            for name in targets:
                if hasattr(part, name):
                    setattr(part, name, Adapter(getattr(part, name), r))
    return model


TARGETS = [("q_proj", "v_proj"), ("o_proj",), ("up_proj",), ("down_proj",), ("k_proj", "o_proj", "down_proj"),
           ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")]  # fmt: skip


@pytest.mark.parametrize("targets", TARGETS, ids=" ".join)
@pytest.mark.parametrize("config", [gpt2(), llama(), llama(1)], ids=["GPT-2", "Llama", "one block"])
def test_adapters_on_a_frozen_model(config, targets):
    model = with_adapters(config, 4, targets)
    for segments in (None, config.num_layers):
        formula = training_memory(config, 4, 64, segments=segments, lora_r=4, lora_targets=targets)
        assert formula.activations == pytest.approx(kept(model, 4, 64, segments), rel=0.01), segments
        fixed = parameter_memory(model)
        assert (formula.weights, formula.gradients, formula.optimizer) == (
            fixed.weights, fixed.gradients, fixed.optimizer,
        )  # fmt: skip


@EACH
def test_weights_gradients_and_averages_are_those_of_a_run(config):
    model = build(config)
    assert parameters_of(config) == model.num_parameters()
    optimizer = AdamW(model.parameters())
    kept(model, 1, 4)
    optimizer.step()
    found = training_memory(config, 1, 4)
    assert found.weights == sum(p.nbytes for p in model.parameters())
    assert found.gradients == sum(p.grad.nbytes for p in model.parameters())
    states = [
        value
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    ]
    assert found.optimizer == sum(state.nbytes for state in states) == 8 * model.num_parameters()
    assert found.total == found.weights + found.gradients + found.optimizer + found.activations
    half = build(config).bfloat16()
    assert parameter_memory(half).optimizer == training_memory(config, 1, 4, precision="16bit").optimizer


def test_published_models():
    assert parameters_of(GPT2Config()) == 124_439_808
    assert parameters_of(LlamaConfig()) == 6_738_415_616  # Llama 7B
    # 16 bytes a parameter (Rajbhandari et al. 2020); 34 B T C bytes a layer in 16 bits without the two dropout masks
    # and with attention's scores not kept (Korthikanti et al. 2022): 32
    mixed = training_memory(LlamaConfig(), 1, 1, precision="mixed")
    assert mixed.weights + mixed.gradients + mixed.optimizer == 16 * 6_738_415_616
    layers = [training_memory(GPT2Config(n_layer=n), 8, 1024, precision="mixed").activations for n in (1, 2)]
    assert layers[1] - layers[0] == pytest.approx(32 * 8 * 1024 * 768, rel=0.02)


def test_does_llama_train_on_24_gb():
    llama7b, card = LlamaConfig(), 24e9
    assert largest_batch(llama7b, 512, card) == 0
    assert largest_batch(llama7b, 512, card, precision="mixed", segments=32) == 0
    lora = {"precision": "mixed", "lora_r": 8}
    most = largest_batch(llama7b, 512, card, **lora)
    assert most >= 1
    assert training_memory(llama7b, most, 512, **lora).total <= card
    assert training_memory(llama7b, most + 1, 512, **lora).total > card
    assert largest_batch(llama7b, 512, card, segments=32, **lora) > 3 * most


def test_the_table_has_a_line_for_each_batch():
    lines = memory_table(GPT2Config(), (1, 8), 1024, precision="mixed").splitlines()
    assert lines[0].split() == ["batch", "(GB)", "weights", "gradients", "optimizer", "activations", "total"]
    assert [line.split()[:4] for line in lines[1:]] == [
        ["1", "0.25", "0.25", "1.49"],
        ["8", "0.25", "0.25", "1.49"],
    ]
    assert memory_table(gpt2(), (1,), 8).splitlines()[0].startswith("batch (MB)")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((5, 1, 8), {}, "config must be a GPT2Config or LlamaConfig, got 5"),
        ((BERTConfig(), 1, 8), {}, "config must be a GPT2Config or LlamaConfig"),
        ((gpt2(), 0, 8), {}, "batch_size must be at least 1, got 0"),
        ((gpt2(), 1, 97), {}, "length must be between 1 and 96, got 97"),
        ((gpt2(), 1, 8), {"precision": "bf16"}, "precision must be one of"),
        ((gpt2(), 1, 8), {"segments": 4}, "segments must be between 1 and 3, got 4"),
        ((gpt2(), 1, 8), {"lora_r": -1}, "lora_r must be at least 0"),
        (
            (gpt2(), 1, 8),
            {"lora_r": 4, "lora_targets": ("gate_proj",)},
            "lora_targets must be some of q_proj",
        ),
        ((gpt2(), 1, 8), {"lora_r": 4, "lora_targets": "q_proj"}, "lora_targets must be some of q_proj"),
        ((gpt2(), 1, 8), {"lora_r": 4, "lora_targets": ([],)}, "lora_targets must be some of q_proj"),
        ((gpt2(), 1, 8), {"lora_r": 10**6}, "lora_r must be at most the narrower side of q_proj"),
        ((gpt2(resid_pdrop=0.1), 1, 8), {}, "activations with dropout are not counted"),
        ((llama(model_type="mistral", sliding_window=4), 1, 8), {}, "sliding windows are not counted"),
        ((gpt2(), 1, 8), {"fused_norm": 1}, "fused_norm must be True or False"),
    ],
)
def test_bad_input_is_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        training_memory(*arguments, **options)
    if len(options) == 0 and isinstance(arguments[0], int):
        with pytest.raises(ValueError, match="model must be a torch module, got 5"):
            parameter_memory(5)
    for budget in (float("inf"), 1e300):
        with pytest.raises(ValueError, match="budget must be"):
            largest_batch(gpt2(), 8, budget)
    for sizes in (3, (), None):
        with pytest.raises(ValueError, match="batch_sizes must be one number of rows or more"):
            memory_table(gpt2(), sizes, 8)


def test_numbers_of_numpy_do_not_come_back():
    found = training_memory(gpt2(), np.int64(2), np.int32(8), lora_r=2)
    assert found == training_memory(gpt2(), 2, 8, lora_r=2)
    assert {type(getattr(found, name)) for name in ("weights", "gradients", "optimizer", "activations")} == {
        int
    }
