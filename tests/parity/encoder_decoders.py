"""A table of encoder-decoders of every kind, of transformers, with random weights that show in the scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from minillm.models import load_model

transformers = pytest.importorskip(
    "transformers", reason="encoder-decoders are held against transformers: the parity extra"
)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

V, WINDOW = 61, 40
# as many decoder as encoder blocks or fewer: transformers' cache is too short for a T5 with more of them
T5 = {
    "vocab_size": V, "d_model": 16, "d_kv": 6, "d_ff": 20, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 4,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12, "decoder_start_token_id": 0,
}  # fmt: skip
BART = {
    "vocab_size": V, "d_model": 16, "encoder_layers": 3, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 20, "decoder_ffn_dim": 24, "max_position_embeddings": WINDOW,
}  # fmt: skip
GATED = {"feed_forward_proj": "gated-gelu"}

CASES: dict[str, tuple[str, dict[str, Any]]] = {  # name -> family of transformers, what its config says
    "t5": ("T5", {}),
    "t5, 1.1": ("T5", {**GATED, "tie_word_embeddings": False}),
    "t5, gated, tied": ("T5", {"feed_forward_proj": "gated-silu"}),
    "t5, gelu, one block": ("T5", {"feed_forward_proj": "gelu", "num_decoder_layers": 1, "num_layers": 1}),
    "t5, eps, 32 buckets": (
        "T5",
        {
            "layer_norm_epsilon": 1e-3,
            "relative_attention_num_buckets": 32,
            "relative_attention_max_distance": 128,
        },
    ),
    "mt5": ("MT5", GATED),
    "bart": ("Bart", {}),
    "bart, scaled, relu": ("Bart", {"scale_embedding": True, "activation_function": "relu"}),
    "bart, more to write than to read": ("Bart", {"encoder_layers": 1, "decoder_layers": 3}),
    "mbart": ("MBart", {"scale_embedding": True, "decoder_start_token_id": 5}),
}
# of weights with which the generated texts have several tokens and no near-ties
SEEDS = {
    "t5": 35, "t5, 1.1": 14, "t5, gated, tied": 1, "t5, gelu, one block": 1, "t5, eps, 32 buckets": 33, "mt5": 17,
    "bart": 11, "bart, scaled, relu": 32, "bart, more to write than to read": 24, "mbart": 0,
}  # fmt: skip
DROPOUT = {"dropout_rate": 0.0, "dropout": 0.0, "attention_dropout": 0.0}


def make(name: str, kind: str = "ForConditionalGeneration", scale: float = 0.3, **options):
    """transformers' model; every weight far enough from zero, an output matrix of its own where the config says so.

    scale: of the weights. With 1 what stands around a token counts more than the token, and the texts are not one token
    again and again; rounding counts for more, too.
    """
    family, said = CASES[name]
    sizes = T5 if "T5" in family else BART
    off = {key: value for key, value in DROPOUT.items() if (key == "dropout_rate") == ("T5" in family)}
    config = getattr(transformers, f"{family}Config")(**{**sizes, **off, **said, **options})
    model = getattr(transformers, family + kind)(config)
    if kind == "ForConditionalGeneration" and said.get("tie_word_embeddings") is False:
        model.lm_head.weight = torch.nn.Parameter(torch.empty(V, 16))
    generator = torch.Generator().manual_seed(SEEDS.get(name, 0))
    with torch.no_grad():
        for label, parameter in model.named_parameters():
            table = "shared" in label or "embed_tokens" in label or "lm_head" in label
            spread = 0.1 if "bias" in label and "relative" not in label else 0.3 if table else scale
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
            if "norm" in label and "weight" in label:
                parameter.copy_(1 + parameter / 4)
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.copy_(torch.randn(1, V, generator=generator) / 20)
    return model.eval()


def opener(tmp_path_factory, **options):
    """A function from a name to (transformers' model, ours, their folder); each is made once. options: of `make`."""
    opened = {}

    def get(name):
        if name not in opened:
            folder = tmp_path_factory.mktemp("folder")
            theirs = make(name, **options)
            theirs.save_pretrained(folder)
            opened[name] = theirs, load_model(folder), folder
        return opened[name]

    return get


def ids(batch=3, length=12, seed=0):
    return torch.randint(3, V, (batch, length), generator=torch.Generator().manual_seed(seed))


def batch():
    """(input_ids, attention_mask, decoder_input_ids, decoder_attention_mask): padding on both sides of the source."""
    source, target = ids(3, 20), ids(3, 9, seed=1)
    mask, target_mask = torch.ones_like(source), torch.ones_like(target)
    mask[1, :4] = mask[2, 7:] = target_mask[1, 6:] = 0
    return source, mask, target, target_mask


def close(found, expected, at=None):
    """Equal to 1e-5 of the largest of what is compared, where `at` (a mask) is 1."""
    assert found.shape == expected.shape
    assert expected.isfinite().all()
    difference, largest = (found - expected).abs(), expected.abs()
    if at is not None:
        difference, largest = difference[at.bool()], largest[at.bool()]
    assert largest.numel()
    assert difference.max().item() <= 1e-5 * (1 + largest.max().item())
