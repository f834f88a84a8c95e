"""GPT-2 and the Llama family give transformers' logits on the same random weights, and open each other's folders."""

import json

import pytest
import torch

from minillm.inference import KVCache, SamplingParams, generate, generate_batch
from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig, load_model

transformers = pytest.importorskip(
    "transformers", reason="models are held against transformers: the parity extra"
)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


V = 61
SMALL = {
    "vocab_size": V,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 48,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 12}
LLAMAS = {
    "llama": ("Llama", {}),
    "multi-head": ("Llama", {"num_key_value_heads": 4}),
    "multi-query": ("Llama", {"num_key_value_heads": 1}),
    "tied": ("Llama", {"tie_word_embeddings": True}),
    "biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "wide heads": ("Llama", {"head_dim": 24}),
    "theta": (
        "Llama",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}, "rms_norm_eps": 1e-3},
    ),
    "geglu": ("Llama", {"hidden_act": "gelu_pytorch_tanh"}),
    "linear rope": ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}),
    "llama3 rope": ("Llama", {"rope_parameters": LLAMA3}),
    "yarn rope": ("Llama", {"rope_parameters": YARN}),
    "yarn rope, mscale": (
        "Llama",
        {"rope_parameters": YARN | {"mscale": 0.7, "mscale_all_dim": 0.4, "beta_fast": 8}},
    ),
    "yarn rope, given": ("Llama", {"rope_parameters": YARN | {"attention_factor": 1.3, "truncate": False}}),
    "dynamic rope": (
        "Llama",
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
    ),
    "mistral": ("Mistral", {"sliding_window": 5}),
    "mistral, no window": ("Mistral", {"sliding_window": None}),
    "qwen2": ("Qwen2", {}),
    "qwen2, windows": ("Qwen2", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "qwen3, windows": (
        "Qwen3",
        {"head_dim": 8, "use_sliding_window": True, "sliding_window": 3, "max_window_layers": 0},
    ),
}
GPT2S = {
    "gpt2": {},
    "untied": {"tie_word_embeddings": False},
    "relu, inner": {"activation_function": "relu", "n_inner": 20},
    "gelu": {"activation_function": "gelu", "layer_norm_epsilon": 1e-3},
    "no scale": {"scale_attn_weights": False},
    "scale by layer": {"scale_attn_by_inverse_layer_idx": True},
}


def spread(model, seed=0):
    """Random weights far enough from zero that every part of the model shows in the logits."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.25)
            if ("norm" in name and "weight" in name) or ("ln_" in name and "weight" in name):
                parameter.add_(1)
    return model.eval()


def peer(name):
    if name in GPT2S:
        sizes = {"vocab_size": V, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 48}
        config = transformers.GPT2Config(**sizes, **GPT2S[name], bos_token_id=None, eos_token_id=None)
        return spread(transformers.GPT2LMHeadModel(config))
    family, options = LLAMAS[name]
    config = getattr(transformers, f"{family}Config")(**(SMALL | json.loads(json.dumps(options))))
    return spread(getattr(transformers, f"{family}ForCausalLM")(config))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """name -> (transformers' model, ours from the folder it saved), made once."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("peer")
            theirs = peer(name)
            theirs.save_pretrained(folder)
            made[name] = theirs, load_model(folder), folder
        return made[name]

    return get


def ids(batch=2, length=20, seed=0):
    return torch.randint(0, V, (batch, length), generator=torch.Generator().manual_seed(seed))


ALL = [*LLAMAS, *GPT2S]


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_equal_logits_and_hidden_states(pair, name):
    theirs, ours, _ = pair(name)
    x = ids()
    expected = theirs(x, output_hidden_states=True)
    found = ours(x, output_hidden_states=True)
    torch.testing.assert_close(found.logits, expected.logits, atol=2e-5, rtol=1e-4)
    for mine, torchs in zip(found.hidden_states[:-1], expected.hidden_states[:-1]):
        torch.testing.assert_close(mine, torchs, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(
        ours(x, logits_to_keep=3).logits, expected.logits[:, -3:], atol=2e-5, rtol=1e-4
    )


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_equal_logits_with_padding(pair, name, side):
    theirs, ours, _ = pair(name)
    x, mask = ids(3, 12), torch.ones(3, 12, dtype=torch.long)
    for row, length in enumerate((12, 7, 2)):
        mask[row, : 12 - length] = 0
    if side == "right":
        mask = mask.flip(1)
    expected, found = theirs(x, attention_mask=mask).logits, ours(x, attention_mask=mask).logits
    real = mask.bool()
    torch.testing.assert_close(found[real], expected[real], atol=2e-5, rtol=1e-4)
    assert torch.isfinite(found).all()
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    expected = theirs(x, attention_mask=mask, position_ids=positions).logits
    found = ours(x, attention_mask=mask, position_ids=positions).logits
    torch.testing.assert_close(found[real], expected[real], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_cached_in_pieces_equals_whole(pair, name):
    _, ours, _ = pair(name)
    x = ids(2, 20)
    whole = ours(x).logits
    cache = KVCache(ours.config, 2, 20)
    pieces = [ours(piece, cache=cache).logits for piece in x.split([6, 1, 1, 5, 7], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=2e-5, rtol=1e-4)
    cache.crop(9)
    torch.testing.assert_close(ours(x[:, 9:], cache=cache).logits, whole[:, 9:], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_transformers_opens_what_we_write(pair, name, tmp_path):
    theirs, ours, _ = pair(name)
    ours.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(again) is type(theirs)
    torch.testing.assert_close(again(ids()).logits, theirs(ids()).logits, atol=1e-6, rtol=1e-5)
    assert torch.equal(load_model(tmp_path)(ids()).logits, ours(ids()).logits)


@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2"])
def test_equal_gradients(pair, name):
    theirs, ours, _ = pair(name)
    x = ids()
    for model in (theirs, ours):
        model.zero_grad()
        torch.nn.functional.cross_entropy(
            model(x[:, :-1]).logits.flatten(0, 1), x[:, 1:].flatten()
        ).backward()
    embedding = theirs.get_input_embeddings().weight.grad
    torch.testing.assert_close(ours.body.tokens.weight.grad, embedding, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2"])
@torch.no_grad()
def test_bfloat16_folders_stay_bfloat16_and_agree(pair, name, tmp_path):
    _, ours, _ = pair(name)
    exact = ours(ids()).logits
    peer(name).to(torch.bfloat16).save_pretrained(tmp_path)
    low = load_model(tmp_path)
    theirs_low = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert low.dtype == torch.bfloat16
    found, expected = low(ids()).logits.float(), theirs_low(ids()).logits.float()
    # two bfloat16 models differ by their roundings: ours is as near to float32 as theirs is
    assert (found - exact).abs().mean() < 1.5 * (expected - exact).abs().mean() + 1e-3
    cache = KVCache(low.config, 2, 20, dtype=torch.bfloat16)
    torch.testing.assert_close(low(ids(), cache=cache).logits.float(), found, atol=0.3, rtol=0.1)


@pytest.mark.parametrize("name", ["llama", "dynamic rope", "mistral", "qwen2", "qwen3", "gpt2"])
def test_greedy_tokens_equal_transformers_generate(pair, name):
    theirs, ours, _ = pair(name)
    prompt = ids(1, 8)
    expected = theirs.generate(
        prompt, max_new_tokens=20, do_sample=False, attention_mask=torch.ones_like(prompt), pad_token_id=0
    )[0, 8:].tolist()
    params = SamplingParams(max_tokens=20, temperature=0)
    assert generate(ours, prompt[0].tolist(), params) == expected
    assert generate(ours, prompt[0].tolist(), params, cache=False) == expected


@pytest.mark.parametrize("name", ["llama", "mistral", "gpt2"])
def test_left_padded_batch_equals_transformers_generate(pair, name):
    theirs, ours, _ = pair(name)
    rows = [ids(1, n, seed=n)[0].tolist() for n in (9, 4, 1)]
    padded = torch.tensor([[0] * (9 - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (9 - len(row)) + [1] * len(row) for row in rows])
    expected = theirs.generate(
        padded, attention_mask=mask, max_new_tokens=12, do_sample=False, pad_token_id=0
    )
    found = generate_batch(ours, rows, SamplingParams(max_tokens=12, temperature=0))
    assert [completion.token_ids for completion in found] == expected[:, 9:].tolist()


@torch.no_grad()
def test_sharded_folder_opens(pair, tmp_path):
    theirs, ours, _ = pair("llama")
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    assert torch.equal(load_model(tmp_path)(ids()).logits, ours(ids()).logits)
    shard = sorted(tmp_path.glob("model-*.safetensors"))[0]
    shard.unlink()
    with pytest.raises(ValueError, match=shard.name):
        load_model(tmp_path)


def test_configs_of_before_rope_parameters_open(pair, tmp_path):
    _, ours, folder = pair("llama3 rope")
    values = json.loads((folder / "config.json").read_text())
    rope = values.pop("rope_parameters")
    values["rope_theta"] = rope.pop("rope_theta")
    values["rope_scaling"] = rope
    config = LlamaConfig.from_dict(values)
    assert config.rope_parameters == ours.config.rope_parameters
    values["rope_scaling"] = {"type": "linear", "factor": 2.0}
    assert LlamaConfig.from_dict(values).rope_scaling == {"rope_type": "linear", "factor": 2.0}


def test_first_weights_are_drawn_as_transformers_draws_them():
    sizes = {"vocab_size": 512, "n_embd": 128, "n_layer": 4, "n_head": 4, "n_positions": 64}
    ours, theirs = GPT2(GPT2Config(**sizes)), transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes))
    tensors = ours.to_hugging_face(ours.state_dict())
    for name, parameter in theirs.named_parameters():
        if parameter.dim() == 2:
            assert tensors[name].std().item() == pytest.approx(parameter.std().item(), rel=0.05), name
        else:
            assert torch.equal(tensors[name], parameter), name
    assert ours.num_parameters() == theirs.num_parameters()
    llama = {k: v for k, v in SMALL.items() if "token_id" not in k}
    assert (
        Llama(LlamaConfig(**llama)).num_parameters()
        == transformers.LlamaForCausalLM(transformers.LlamaConfig(**llama)).num_parameters()
    )
