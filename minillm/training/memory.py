"""What is in memory while a model learns (GPU 메모리 분해하기): weights, gradients, optimizer state, activations.

    weights      bytes a number · P             P parameters, of which P' learn: all of them, or LoRA's adapters
    gradients    bytes a number · P'
    optimizer    AdamW: two averages a number, 8 bytes · P' in fp32; with a master copy of 16-bit weights 12 bytes
    activations  what the layers keep for the way back: grows with the batch B and the length T; a block of GPT-2
                 keeps 16 · B · T · C numbers and a few small ones

The first three are the same for every batch. The last is counted layer by layer below: every tensor that a layer keeps,
once. All sizes come from a config: nothing is built. Peaks of what lives for one operation (logits, a buffer of a
kernel), what an allocator wastes and a driver takes, come on top.

Book: 5.1.3 GPU 메모리 분해하기. Papers: Korthikanti et al. 2022 (activations), Rajbhandari et al. 2020 (16 bytes a
parameter). Held against: what autograd really keeps (SavedMemory), within 1 %. Leaves out: dropout, padding masks,
windows, autocast (its copies of weights and inputs), and the fused loss, which keeps no table of logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from minillm._checks import check_choice, check_flag, check_int, check_number, describe, is_listing
from minillm.models.gpt2 import GPT2Config
from minillm.models.llama import LlamaConfig
from minillm.training.checkpointing_blocks import cut


class Recipe(NamedTuple):
    """Bytes a number: weights, gradients, optimizer state (AdamW), activations."""

    weights: int
    gradients: int
    optimizer: int
    activations: int


RECIPES = {
    "fp32": Recipe(4, 4, 8, 4),
    "16bit": Recipe(2, 2, 4, 2),  # everything in 16 bits: small steps are lost
    "mixed": Recipe(2, 2, 12, 2),  # the optimizer keeps the weights themselves in fp32, too: 4 + 8
}


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of each part; `total` is their sum."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All four at once, as with gradient accumulation; without it gradients come as activations go: less."""
        return self.weights + self.gradients + self.optimizer + self.activations


class Shape(NamedTuple):
    """The sizes of a model that its memory depends on. e: bytes of an activation."""

    L: int
    C: int
    H: int
    K: int
    D: int
    I: int
    V: int
    gated: bool
    e: int
    qk_norm: bool
    fused_norm: bool

    @property
    def norm_keeps_x(self) -> bool:
        """Whether what a norm keeps is its input itself, not a copy of it in fp32."""
        return self.e == 4 or self.fused_norm or not self.gated


Learns = Callable[[str], bool]  # whether a linear layer of the block, by its name, has weights that learn


def norm_saves(s: Shape, N: int, width: int, learns: Learns) -> dict[str, int]:
    """Bytes that a norm keeps of N vectors: what it read, and mean and 1/std in fp32, or 1/√(mean square) alone."""
    if not s.gated or s.fused_norm:
        return {"norm: its input": N * width * s.e, "norm: statistics": N * (1 if s.gated else 2) * 4}
    # torch on a CPU takes several steps, all in fp32; x/√(mean square) is kept for the weight's gradient
    saved = {"norm: its input": N * width * 4, "norm: statistics": N * 4}
    return saved | ({"norm: before its weight": N * width * 4} if learns("norm") else {})


def attention_saves(s: Shape, B: int, T: int, learns: Learns, reached: bool) -> dict[str, int]:
    """Bytes that norm and attention of a block keep for B texts of T tokens. reached: x itself has a gradient."""
    N, read = B * T, learns("q_proj") or learns("k_proj") or learns("v_proj")
    saved = norm_saves(s, N, s.C, learns) if reached else {}
    if read:  # one tensor, though three layers read it
        saved["q, k, v: their input"] = N * s.C * s.e
    for name, heads in (("q_proj", s.H), ("k_proj", s.K)) if s.qk_norm else ():
        if reached or learns(name):  # each head has its norm (Qwen3)
            saved[f"norm of {name[0]}"] = sum(norm_saves(s, N * heads, s.D, learns).values())
    if reached or read:
        saved["q, k, v"] = N * (s.H + 2 * s.K) * s.D * s.e
        saved["attention: one sum a row"] = B * s.H * T * 4
    if reached or read or learns("o_proj"):  # what attention gives, and the next layer reads
        # once; twice behind norms on q and k, whose layout it takes: o_proj reads a copy in the order of tokens
        copies = 2 if s.qk_norm and learns("o_proj") and (reached or read) else 1
        saved["attention: its output"] = copies * N * s.H * s.D * s.e
    return saved


def feed_forward_saves(s: Shape, B: int, T: int, learns: Learns, reached: bool) -> dict[str, int]:
    """The same of norm and feed-forward layer: GPT-2's with its activation, or Llama's with a gate."""
    N, up, gate = B * T, reached or learns("up_proj"), s.gated and (reached or learns("gate_proj"))
    saved = norm_saves(s, N, s.C, learns) if reached else {}
    if learns("up_proj") or (s.gated and learns("gate_proj")):
        saved["up, gate: their input"] = N * s.C * s.e
    if up or gate:  # φ(u) keeps u; φ(g) ⊙ u keeps φ(g) for u's gradient, and g and u for g's
        saved["activation: its inputs"] = (up + 2 * gate) * N * s.I * s.e
    if learns("down_proj"):
        saved["down: its input"] = N * s.I * s.e
    return saved


def block_saves(
    s: Shape, B: int, T: int, ranks: dict[str, int] | None = None, reached: bool = True
) -> dict[str, int]:
    """Bytes that one block keeps, by what they are. ranks: of LoRA's adapters, by layer; None learns everything."""
    learns: Learns = (lambda name: True) if ranks is None else ranks.__contains__
    saved = {f"attention · {name}": size for name, size in attention_saves(s, B, T, learns, reached).items()}
    reached = reached or any(map(learns, ("q_proj", "k_proj", "v_proj", "o_proj")))
    saved |= {
        f"feed-forward · {name}": size for name, size in feed_forward_saves(s, B, T, learns, reached).items()
    }
    if ranks:
        saved["adapters"] = B * T * sum(ranks.values()) * s.e  # A x, for the gradient of B
    return saved


def tail_saves(s: Shape, B: int, T: int, everything: bool) -> int:
    """Bytes behind the last block: the norm, the output matrix, and a number for each token and vocabulary entry."""
    N = B * T
    norm = sum(norm_saves(s, N, s.C, lambda name: everything).values())
    head = N * s.C * s.e if everything else 0
    return norm + head + N * s.V * s.e  # the gradient of the loss, which takes the place of the logits


def saved_activations(
    s: Shape, B: int, T: int, segments: int | None = None, ranks: dict[str, int] | None = None
) -> int:
    """Bytes kept at their most. segments: of gradient checkpointing; None keeps everything."""
    everything = ranks is None
    inside = [sum(block_saves(s, B, T, ranks, everything or i > 0).values()) for i in range(s.L)]
    ids = B * (T + 1) * 8 if everything else 0  # for the gradient of the embedding
    turned = s.gated and (everything or s.L > 1 or bool(ranks.keys() & {"q_proj", "k_proj"}))
    tables = 2 * max(64, 2 ** math.ceil(math.log2(T))) * s.D * s.e if turned else 0  # rotary cos and sin
    tail = tail_saves(s, B, T, everything)
    if segments is None:
        return ids + tables + sum(inside) + tail
    x = B * T * s.C * s.e
    parts = cut(inside, segments)
    # while part i goes back, the inputs of i + 1 parts are left; its own is what its first norm keeps, unless that is a
    # copy, or the norm has no gradient to give
    same = [x if s.norm_keeps_x and (everything or i > 0) else 0 for i in range(segments)]
    back = max((i + 1) * x + sum(part) - same[i] for i, part in enumerate(parts))
    return ids + max(segments * x + tail, back + tables)


def training_memory(
    config: Any,
    batch_size: int,
    length: int,
    precision: str = "fp32",
    segments: int | None = None,
    lora_r: int = 0,
    lora_targets: Collection[str] = ("q_proj", "v_proj"),
    fused_norm: bool = False,
) -> TrainingMemory:
    """Bytes that training takes with AdamW, for `batch_size` rows of `length` tokens; no model is built.

    config: a GPT2Config or LlamaConfig. precision: "fp32"; "16bit": all in 16 bits; "mixed": weights, gradients and
    activations in 16 bits, a copy of the weights and AdamW's averages in 32. segments: of checkpointed_blocks,
    num_layers for what gradient_checkpointing=True does; None without. lora_r: 0 trains all weights, else LoRA's rank,
    with adapters at `lora_targets` in every block (in the precision of the rest). fused_norm: Llama's norm is one
    kernel, as on a GPU, and keeps its input alone; torch on a CPU keeps two tensors in fp32. ValueError for another
    config, dropout, sliding windows, and sizes out of range.
    """
    recipe = RECIPES[check_choice("precision", precision, tuple(RECIPES))]
    s = shape_of(config, recipe.activations, check_flag("fused_norm", fused_norm))
    check_int("batch_size", batch_size, 1), check_int("length", length, 1, config.max_length)
    check_int("lora_r", lora_r, 0)
    if segments is not None:
        check_int("segments", segments, 1, s.L)
    batch_size, length = int(batch_size), int(length)
    ranks = dict.fromkeys(_targets(s, lora_targets, lora_r), lora_r) if lora_r else None
    own = parameters_of(config)
    learn = own if ranks is None else s.L * sum(r * sum(linear_sizes(s)[name]) for name, r in ranks.items())
    return TrainingMemory(
        weights=recipe.weights * (own + (learn if ranks else 0)),
        gradients=recipe.gradients * learn,
        optimizer=recipe.optimizer * learn,
        activations=saved_activations(s, batch_size, length, segments, ranks),
    )


def parameters_of(config: Any) -> int:
    """Numbers in the weights of the model with its output matrix, tied ones once. ValueError as training_memory."""
    s = shape_of(config)
    linear = {name: a * b for name, (a, b) in linear_sizes(s).items()}
    outside = s.V * s.C * (1 if config.tie_word_embeddings else 2)
    if isinstance(config, GPT2Config):
        biases = sum(b for _, b in linear_sizes(s).values())
        return outside + config.n_positions * s.C + s.L * (sum(linear.values()) + biases + 4 * s.C) + 2 * s.C
    qkv = (s.H + 2 * s.K) * s.D if config.attention_bias or config.model_type == "qwen2" else 0
    out = s.C if config.attention_bias and config.model_type != "qwen2" else 0
    wide = 2 * s.I + s.C if config.mlp_bias else 0
    heads = 2 * s.D if s.qk_norm else 0
    return outside + s.L * (sum(linear.values()) + 2 * s.C + qkv + out + wide + heads) + s.C


def linear_sizes(s: Shape) -> dict[str, tuple[int, int]]:
    """(inputs, outputs) of the linear layers of a block."""
    sizes = {"q_proj": (s.C, s.H * s.D), "k_proj": (s.C, s.K * s.D), "v_proj": (s.C, s.K * s.D),
             "o_proj": (s.H * s.D, s.C), "up_proj": (s.C, s.I), "down_proj": (s.I, s.C)}  # fmt: skip
    return sizes | ({"gate_proj": (s.C, s.I)} if s.gated else {})


def shape_of(config: Any, element: int = 4, fused_norm: bool = False) -> Shape:
    """The sizes in a config; ValueError for one whose activations are not counted here."""
    if not isinstance(config, (GPT2Config, LlamaConfig)):
        raise ValueError(f"config must be a GPT2Config or LlamaConfig, got {describe(config)}")
    gated = isinstance(config, LlamaConfig)
    if gated and any(window is not None for window in config.windows):
        raise ValueError(
            "activations with sliding windows are not counted here: their masks depend on the length"
        )
    if not gated and (config.resid_pdrop or config.embd_pdrop or config.attn_pdrop):
        raise ValueError(
            "activations with dropout are not counted here: set resid_pdrop, embd_pdrop, attn_pdrop to 0"
        )
    inner = config.intermediate_size if gated else config.n_inner or 4 * config.width
    heads = config.num_attention_heads if gated else config.n_head
    sizes = config.num_layers, config.width, heads, config.kv_heads, config.head_dim, inner, config.vocab_size
    qk_norm = gated and config.model_type == "qwen3"
    return Shape(*sizes, gated, element, qk_norm, fused_norm)


def _targets(s: Shape, names: Collection[str], r: int) -> Collection[str]:
    sizes = linear_sizes(s)
    if not is_listing(names) or not names or any(name not in list(sizes) for name in names):
        raise ValueError(f"lora_targets must be some of {', '.join(sizes)}, got {describe(names)}")
    for name in names:  # as apply_lora
        if r > min(sizes[name]):
            raise ValueError(
                f"lora_r must be at most the narrower side of {name}, {min(sizes[name])}, got {r}"
            )
    return names


# For the eye, and for the budget


def memory_table(config: Any, batch_sizes: Iterable[int], length: int, **options: Any) -> str:
    """A line for each batch size: the four parts and their sum in GB of 10^9 bytes, MB where all is below one GB.

    options: training_memory's.
    """
    if not isinstance(batch_sizes, Iterable) or not (sizes := list(batch_sizes)):
        raise ValueError(
            f"batch_sizes must be one number of rows or more, in a list, got {describe(batch_sizes)}"
        )
    rows = [(size, training_memory(config, size, length, **options)) for size in sizes]
    unit, divisor = ("GB", 1e9) if max(row.total for _, row in rows) >= 1e9 else ("MB", 1e6)
    names = ("weights", "gradients", "optimizer", "activations", "total")
    lines = [f"batch ({unit})  " + "".join(f"{name:>13}" for name in names)]
    for size, row in rows:
        lines.append(f"{size:>10}  " + "".join(f"{getattr(row, name) / divisor:13,.2f}" for name in names))
    return "\n".join(lines)


def largest_batch(config: Any, length: int, budget: float, **options: Any) -> int:
    """The most rows of `length` tokens with which training stays within `budget` bytes; 0 where one is too many."""
    check_number("budget", budget, 0, 1e18)
    fits = 0
    step = 1
    while training_memory(config, fits + step, length, **options).total <= budget:
        fits, step = fits + step, 2 * step
    while step:
        if training_memory(config, fits + step, length, **options).total <= budget:
            fits += step
        step //= 2
    return fits


def parameter_memory(model: nn.Module) -> TrainingMemory:
    """The parts that do not depend on the batch, of a model as it is: what is frozen has no gradient and no state.

    Every weight with the dtype it has, and tied ones once; AdamW's averages have the dtype of their weight. Adapters
    are weights like others. ValueError for no module.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch module, got {describe(model)}")
    weights = list(model.parameters())
    learning = sum(weight.nbytes for weight in weights if weight.requires_grad)
    return TrainingMemory(sum(weight.nbytes for weight in weights), learning, 2 * learning, 0)
