"""LoRA against peft: on the same model to the last bit, and by its folders on transformers' models, both ways."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file

from minillm.models import GPT2, BERTForSequenceClassification, GPT2Config, Llama, LlamaConfig, load_model
from minillm.nn import LoRALinear, adapter_rows
from minillm.training import apply_lora, load_adapter, merge_lora, save_adapter, set_adapter, unmerge_lora
from minillm.training.lora_targets import adapted
from tests.parity.folders import BERT, Case

peft = pytest.importorskip("peft", reason="the peer of this file: pip install -e '.[parity]'")
transformers = pytest.importorskip("transformers", reason="the peer of this file: pip install -e '.[parity]'")

IDS = torch.randint(0, 61, (3, 9), generator=torch.Generator().manual_seed(0))
SIZES = {"vocab_size": 61, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 48}


def llama():
    return Llama(LlamaConfig(**SIZES, **HEADS), seed=1)


def gpt2():
    return GPT2(GPT2Config(vocab_size=61, n_embd=32, n_layer=2, n_head=4, n_positions=48), seed=1)


def bert():
    config = BERTForSequenceClassification.config_class(**BERT)
    return BERTForSequenceClassification(config, seed=1)


def both(make, targets, r=4, alpha=12, **settings):
    """(ours with an adapter, peft on a copy of the same model with the same numbers)."""
    ours = make()
    names = {"rslora": "use_rslora", "dropout": "lora_dropout"}
    options = {names.get(key, key): value for key, value in settings.items()}
    config = peft.LoraConfig(r=r, lora_alpha=alpha, target_modules=targets, **options)
    theirs = peft.get_peft_model(copy.deepcopy(ours), config)
    apply_lora(ours, r, alpha, targets, init="random", seed=3, **settings)
    copy_paths(ours, theirs, "default")
    return ours, theirs


def copy_paths(ours, theirs, name):
    """Our numbers into peft's model; each layer of ours has one there."""
    found = adapted(ours)
    assert found
    for place, layer in found.items():
        if isinstance(layer, LoRALinear):
            mine = theirs.get_submodule(f"base_model.model.{place}")
            for side in ("lora_A", "lora_B"):
                getattr(mine, side)[name].weight.data.copy_(getattr(layer, side)[name])


def weighted(output):
    """A number that every logit has a part in."""
    return (output.logits * torch.linspace(-1, 1, output.logits.numel()).view_as(output.logits)).sum()


@pytest.mark.parametrize(("make", "targets"), [
    (llama, ["q_proj", "v_proj"]),
    (llama, ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    (gpt2, ["o_proj", "up_proj"]),
    (bert, ["q_proj", "v_proj"]),
])  # fmt: skip
@pytest.mark.parametrize("rslora", [False, True])
def test_the_same_model_gives_the_same_bits(make, targets, rslora):
    ours, theirs = both(make, targets, rslora=rslora)
    found, wanted = ours(IDS), theirs(input_ids=IDS)
    assert torch.equal(found.logits, wanted.logits)
    weighted(found).backward(), weighted(wanted).backward()
    learned = {name: p.grad for name, p in ours.named_parameters() if p.requires_grad}
    compared = 0
    for place, layer in adapted(ours).items():
        mine = theirs.get_submodule(f"base_model.model.{place}")
        for side in ("lora_A", "lora_B"):
            gradient = getattr(mine, side)["default"].weight.grad
            assert gradient.abs().max() > 0
            assert torch.equal(getattr(layer, side)["default"].grad, gradient)
            compared += 1
    assert compared == len(learned) == sum(p.requires_grad for p in theirs.parameters())
    merged = merge_lora(copy.deepcopy(ours), keep=True)
    theirs.merge_adapter()
    pairs = [(place, theirs.get_submodule(f"base_model.model.{place}")) for place in adapted(ours)]
    for place, mine in pairs:
        assert torch.equal(merged.get_submodule(place).base.weight, mine.base_layer.weight)
    assert torch.equal(merged(IDS).logits, theirs(input_ids=IDS).logits)
    unmerge_lora(merged), theirs.unmerge_adapter()
    for place, mine in pairs:
        assert torch.equal(merged.get_submodule(place).base.weight, mine.base_layer.weight)


def test_dropout_drops_the_same():
    ours, theirs = both(llama, ["q_proj", "up_proj"], dropout=0.3)
    ours.train(), theirs.train()
    found = []
    for call in (lambda: ours(IDS), lambda: theirs(input_ids=IDS)):
        torch.manual_seed(5)
        found.append(call().logits)
    assert torch.equal(*found)
    assert not torch.equal(found[0], ours.eval()(IDS).logits)


def test_a_row_of_a_batch_goes_through_its_own_adapter():
    ours, theirs = both(llama, ["q_proj", "down_proj"])
    apply_lora(ours, 2, 8, ["q_proj", "v_proj"], init="random", seed=9, name="other")
    theirs.add_adapter("other", peft.LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj", "v_proj"]))
    names = ["other", "__base__", "default"]
    for place, layer in adapted(ours).items():
        for name in layer.scales:
            mine = theirs.get_submodule(f"base_model.model.{place}")
            for side in ("lora_A", "lora_B"):
                getattr(mine, side)[name].weight.data.copy_(getattr(layer, side)[name])
    with adapter_rows(ours, names), torch.no_grad():
        found = ours(IDS).logits
    theirs.eval()
    with torch.no_grad():
        wanted = theirs(input_ids=IDS, adapter_names=names).logits
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    set_adapter(ours, "other"), theirs.set_adapter("other")
    assert torch.equal(ours(IDS).logits, theirs(input_ids=IDS).logits)


@pytest.mark.parametrize(("targets", "layers"), [
    (["q_proj"], None), ("all-linear", None), (r".*\.(q|k)_proj", None), (["up_proj", "o_proj"], [1]),
    (["q_proj", "down_proj"], [0, 1]),
])  # fmt: skip
def test_the_same_layers_are_meant(targets, layers):
    config = peft.LoraConfig(target_modules=targets, layers_to_transform=layers)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, **HEADS))
    theirs = peft.get_peft_model(theirs, config)
    wanted = {n.removeprefix("base_model.model.") for n, m in theirs.named_modules() if hasattr(m, "lora_A")}
    ours = apply_lora(llama(), targets=targets, layers_to_transform=layers)
    names = ours.adapters.names
    assert {names[place] for place in adapted(ours)} == wanted


FOLDERS = {
    "llama": ("Llama", {}, ["q_proj", "v_proj", "down_proj"], {}),
    "llama, one block, rslora": ("Llama", {}, ["o_proj"], {"layers_to_transform": [1], "use_rslora": True}),
    "llama, patterns": ("Llama", {}, ["q_proj", "up_proj"],
                        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.mlp.up_proj": 3}}),
    "gpt2": ("GPT2", {}, ["c_attn", "c_fc"], {}),
    "bert": ("Bert", {"head": "ForSequenceClassification"}, ["query", "value"], {"modules_to_save": ["classifier"]}),
    "bert, head as it was": ("Bert", {"head": "ForSequenceClassification"}, ["query", "value"], {}),
    "roberta": ("Roberta", {"head": "ForSequenceClassification"}, ["key", "dense"],
                {"modules_to_save": ["classifier"]}),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_of_peft_opens_and_ours_goes_back(tmp_path, kind):
    family, how, targets, options = FOLDERS[kind]
    Case(family, **how).write(tmp_path / "base")
    name = f"{family}{how.get('head', 'LMHeadModel' if family == 'GPT2' else 'ForCausalLM')}"
    config = peft.LoraConfig(r=3, lora_alpha=7, target_modules=targets, init_lora_weights=False, **options)
    open_theirs = getattr(transformers, name).from_pretrained
    theirs = peft.get_peft_model(open_theirs(tmp_path / "base"), config).eval()
    if "modules_to_save" in options:
        with torch.no_grad():
            for parameter in theirs.base_model.model.classifier.modules_to_save["default"].parameters():
                parameter.mul_(-2)
    theirs.save_pretrained(tmp_path / "peft")
    ours = load_adapter(load_model(tmp_path / "base"), tmp_path / "peft")
    plain = load_model(tmp_path / "base")(IDS[:, :8]).logits
    with torch.no_grad():
        wanted = theirs(input_ids=IDS[:, :8]).logits
        found = ours(IDS[:, :8]).logits
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert (wanted - plain).abs().max() > 0.1  # the adapter does change something
    assert not any(p.requires_grad for p in ours.parameters())
    # and back
    save_adapter(ours, tmp_path / "ours")
    tensors, mine = (load_file(tmp_path / one / "adapter_model.safetensors") for one in ("peft", "ours"))
    assert tensors.keys() == mine.keys()
    assert all(torch.equal(tensors[key], mine[key]) for key in tensors)
    again = peft.PeftModel.from_pretrained(open_theirs(tmp_path / "base"), tmp_path / "ours").eval()
    with torch.no_grad():
        assert torch.equal(again(input_ids=IDS[:, :8]).logits, wanted)
    # merged, the weights are theirs
    merge_lora(ours)
    merged = theirs.merge_and_unload().state_dict()
    largest = 0.0
    for key, tensor in ours.to_hugging_face(ours.state_dict()).items():
        largest = max(largest, (tensor - merged[key]).abs().max().item())
    assert largest <= (1e-6 if family == "GPT2" else 0.0)  # of c_attn peft multiplies all three parts at once


def test_gpt2_by_parts_of_c_attn_is_an_adapter_of_c_attn(tmp_path):
    Case("GPT2").write(tmp_path / "base")
    ours = apply_lora(load_model(tmp_path / "base"), r=2, targets=["q_proj", "v_proj"], init="random")
    assert sum(p.requires_grad for p in ours.parameters()) == 2 * 3  # A is shared by q and v of each block
    save_adapter(ours, tmp_path / "ours")
    assert json.loads((tmp_path / "ours" / "adapter_config.json").read_text())["target_modules"] == ["c_attn"]
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(theirs, tmp_path / "ours").eval()
    with torch.no_grad():
        wanted = theirs(input_ids=IDS).logits
        torch.testing.assert_close(ours(IDS).logits, wanted, rtol=1e-5, atol=1e-5)
        again = load_adapter(load_model(tmp_path / "base"), tmp_path / "ours")
        torch.testing.assert_close(again(IDS).logits, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [
    {"use_dora": True}, {"bias": "all"}, {"lora_bias": True}, {"trainable_token_indices": [1]},
])  # fmt: skip
def test_what_peft_can_and_we_cannot_is_refused_by_name(tmp_path, options):
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, **HEADS, attention_bias=True))
    theirs = peft.get_peft_model(theirs, peft.LoraConfig(target_modules=["q_proj"], **options))
    theirs.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=next(iter(options))):
        load_adapter(llama(), tmp_path)


@pytest.mark.parametrize(
    ("init", "opens"), [("gaussian", True), ("orthogonal", True), ("pissa", False), ("olora", False)]
)
def test_an_adapter_of_a_base_that_peft_changed_is_not_opened_beside_this_one(tmp_path, init, opens):
    """After PiSSA and OLoRA peft's base is W - B A: their paths beside W would be another model, without a word."""
    llama().save_pretrained(tmp_path / "base")
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    before = base.model.layers[0].self_attn.q_proj.weight.clone()
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=init)
    theirs = peft.get_peft_model(base, config).eval()
    after = theirs.base_model.model.model.layers[0].self_attn.q_proj.base_layer.weight
    assert torch.equal(before, after) is opens
    theirs.save_pretrained(tmp_path / "adapter")
    ours = load_model(tmp_path / "base")
    if opens:
        load_adapter(ours, tmp_path / "adapter")
        with torch.no_grad():
            assert (ours.eval()(IDS).logits - theirs(IDS).logits).abs().max() < 1e-5
        return
    with pytest.raises(ValueError, match=f"init_lora_weights='{init}' is an adapter of a changed base"):
        load_adapter(ours, tmp_path / "adapter")
    assert not adapted(ours)
