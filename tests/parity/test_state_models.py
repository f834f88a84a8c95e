"""Mamba and Mamba-2 against transformers: the same folders both ways, logits, gradients, generation, first weights."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from minillm.inference import SamplingParams, generate
from minillm.models import Mamba, Mamba2, Mamba2Config, MambaBody, MambaConfig, load_model
from minillm.nn.ssd import segment_sums
from tests.parity.folders import close, spread, transformers

V = 61
IDS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
MAMBA = {"vocab_size": V, "hidden_size": 24, "state_size": 5, "num_hidden_layers": 2, **IDS}
MAMBA2 = {
    **MAMBA, "hidden_size": 32, "num_heads": 8, "head_dim": 8, "state_size": 6, "n_groups": 2, "chunk_size": 8,
}  # fmt: skip
CASES = {
    "mamba": ("Mamba", {}),
    "mamba, untied": ("Mamba", {"tie_word_embeddings": False}),
    "mamba, biases": ("Mamba", {"use_bias": True, "conv_kernel": 3, "expand": 3, "time_step_rank": 7}),
    "mamba, no bias of the convolution": ("Mamba", {"use_conv_bias": False, "hidden_act": "gelu"}),
    "mamba, narrow residual": ("Mamba", {"residual_in_fp32": False}),
    "mamba2": ("Mamba2", {}),
    "mamba2, tied": ("Mamba2", {"tie_word_embeddings": True, "n_groups": 8}),
    "mamba2, biases": ("Mamba2", {"use_bias": True, "conv_kernel": 3, "n_groups": 1, "chunk_size": 5}),
    "mamba2, bounded": ("Mamba2", {"time_step_limit": (0.1, 0.9), "use_conv_bias": False}),
}


def config_of(name):
    family, options = CASES[name]
    sizes = MAMBA if family == "Mamba" else MAMBA2
    return family, getattr(transformers, f"{family}Config")(**sizes | options)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """(theirs, ours, folder) of a case, from a folder that transformers wrote."""
    kept = {}

    def open_(name):
        if name not in kept:
            family, config = config_of(name)
            theirs = spread(getattr(transformers, f"{family}ForCausalLM")(config))
            with torch.no_grad():
                for parameter_name, parameter in theirs.named_parameters():
                    if parameter_name.endswith("A_log"):  # decays of sensible sizes
                        parameter.clamp_(-2, 2)
            folder = tmp_path_factory.mktemp("state")
            theirs.save_pretrained(folder)
            kept[name] = theirs, load_model(folder), folder
        return kept[name]

    return open_


def ids(texts=2, length=23, seed=0):
    return torch.randint(0, V, (texts, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_equal_logits_and_hidden_states(opened, name):
    theirs, ours, _ = opened(name)
    assert type(ours) is (Mamba if CASES[name][0] == "Mamba" else Mamba2)
    for length in (1, 2, 8, 23):
        expected = theirs(ids(length=length), output_hidden_states=True)
        found = ours(ids(length=length), output_hidden_states=True)
        close(found.logits, expected.logits)
        for mine, other in zip(found.hidden_states, expected.hidden_states, strict=True):
            close(mine, other)


@pytest.mark.parametrize("name", [name for name in CASES if name != "mamba2, bounded"])
@torch.no_grad()
def test_equal_steps(opened, name):
    """Ours step by step, theirs with their own cache. (Theirs does not bound Δ in a step: that case is left out.)"""
    theirs, ours, _ = opened(name)
    cache, other = ours.new_cache(2, 23), None
    for piece in (ids()[:, :5], *ids()[:, 5:9].split(1, dim=1)):
        out = theirs(piece, cache=other, use_cache=True)
        other = out.cache
        close(ours(piece, cache=cache).logits, out.logits)


@pytest.mark.parametrize("name", ["mamba", "mamba, biases", "mamba2", "mamba2, biases"])
def test_equal_gradients(opened, name):
    theirs, ours, _ = opened(name)
    found = []
    for model in (theirs, ours):
        model.zero_grad()
        logits = model(ids()[:, :-1]).logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids()[:, 1:].flatten()).backward()
    grads = {name: parameter.grad for name, parameter in ours.named_parameters()}
    mine = ours.to_hugging_face({k: grads.get(k, grads.get("body.tokens.weight")) for k in ours.state_dict()})
    for parameter_name, parameter in theirs.named_parameters():
        if parameter_name in mine:
            found.append(parameter_name)
            torch.testing.assert_close(mine[parameter_name], parameter.grad, atol=2e-5, rtol=1e-3)
    assert len(found) >= 18


@pytest.mark.parametrize("name", CASES)
def test_folders_open_there_again(opened, name, tmp_path):
    theirs, ours, _ = opened(name)
    ours.save_pretrained(tmp_path)
    again = type(theirs).from_pretrained(tmp_path)
    assert not [n for n, p in again.named_parameters() if not torch.equal(p, theirs.get_parameter(n))]
    for field in MAMBA:
        assert getattr(again.config, field) == getattr(theirs.config, field)


@pytest.mark.parametrize("name", ["mamba", "mamba2"])
def test_equal_generation(opened, name):
    theirs, ours, _ = opened(name)
    options = {
        "max_new_tokens": 15,
        "do_sample": False,
        "pad_token_id": 0,
        "attention_mask": torch.ones(1, 6).long(),
    }
    expected = theirs.generate(ids(1, 6), **options)[0, 6:].tolist()
    assert generate(ours, ids(1, 6)[0].tolist(), SamplingParams(max_tokens=15, temperature=0)) == expected


def test_an_older_name_and_a_body_alone(opened, tmp_path):
    theirs, ours, folder = opened("mamba")
    tensors = load_file(folder / "model.safetensors")
    tensors["backbone.embedding.weight"] = tensors.pop("backbone.embeddings.weight")
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    assert torch.equal(load_model(tmp_path)(ids()).logits, ours(ids()).logits)
    theirs.backbone.save_pretrained(tmp_path / "body")
    body = MambaBody.from_pretrained(tmp_path / "body")
    close(body(ids()).last_hidden_state, theirs.backbone(ids()).last_hidden_state)


def test_what_a_config_leaves_out(tmp_path):
    """Fields that a file does not name are transformers'."""
    for mine, family in ((MambaConfig, "Mamba"), (Mamba2Config, "Mamba2")):
        theirs = getattr(transformers, f"{family}Config")()
        ours = mine.from_dict({"model_type": family.lower()})
        for field, value in json.loads(theirs.to_json_string(use_diff=False)).items():
            if hasattr(ours, field) and field not in (
                "dtype",
                "id2label",
                "label2id",
                "time_step_limit",
                "extra",
            ):
                assert getattr(ours, field) == value, field


def test_first_weights_are_drawn_as_transformers_draws_them():
    for family, cls, config, options in (
        ("Mamba", Mamba, MambaConfig, {"hidden_size": 128, "vocab_size": 512, "num_hidden_layers": 2}),
        ("Mamba2", Mamba2, Mamba2Config, {"hidden_size": 128, "vocab_size": 512, "num_hidden_layers": 2,
                                          "num_heads": 16, "head_dim": 16, "n_groups": 2, "state_size": 32}),
    ):  # fmt: skip
        ours = cls(config(**options))
        theirs = getattr(transformers, f"{family}ForCausalLM")(
            getattr(transformers, f"{family}Config")(**options)
        )
        tensors = ours.to_hugging_face(ours.state_dict())
        for name, parameter in theirs.named_parameters():
            mine = tensors[name]
            if parameter.std() == 0 or name.endswith("A_log"):
                torch.testing.assert_close(mine, parameter.detach())
            elif "dt" in name and "bias" in name:
                bounds = torch.nn.functional.softplus(mine)
                assert 0.0009 < float(bounds.min()) < float(bounds.max()) < 0.11, name
            else:
                assert mine.std().item() == pytest.approx(parameter.std().item(), rel=0.1), name
                assert abs(float(mine.mean())) < 0.1 * float(mine.std()) + 0.01, name
        assert ours.num_parameters() == theirs.num_parameters()


def test_sums_of_segments_are_transformers():
    """What Mamba-2's mask is the exponential of, a reset included."""
    theirs = transformers.models.mamba2.modeling_mamba2.segment_sum
    steps = -torch.rand(2, 3, 17, generator=torch.Generator().manual_seed(0))
    steps[..., 4] = -1e6
    torch.testing.assert_close(segment_sums(steps), theirs(steps))
