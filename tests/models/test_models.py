"""Models by themselves: configs, seeds, folders that are cut or damaged, and input that is wrong."""

import copy
import hashlib
import json
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minillm._files import BadFileError
from minillm.inference import KVCache, SamplingParams, generate
from minillm.models import GPT2, LSTM, T5, BARTConfig, GPT2Config, Llama, LlamaConfig, T5Config, load_model
from minillm.nn import ALiBi, SinusoidalPosition
from minillm.quantization import quantize
from minillm.tokenizer import BPETokenizer, load_tokenizer
from tests.helpers import HostReads, cuts, edit_config

GPT2_SIZES = {"vocab_size": 20, "n_positions": 16, "n_embd": 8, "n_layer": 2, "n_head": 2}
LLAMA_SIZES = {
    "vocab_size": 20,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
}


def tiny(kind="llama", **options):
    return (
        GPT2(GPT2Config(**GPT2_SIZES, **options))
        if kind == "gpt2"
        else Llama(LlamaConfig(**LLAMA_SIZES, **options))
    )


IDS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])


def test_uniform_names_of_configs():
    gpt2, llama = GPT2Config(), LlamaConfig(num_key_value_heads=8, head_dim=100)
    names = ("num_layers", "kv_heads", "head_dim", "width", "max_length")
    assert [getattr(gpt2, name) for name in names] == [12, 12, 64, 768, 1024]
    assert [getattr(llama, name) for name in names] == [32, 8, 100, 4096, 2048]


@pytest.mark.parametrize("kind", [GPT2Config, T5Config, BARTConfig])
def test_a_config_has_the_names_that_most_families_have(kind):
    config = kind()
    for name, own in kind.other_names.items():
        assert getattr(config, name) == getattr(config, own)
        assert getattr(kind.from_dict({name: 48}), own) == 48
        both = kind.from_dict({name: 48, own: 96})
        assert (getattr(both, name), both.extra) == (96, {name: 48})  # the family's own name goes before
        setattr(config, name, 192)
        assert (getattr(config, own), name in config.to_dict()) == (192, False)
    assert not hasattr(config, "no_such_name")
    assert copy.deepcopy(config) == config


@pytest.mark.parametrize("number", [np.int64(20), np.array(20), torch.tensor(20)])
def test_a_config_of_numpys_numbers_can_be_saved(number, tmp_path):
    """vocab_size=ids.max() + 1: it trains, and must not fail when all is done."""
    model = Llama(
        LlamaConfig(
            **LLAMA_SIZES | {"vocab_size": number}, eos_token_id=[number - 1], rms_norm_eps=np.float64(1e-6)
        )
    )
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["vocab_size"], config["eos_token_id"], config["rms_norm_eps"]) == (20, [19], 1e-6)
    assert torch.equal(load_model(tmp_path)(IDS).logits, model.eval()(IDS).logits)
    model.config.extra["note"] = np.arange(2)
    with pytest.raises(TypeError, match="ndarray cannot be written as JSON"):
        model.save_pretrained(tmp_path)


def test_num_parameters_with_and_without_the_frozen():
    model = tiny()
    everything = model.num_parameters()
    assert (
        everything == model.num_parameters(only_trainable=True) == sum(p.numel() for p in model.parameters())
    )
    model.body.requires_grad_(False)
    assert (model.num_parameters(), model.num_parameters(only_trainable=True)) == (everything, 20 * 8)
    with pytest.raises(ValueError, match="only_trainable must be True or False"):
        model.num_parameters(1)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_seed_decides_the_weights_and_global_randomness_is_left_alone(kind):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    a, b = tiny(kind), tiny(kind)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters()))
    other = type(a)(a.config, seed=1)
    assert not torch.equal(a.body.tokens.weight, other.body.tokens.weight)


def test_residual_layers_of_gpt2_start_smaller():
    model = GPT2(GPT2Config(vocab_size=50, n_embd=128, n_layer=8, n_head=4, n_positions=8))
    block = model.body.blocks[3]
    assert block.attention.q_proj.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert block.attention.o_proj.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)  # 1/√(2·8)
    assert block.feed_forward.down_proj.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_tied_weights_stay_tied_through_saving_and_copying(kind, tmp_path):
    model = tiny(kind, tie_word_embeddings=True)
    model.save_pretrained(tmp_path)
    for again in (model, load_model(tmp_path), copy.deepcopy(model)):
        assert again.head.weight is again.body.tokens.weight
    assert all(parameter.requires_grad for parameter in load_model(tmp_path).parameters())
    assert not load_model(tmp_path).training


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@torch.no_grad()
def test_folder_round_trip_is_exact(kind, tmp_path):
    model = tiny(kind).eval()
    model.save_pretrained(tmp_path / "new" / "folder")
    again = load_model(tmp_path / "new" / "folder")
    assert again.config == model.config
    assert torch.equal(again(IDS).logits, model(IDS).logits)
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == [
        "checksums.json",
        "config.json",
        "model.safetensors",
    ]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_cut_at_any_byte_is_refused_by_name(name, tmp_path):
    tiny().save_pretrained(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for length in cuts(whole):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(BadFileError, match=name if name != "config.json" else "config"):
            load_model(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BadFileError):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "model.safetensors"])
def test_a_flipped_bit_is_refused_by_name(name, tmp_path):
    model = tiny()
    model.generation_config = {"temperature": 0.6}
    model.save_pretrained(tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    for at in range(len(whole) - 1, 0, -len(whole) // 7):
        damaged = bytearray(whole)
        damaged[at] ^= 16
        path.write_bytes(bytes(damaged))
        with pytest.raises(BadFileError, match=re.escape(str(path))):
            load_model(tmp_path)


def test_a_folder_that_was_changed_on_purpose_opens_without_its_checksums(tmp_path):
    tiny().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rms_norm_eps": 0.25}))
    with pytest.raises(BadFileError, match=r"config\.json' is damaged .* delete .*checksums\.json"):
        load_model(tmp_path)
    (tmp_path / "checksums.json").unlink()
    assert load_model(tmp_path).config.rms_norm_eps == 0.25


def test_saving_over_another_model_keeps_the_checksums_right(tmp_path):
    model = tiny()
    model.generation_config = {"temperature": 0.6}
    model.save_pretrained(tmp_path)
    tokenizer = BPETokenizer.train(["a b c a b"], 258)
    tokenizer.save(tmp_path)
    tiny("gpt2").save_pretrained(tmp_path)
    assert isinstance(load_model(tmp_path), GPT2)
    assert load_tokenizer(tmp_path).to_json() == tokenizer.to_json()
    again = BPETokenizer.train(["x y z x y"], 259)
    again.save(tmp_path / "tokenizer.json")
    assert load_tokenizer(tmp_path).to_json() == again.to_json()
    sums = json.loads((tmp_path / "checksums.json").read_text())
    assert set(sums) == {"config.json", "tokenizer.json", "tokenizer_config.json"}
    for name, expected in sums.items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == expected


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "bert"},
        {"model_type": None},
        {"hidden_size": 16},
        {"hidden_size": "8"},
        {"num_hidden_layers": 3},
        {"num_hidden_layers": 1},
        {"hidden_act": "mish"},
        {"rope_parameters": {"rope_type": "magic"}},
        {"rope_parameters": 5},
    ],
)
def test_a_config_that_does_not_fit_is_refused(change, tmp_path):
    tiny().save_pretrained(tmp_path)
    edit_config(tmp_path, **change)
    with pytest.raises(BadFileError):
        load_model(tmp_path)


def test_nothing_is_left_of_a_save_that_fails(tmp_path, monkeypatch):
    tiny().save_pretrained(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("minillm.models.weights.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        Llama(LlamaConfig(**LLAMA_SIZES), seed=3).save_pretrained(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize(
    ("ids", "options"),
    [
        (None, {}),
        ([[1, 2]], {}),
        ("text", {}),
        (torch.tensor([1, 2]), {}),
        (torch.tensor([[1.0, 2.0]]), {}),
        (torch.zeros(1, 0, dtype=torch.long), {}),
        (torch.tensor([[20]]), {}),
        (torch.tensor([[-1]]), {}),
        (torch.zeros(1, 17, dtype=torch.long), {}),
        (IDS, {"attention_mask": torch.ones(2, 5)}),
        (IDS, {"attention_mask": torch.full((2, 4), 2)}),
        (IDS, {"attention_mask": [1, 1]}),
        (IDS, {"position_ids": torch.tensor([[0, 1, 2, 16]])}),
        (IDS, {"position_ids": torch.tensor([[0.0, 1.0, 2.0, 3.0]])}),
        (IDS, {"position_ids": torch.tensor([0, 1])}),
        (IDS, {"logits_to_keep": 5}),
        (IDS, {"logits_to_keep": -1}),
        (IDS, {"cache": KVCache(GPT2Config(**GPT2_SIZES), 1, 8)}),
        (IDS, {"cache": KVCache(GPT2Config(**GPT2_SIZES), 2, 3)}),
        (IDS, {"cache": KVCache(GPT2Config(**(GPT2_SIZES | {"n_head": 4})), 2, 8)}),
    ],
)
def test_bad_input_is_refused(kind, ids, options):
    with pytest.raises(ValueError):
        tiny(kind)(ids, **options)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GPT2Config(vocab_size=0),
        lambda: GPT2Config(n_embd=10, n_head=3),
        lambda: GPT2Config(activation_function="mish"),
        lambda: GPT2Config(n_layer=2.0),
        lambda: GPT2Config(resid_pdrop=-0.1),
        lambda: GPT2Config(eos_token_id="end"),
        lambda: GPT2Config(tie_word_embeddings="yes"),
        lambda: GPT2Config.from_dict([1]),
        lambda: GPT2Config.from_dict({"model_type": "llama"}),
        lambda: LlamaConfig(model_type="gemma"),
        lambda: LlamaConfig(hidden_size=10, num_attention_heads=3),
        lambda: LlamaConfig(num_attention_heads=4, num_key_value_heads=3),
        lambda: LlamaConfig(rope_theta="big"),
        lambda: LlamaConfig(sliding_window=0),
        lambda: LlamaConfig(rope_scaling={"rope_type": "llama3", "factor": 2.0}),
        lambda: GPT2(LlamaConfig(**LLAMA_SIZES)),
        lambda: GPT2(None),
        lambda: Llama(LlamaConfig(**LLAMA_SIZES), seed="0"),
        lambda: load_model(5),
        lambda: load_model("no/such/folder"),
    ],
)
def test_bad_configs_and_paths_are_refused(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize("kind", [GPT2, Llama, T5, LSTM])
def test_what_a_tokenizer_gives_goes_into_a_model_as_it_comes(kind):
    tokenizer = BPETokenizer.train(["the cat sat"], 260)
    batch = tokenizer(["the cat", "the cat"], return_tensors="pt")
    assert "token_type_ids" in batch
    sizes = {GPT2: GPT2_SIZES, Llama: LLAMA_SIZES, T5: {"d_model": 8, "d_ff": 8, "num_layers": 1}}
    model = kind(kind.config_class(**(sizes.get(kind, {}) | {"vocab_size": tokenizer.vocab_size})))
    more = {"decoder_input_ids": IDS} if kind is T5 else {}
    plain = model(batch["input_ids"], attention_mask=batch["attention_mask"], **more).logits
    for one in (model(**batch, **more), model(**batch, **more, labels=None, use_cache=None)):
        assert torch.equal(one.logits, plain)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("labels", "an objective of minillm.training"),
        ("past_key_values", "its name is cache"),
        ("cache_params", "its name is cache"),  # Mamba's
        ("use_cache", "give cache=model.new_cache"),
        ("return_dict", "leave it out"),
        ("output_attentions", "watch_attention"),
    ],
)
def test_an_argument_of_transformers_is_refused_with_what_to_write_instead(name, instead):
    with pytest.raises(ValueError, match=f"Llama takes no {name}: .*{instead}"):
        tiny()(IDS, **{name: IDS})


def test_an_argument_that_asks_for_what_is_done_anyway_is_left_out():
    model = tiny().eval()
    out = model(IDS, use_cache=False, return_dict=True, output_attentions=False)
    assert torch.equal(out.logits, model(IDS).logits)
    for name, value in (("use_cache", True), ("return_dict", False), ("output_attentions", True)):
        with pytest.raises(ValueError, match=f"Llama takes no {name}"):
            model(IDS, **{name: value})


def test_an_output_is_read_by_its_names():
    model = tiny().eval()
    out = model(IDS)
    assert list(out.keys()) == list(dict(out)) == ["last_hidden_state", "logits"]
    assert "logits" in out
    assert not any(name in out for name in ("hidden_states", "loss", 0))
    assert "hidden_states" in model(IDS, output_hidden_states=True)
    assert dict(out)["logits"] is out.logits


def test_a_model_that_is_asked_to_generate_says_who_does():
    with pytest.raises(
        AttributeError, match=r"Llama has no generate: write minillm.inference.generate\(model, ids"
    ):
        tiny().generate(IDS, max_new_tokens=5)
    assert not hasattr(tiny(), "generate")


def test_the_fields_of_an_output_go_by_name():
    out = tiny()(IDS)
    assert out["logits"] is out.logits
    assert out["hidden_states"] is None
    with pytest.raises(
        KeyError, match="'loss' is none of the fields last_hidden_state, hidden_states, logits"
    ):
        out["loss"]
    for take in (lambda: out[0], lambda: list(out)):
        with pytest.raises(TypeError, match=r"CausalLMOutput has named fields .*, got 0"):
            take()


def test_a_name_of_the_hub_is_no_folder():
    with pytest.raises(BadFileError, match=r"no such folder here \(a name on the hub is owner/name\)"):
        load_model("bert-base-uncased")


def test_a_model_is_not_saved_into_a_file(tmp_path):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(ValueError, match="folder must name a folder, or nothing yet, got the file"):
        GPT2(GPT2Config(**GPT2_SIZES)).save_pretrained(tmp_path / "model")
    assert (tmp_path / "model").read_text() == "mine"


def test_training_reaches_every_weight():
    for model in (
        tiny("gpt2"),
        tiny("llama"),
        tiny("llama", model_type="qwen3"),
        tiny("llama", model_type="qwen2"),
    ):
        logits = model(IDS).logits
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten()).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_a_model_trains_after_it_has_generated():
    model = tiny()
    generate(model, [1, 2], SamplingParams(max_tokens=5, temperature=0))
    assert model.training
    model(IDS).logits.sum().backward()


# What comes in and what goes out


@torch.no_grad()
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_embeddings_may_come_in_place_of_ids(kind):
    model = tiny(kind).eval()
    by_ids, embeds = model(IDS), model.body.tokens(IDS)
    assert torch.equal(model(inputs_embeds=embeds).logits, by_ids.logits)
    assert torch.equal(model(None, None, None, None, embeds).last_hidden_state, by_ids.last_hidden_state)
    for wrong in (
        {},
        {"input_ids": IDS, "inputs_embeds": embeds},
        {"inputs_embeds": embeds[0]},
        {"inputs_embeds": IDS},
        {"inputs_embeds": embeds.double()},
        {"inputs_embeds": embeds.half()},
    ):
        with pytest.raises(ValueError, match="inputs_embeds"):
            model(**wrong)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_head_is_one_matrix_on_what_the_body_gives(kind):
    model = tiny(kind, tie_word_embeddings=False).eval()
    hidden = model.body(IDS).last_hidden_state
    assert torch.equal(model(IDS).last_hidden_state, hidden)
    torch.testing.assert_close(model(IDS).logits, hidden @ model.head.weight.T)
    torch.testing.assert_close(model(IDS, logits_to_keep=2).logits, (hidden @ model.head.weight.T)[:, -2:])


@torch.no_grad()
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_host_reads_no_more_from_many_layers_than_from_one(kind):
    mask, positions = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]]), torch.tensor([[0, 0, 1, 2], [0, 1, 2, 3]])
    reads = {}
    for layers in (1, 6):
        size = {"n_layer": layers} if kind == "gpt2" else {"num_hidden_layers": layers}
        sizes = (GPT2_SIZES if kind == "gpt2" else LLAMA_SIZES) | size
        model = (GPT2(GPT2Config(**sizes)) if kind == "gpt2" else Llama(LlamaConfig(**sizes))).eval()
        cache = model.new_cache(2, 8)
        with HostReads() as plain:
            model(IDS)
        with HostReads() as padded:
            model(IDS, mask, cache, positions)
        with HostReads() as decode:
            model(IDS[:, :1], cache=model.new_cache(2, 8))
        reads[layers] = plain.count, padded.count, decode.count
    assert reads[6] == reads[1]
    assert reads[6][0] == reads[6][2] == 0
    assert reads[6][1] <= 6


# Folders that others wrote


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("partial_rotary_factor", 0.5),
        ("attn_logit_softcapping", 50.0),
        ("logits_scaling", 8.0),
        ("clip_qkv", 6),
        ("embedding_multiplier", 12.0),
        ("use_qk_norm", True),
        ("is_causal", False),
        ("num_local_experts", 8),
        ("no_rope_layers", [1, 0]),
        ("rope_parameters", {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}),
        ("rope_parameters", {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}),
    ],
)
def test_a_key_that_changes_the_numbers_is_refused_by_name(key, value, tmp_path):
    tiny().save_pretrained(tmp_path)
    edit_config(tmp_path, **{key: value})
    name = list(value)[-1] if isinstance(value, dict) else key
    with pytest.raises(BadFileError, match=name):
        load_model(tmp_path)


def test_a_config_of_a_million_layers_is_refused_at_once(tmp_path):
    tiny().save_pretrained(tmp_path)
    edit_config(tmp_path, num_hidden_layers=1_000_000)
    start = time.perf_counter()
    with pytest.raises(BadFileError, match="1,000,000 layers"):
        load_model(tmp_path)
    assert time.perf_counter() - start < 5


def test_harmless_keys_are_kept_and_written_back(tmp_path):
    tiny().save_pretrained(tmp_path / "a")
    strange = {"partial_rotary_factor": 1.0, "use_cache": True, "our_note": {"a": [1]}, "logit_scale": None}
    path = edit_config(tmp_path / "a", **strange)
    model = load_model(tmp_path / "a")
    assert model.config.extra == strange
    model.save_pretrained(tmp_path / "b")
    assert json.loads((tmp_path / "b" / "config.json").read_text()) == json.loads(path.read_text())


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_load_model_goes_by_architectures(kind, tmp_path):
    def named(folder, *names):
        return edit_config(tmp_path / folder, architectures=[*names]).parent

    for nonsense in (5, True, [["x"]], {"a": 1}, "GPT2LMHeadModel"):
        tiny(kind).save_pretrained(tmp_path / "nonsense")
        edit_config(tmp_path / "nonsense", architectures=nonsense)
        with pytest.raises(BadFileError, match="architectures"):
            load_model(tmp_path / "nonsense")
    for tied in (True, False):
        model = tiny(kind, tie_word_embeddings=tied).eval()
        model.save_pretrained(tmp_path / f"whole{tied}")
        model.body.save_pretrained(tmp_path / f"body{tied}")
        body = load_model(tmp_path / f"body{tied}")
        assert isinstance(body, type(model) if tied else type(model.body))  # tied: nothing is missing
        with torch.no_grad():
            expected = model(IDS)
            assert torch.equal(body(IDS).last_hidden_state, expected.last_hidden_state)
            again = type(model.body).from_pretrained(
                tmp_path / f"whole{tied}"
            )  # a body out of a whole folder
            assert torch.equal(again(IDS).last_hidden_state, expected.last_hidden_state)
            assert torch.equal(load_model(named(f"whole{tied}"))(IDS).logits, expected.logits)
    with pytest.raises(BadFileError, match="lm_head"):
        type(model).from_pretrained(tmp_path / "bodyFalse")
    for name in ("BertModel", "LlamaForTokenClassification"):
        with pytest.raises(BadFileError, match=name):
            load_model(named("wholeTrue", name))
    other = {"gpt2": "LlamaForCausalLM", "llama": "GPT2LMHeadModel"}[kind]
    with pytest.raises(BadFileError, match="not one model"):
        load_model(named("wholeTrue", other))


def test_dtype_is_the_callers_then_the_configs_then_the_files(tmp_path):
    tiny().to(torch.bfloat16).save_pretrained(tmp_path)
    assert load_model(tmp_path).dtype == torch.bfloat16
    assert load_model(tmp_path, dtype=torch.float64).dtype == torch.float64
    assert load_model(tmp_path, torch.float32, "cpu").dtype == torch.float32
    for dtype, expected in (
        ("float16", torch.float16),
        ("torch.float32", torch.float32),
        (None, torch.bfloat16),
    ):
        edit_config(tmp_path, dtype=dtype)
        assert load_model(tmp_path).dtype == expected
    for dtype in ("int8", "float8_e4m3fn", 16):
        edit_config(tmp_path, dtype=dtype)
        with pytest.raises(BadFileError, match="dtype"):
            load_model(tmp_path)


@pytest.mark.parametrize("place", [{"dtype": "float16"}, {"dtype": torch.int8}, {"dtype": torch.complex64},
                                   {"device": "nowhere"}, {"device": 3.5}])  # fmt: skip
def test_a_dtype_or_device_that_cannot_be_is_refused(place, tmp_path):
    tiny().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()  # it is not read
    for path in (tmp_path, tmp_path / "model.bin"):
        with pytest.raises(ValueError, match=rf"^{next(iter(place))} must be"):
            load_model(path, **place)


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_a_device_that_is_not_here_is_refused(tmp_path):
    tiny().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"^device must be"):
        load_model(tmp_path, device="cuda")


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@torch.no_grad()
def test_a_head_of_its_own_is_saved_whatever_the_config_says(kind, tmp_path):
    model = tiny(kind, tie_word_embeddings=True).eval()
    model.head.weight = torch.nn.Parameter(torch.randn(model.head.weight.shape))
    model.save_pretrained(tmp_path)
    assert torch.equal(load_model(tmp_path)(IDS).logits, model(IDS).logits)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_weights_that_have_no_name_in_a_folder_are_not_dropped_in_silence(kind, tmp_path):
    more = tiny(kind)
    more.score = torch.nn.Linear(8, 1)
    for model, name in (
        (quantize(tiny(kind)), "k_proj.codes"),
        (quantize(tiny(kind)).body, "k_proj.codes"),
        (more, "score.weight"),
    ):
        with pytest.raises(ValueError, match=name):
            model.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_generation_config_is_read_used_and_written_back(tmp_path):
    model = tiny(eos_token_id=2)
    assert model.eos_token_ids == (2,)
    model.save_pretrained(tmp_path / "a")
    (tmp_path / "a" / "generation_config.json").write_text('{"eos_token_id": [3, 4], "temperature": 0.6}')
    model = load_model(tmp_path / "a")
    assert model.eos_token_ids == (3, 4)
    model.save_pretrained(tmp_path / "b")
    assert load_model(tmp_path / "b").generation_config == {"eos_token_id": [3, 4], "temperature": 0.6}
    for bad in ("[1]", '{"eos_token_id": "end"}', '{"eos_token_id": [-1]}', "{"):
        (tmp_path / "a" / "generation_config.json").write_text(bad)
        with pytest.raises(BadFileError, match="generation"):
            load_model(tmp_path / "a")


class WithBuffers(Llama):
    """A model with tables that no file stores."""

    def build(self, config):
        super().build(config)
        self.waves, self.slopes = SinusoidalPosition(8, 4), ALiBi(4)


def test_buffers_that_are_not_saved_are_there_after_opening(tmp_path):
    model = WithBuffers(LlamaConfig(**LLAMA_SIZES))
    model.save_pretrained(tmp_path)
    again = WithBuffers.from_pretrained(tmp_path)
    assert torch.equal(again.waves.table, model.waves.table)
    assert torch.equal(again.slopes.slopes, model.slopes.slopes)
    assert not any(t.is_meta for t in (*again.parameters(), *again.buffers()))


# stories260K, a real trained model of llama2.c


def test_stories260k_equals_its_published_scores_and_text(real_data, tmp_path):
    model = load_model(real_data("models/stories260K/stories260K.bin"))
    lines = real_data("models/stories260K/vectors.shared.jsonl").read_text().splitlines()
    with torch.no_grad():
        for line in lines:
            story = json.loads(line)
            ids = torch.tensor([story["ids"]])
            scores = model(ids).logits[0].log_softmax(-1)
            assert scores.argmax(-1).tolist() == story["argmax"]
            nll = -scores[:-1].gather(1, ids[0, 1:, None])[:, 0]
            torch.testing.assert_close(nll, torch.tensor(story["nll"]), atol=2e-4, rtol=0)
    greedy = SamplingParams(max_tokens=200, temperature=0)
    text = real_data("models/stories260K/expected_greedy_200.txt").read_bytes()
    pieces = tok512(real_data("models/stories260K/tok512.bin").read_bytes())
    for cache in (True, False):
        new = generate(model, [1], greedy, cache=cache)
        assert b"".join(pieces[i] for i in new).lstrip(b" ") == text.rstrip(b"\n")
    model.save_pretrained(tmp_path)
    assert generate(load_model(tmp_path), [1], greedy) == new


def tok512(data):
    """The byte strings of a llama2.c tokenizer file: int32 longest, then (float32 score, int32 length, bytes) each."""
    pieces, at = [], 4
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        piece = data[at + 8 : at + 8 + length]
        pieces.append(bytes([int(piece[3:5], 16)]) if piece.startswith(b"<0x") and len(piece) == 6 else piece)
        at += 8 + length
    return pieces


def test_a_llama2c_file_cut_or_damaged_is_refused(real_data, tmp_path):
    whole = real_data("models/stories260K/stories260K.bin").read_bytes()
    path = tmp_path / "model.bin"
    for length in (*range(0, 40, 3), 4096, len(whole) - 4, len(whole) - 1, len(whole) + 1):
        path.write_bytes((whole + b"\0")[:length])
        with pytest.raises(BadFileError, match=r"model\.bin"):
            load_model(path)
    for header in ([0] * 7, [-1] + [1] * 6, [64, 172, 5, 7, 4, 512, 512]):
        path.write_bytes(b"".join(n.to_bytes(4, "little", signed=True) for n in header) + whole[28:])
        with pytest.raises(BadFileError):
            load_model(path)


def test_caches_ask_for_three_names_only():
    cache = KVCache(SimpleNamespace(num_layers=1, kv_heads=2, head_dim=4), 1, 8)
    k, v = cache.update(0, torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4))
    assert k.shape == v.shape == (1, 2, 3, 4)


def test_loaded_weights_are_the_mapped_file_and_never_change_it(tmp_path):
    folder = Llama(LlamaConfig(**LLAMA_SIZES), seed=1).save_pretrained(tmp_path)
    before = (folder / "model.safetensors").read_bytes()
    model = load_model(folder)
    expected = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert (folder / "model.safetensors").read_bytes() == before
    model.save_pretrained(folder)  # where it came from
    again = load_model(folder).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in expected.items())
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_opening_a_folder_loads_no_compiler(tmp_path):
    folder = Llama(LlamaConfig(**LLAMA_SIZES), seed=1).save_pretrained(tmp_path)
    code = "import sys; from minillm.models import load_model; load_model(sys.argv[1]); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=120, check=True
    )
    assert "minillm.models.llama" in done.stdout.split()
    assert "torch._dynamo" not in done.stdout.split()


@pytest.mark.parametrize(
    "sizes", [{"head_dim": 1 << 33}, {"hidden_size": 1 << 62}, {"intermediate_size": 1 << 62}]
)
def test_sizes_that_no_computer_holds_are_refused_by_name(tmp_path, sizes):
    model = Llama(LlamaConfig(40, 32, 48, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2))
    folder = model.save_pretrained(tmp_path)
    edit_config(folder, **sizes)
    with pytest.raises(BadFileError, match=re.escape(str(folder))):
        load_model(folder)
