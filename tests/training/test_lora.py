"""Adapters: what learns, what is stored, what is switched, and what is refused; against the formula in numpy."""

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from minillm._files import BadFileError
from minillm.models import (
    GPT2,
    T5,
    GPT2Config,
    GPT2ForSequenceClassification,
    Llama,
    LlamaConfig,
    RoBERTaConfig,
    RoBERTaForSequenceClassification,
)
from minillm.models.weights import read_tensors, write_tensors
from minillm.nn import LoRALinear, adapter_rows
from minillm.quantization import quantize
from minillm.training import (
    AdamW,
    CausalLMObjective,
    PreferenceSet,
    SavedMemory,
    SFTObjective,
    Trainer,
    TrainerConfig,
    TrainingArguments,
    adapters_off,
    apply_lora,
    delete_adapter,
    load_adapter,
    merge_lora,
    save_adapter,
    set_adapter,
    trainable_parameters,
    unmerge_lora,
)
from minillm.training.adapter_config import CONFIG
from minillm.training.adapters import WEIGHTS
from minillm.training.checkpoint import load_checkpoint, save_checkpoint
from minillm.training.lora_targets import adapted
from tests.helpers import cuts
from tests.training.alignment.test_packing import LLAMA
from tests.training.alignment.test_preferences import pairs
from tests.training.toy import COUNTING, ToyLM

IDS = torch.randint(0, 50, (3, 7), generator=torch.Generator().manual_seed(0))


def llama(seed=1, **settings):
    return Llama(LlamaConfig(**LLAMA | settings), seed=seed)


def gpt2(kind=GPT2, **settings):
    return kind(GPT2Config(vocab_size=50, n_positions=64, n_embd=16, n_layer=2, n_head=2, **settings), seed=1)


def logits(model, ids=IDS):
    with torch.no_grad():
        return model(ids).logits


# --- the layer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("r", "alpha", "rslora"), [(1, 3, False), (4, 16, False), (4, 16, True)])
def test_the_layer_is_the_formula(r, alpha, rslora):
    model = nn.Sequential(nn.Linear(6, 5))
    apply_lora(model, r, alpha, ["0"], rslora=rslora, init="random", seed=2)
    layer, x = model[0], torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(1))
    W, b, A, B = (t.detach().double().numpy() for t in (layer.base.weight, layer.bias, *(
        layer.lora_A["default"], layer.lora_B["default"])))  # fmt: skip
    scale = alpha / np.sqrt(r) if rslora else alpha / r
    wanted = x.double().numpy() @ (W + scale * B @ A).T + b
    np.testing.assert_allclose(model(x).detach().numpy(), wanted, atol=2e-6)
    merged = merge_lora(model)
    assert type(merged[0]) is nn.Linear
    np.testing.assert_allclose(merged(x).detach().numpy(), wanted, atol=2e-6)


def test_a_new_adapter_changes_nothing_and_only_it_learns():
    model = llama()
    before, weights = logits(model), copy.deepcopy(model.state_dict())
    apply_lora(model, r=2)
    assert torch.equal(logits(model), before)
    learned, every = trainable_parameters(model)
    # q: 16 -> 16, v: 16 -> 8 (one key/value head of two), two blocks
    assert learned == 2 * (2 * (16 + 16) + 2 * (16 + 8))
    assert every == sum(t.numel() for t in weights.values()) + learned
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        CausalLMObjective()(model, {"input_ids": IDS, "labels": IDS}).loss.backward()
        optimizer.step(), optimizer.zero_grad()
    assert not torch.equal(logits(model), before)
    with adapters_off(model):
        assert torch.equal(logits(model), before)
    state = model.state_dict()
    for name, tensor in weights.items():
        place, _, last = name.rpartition(".")
        assert torch.equal(state.get(name, state.get(f"{place}.base.{last}")), tensor)


def test_blocks_below_the_first_adapter_keep_nothing_for_the_way_back():
    kept = []
    for layers in ([0, 1, 2, 3], [3]):
        model = apply_lora(llama(num_hidden_layers=4), r=1, targets="all-linear", layers_to_transform=layers)
        with SavedMemory(model) as memory:
            loss = CausalLMObjective()(model, {"input_ids": IDS, "labels": IDS}).loss
            kept.append(memory.now)
            loss.backward()
    assert kept[1] < 0.6 * kept[0]


def test_several_adapters_take_turns_and_leave():
    model = llama()
    plain = logits(model)
    thawed = {name for name, p in model.named_parameters() if p.requires_grad}
    apply_lora(model, 2, targets=["q_proj"], init="random", seed=1, name="a")
    a = logits(model)
    apply_lora(model, 3, targets=["q_proj", "down_proj"], init="random", seed=2, name="b")
    b = logits(model)
    assert not torch.equal(a, b)
    for name, wanted in (("a", a), ("b", b), (None, plain)):
        set_adapter(model, name)
        assert torch.equal(logits(model), wanted)
        active = {n.rpartition(".")[2] for n, p in model.named_parameters() if p.requires_grad}
        assert active == ({name} if name else set())
    with adapter_rows(model, ["b", None, "a"]):
        mixed = logits(model)
    for row, wanted in enumerate((b, plain, a)):
        torch.testing.assert_close(mixed[row], wanted[row], rtol=1e-5, atol=1e-6)
    with adapter_rows(model, ["a", "a", "a"]):  # no row is picked out
        assert torch.equal(logits(model), a)
    assert torch.equal(logits(model), plain)
    set_adapter(model, "b")
    delete_adapter(model, "a")
    assert torch.equal(logits(model), b)
    delete_adapter(model, "b")
    assert torch.equal(logits(model), plain)
    assert not adapted(model)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == thawed


def test_merged_and_taken_out_again():  # float64: W + BA rounds otherwise than Wx + B(Ax)
    model = apply_lora(llama().double(), 2, targets="all-linear", init="random")
    apply_lora(model, 2, init="random", seed=4, name="other")
    set_adapter(model, "default")
    wanted, rows = logits(model), ["default", "default", "default"]
    with adapters_off(model):
        plain = logits(model)
    merge_lora(model, keep=True)
    torch.testing.assert_close(logits(model), wanted, rtol=1e-9, atol=1e-9)
    with adapter_rows(model, rows):
        torch.testing.assert_close(logits(model), wanted, rtol=1e-9, atol=1e-9)
    for act in (lambda: set_adapter(model, "other"), lambda: merge_lora(model), lambda: apply_lora(model, name="c"),
                lambda: delete_adapter(model, "other"), lambda: adapters_off(model).__enter__(),
                lambda: adapter_rows(model, ["other"] * 3).__enter__()):  # fmt: skip
        with pytest.raises(ValueError, match="unmerge_lora first"):
            act()
    unmerge_lora(model)
    torch.testing.assert_close(logits(model), wanted, rtol=1e-9, atol=1e-9)
    with adapters_off(model):
        torch.testing.assert_close(logits(model), plain, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="no adapter lies in the weights"):
        unmerge_lora(model)
    copied = copy.deepcopy(model)
    set_adapter(copied, "other")
    assert model.adapters.active == "default"  # a copy has its own


def test_a_merged_model_is_a_plain_model(tmp_path):
    model = apply_lora(llama().double(), 2, targets="all-linear", init="random")
    wanted = logits(model)
    with pytest.raises(ValueError, match="save_adapter"):
        model.save_pretrained(tmp_path)
    assert not any(tmp_path.iterdir())
    merge_lora(model).save_pretrained(tmp_path)
    again = Llama.from_pretrained(tmp_path)
    torch.testing.assert_close(logits(again), wanted, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="no adapters"):
        set_adapter(model, "default")


# --- quantized below -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["int8", "nf4", "double"])
def test_a_quantized_base_passes_gradients_and_keeps_no_opened_weight(method):
    options = {"method": "nf4", "double_quant": True} if method == "double" else {"method": method}
    small = quantize(llama(hidden_size=64, intermediate_size=128), **options)
    floats = llama(hidden_size=64, intermediate_size=128)
    for name, layer in small.named_modules():
        if hasattr(layer, "dequantize"):
            floats.get_submodule(name).weight.data.copy_(layer.dequantize())
    gradients, kept = [], []
    for model in (small, floats):
        apply_lora(model, 4, targets="all-linear", init="random", seed=5)
        batch = {"input_ids": IDS, "labels": IDS}
        with SavedMemory(model) as memory:
            loss = CausalLMObjective()(model, batch).loss
            kept.append(memory.now)
            loss.backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-3, atol=1e-5)
    assert kept[0] <= kept[1]  # the weights of `floats` are its own, and not counted


def test_merging_a_quantized_layer_makes_it_a_float_layer():
    model = apply_lora(quantize(llama(), "nf4"), 2, init="random")
    wanted = logits(model)
    with pytest.raises(ValueError, match="is quantized"):
        merge_lora(model, keep=True)
    assert torch.equal(logits(model), wanted)
    merge_lora(model)
    torch.testing.assert_close(logits(model), wanted, rtol=1e-4, atol=1e-5)
    assert type(model.body.blocks[0].attention.q_proj) is nn.Linear


# --- files -----------------------------------------------------------------------------------------------------------


def test_saved_and_opened_is_the_same_adapter(tmp_path):
    model = gpt2(GPT2ForSequenceClassification, pad_token_id=0).eval()
    how = {"dropout": 0.1, "rslora": True, "modules_to_save": ["score"], "init": "random"}
    apply_lora(model, 3, 5, ["c_attn", "up_proj"], layers_to_transform=1, **how)
    with torch.no_grad():
        model.score.copies["default"].weight.add_(1)
    wanted = logits(model)
    folder = save_adapter(model, tmp_path / "a", base_model="somewhere")
    values = json.loads((folder / CONFIG).read_text())
    assert (values["r"], values["lora_alpha"], values["task_type"]) == (3, 5, "SEQ_CLS")
    assert values["target_modules"] == ["c_attn", "c_fc"]
    assert (values["layers_to_transform"], values["modules_to_save"]) == ([1], ["score"])
    again = gpt2(GPT2ForSequenceClassification, pad_token_id=0).eval()
    load_adapter(again, folder, "x", trainable=True)
    assert torch.equal(logits(again), wanted)
    assert again.adapters.settings["x"].dropout == 0.1
    assert (
        sum(p.requires_grad for p in again.parameters()) == 4 + 2 + 1
    )  # A of q, k and v, three B; A, B of up; score
    assert torch.equal(logits(merge_lora(again)), logits(merge_lora(model)))
    assert sorted(one.name for one in folder.iterdir()) == [CONFIG, WEIGHTS, "checksums.json"]
    save_adapter(load_adapter(gpt2(GPT2ForSequenceClassification, pad_token_id=0), folder), folder)


@pytest.mark.parametrize(("kind", "name"), [("relu", "wi"), ("gated-gelu", "wi_1")])
def test_a_layer_of_t5_has_the_name_that_its_config_gives_it(tmp_path, kind, name):
    sizes = {"vocab_size": 9, "d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 1, "num_heads": 2}
    model = T5(T5.config_class(**sizes, feed_forward_proj=kind))
    folder = save_adapter(apply_lora(model, 2, targets=[name]), tmp_path)
    places = ("encoder.block.0.layer.1", "decoder.block.0.layer.2")
    assert read_tensors(folder / WEIGHTS).keys() == {
        f"base_model.model.{place}.DenseReluDense.{name}.lora_{side}.weight"
        for place in places
        for side in "AB"
    }


def test_names_that_mean_other_layers_too_are_written_in_full(tmp_path):
    model = apply_lora(gpt2(), 2, targets=["attention.o_proj"])  # mlp.c_proj ends in c_proj, too
    values = json.loads((save_adapter(model, tmp_path / "a") / CONFIG).read_text())
    assert values["target_modules"] == [f"transformer.h.{i}.attn.c_proj" for i in range(2)]


def test_a_file_cut_or_damaged_anywhere_is_refused(tmp_path):
    folder = save_adapter(apply_lora(llama(num_hidden_layers=1), 1), tmp_path / "a")
    model = llama(num_hidden_layers=1)
    for name in (CONFIG, WEIGHTS):
        whole = (folder / name).read_bytes()
        for length in cuts(whole, 30):
            (folder / name).write_bytes(whole[:length])
            with pytest.raises(BadFileError):
                load_adapter(model, folder)
        flipped = bytearray(whole)
        flipped[-3] ^= 4
        (folder / name).write_bytes(flipped)
        with pytest.raises(BadFileError):
            load_adapter(model, folder)
        (folder / name).write_bytes(whole)
    assert not adapted(model)
    load_adapter(model, folder)


def changed(folder, **values):
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    (folder / "checksums.json").unlink(missing_ok=True)


@pytest.mark.parametrize(("values", "message"), [
    ({"peft_type": "LOHA"}, "peft_type LORA"), ({"r": 0}, "r must be"), ({"r": 2}, "expected"),
    ({"lora_alpha": "x"}, "alpha"), ({"use_dora": True}, "use_dora"), ({"rank_pattern": [1]}, "rank_pattern"),
    ({"rank_pattern": {"(a+)+$": 1}}, "names of layers"), ({"alpha_pattern": {"q_proj": "x"}}, "alphas"),
    ({"modules_to_save": ["head"]}, "no tensors of 'lm_head'"),
    ({"init_lora_weights": "pissa_niter_4"}, "an adapter of a changed base"),
    ({"lora_dropout": 2}, "dropout"), ({"target_modules": "("}, "regular expression"),
])  # fmt: skip
def test_a_config_that_does_not_fit_is_refused(tmp_path, values, message):
    folder = save_adapter(apply_lora(llama(), 1), tmp_path / "a")
    changed(folder, **values)
    model = llama()
    with pytest.raises(BadFileError, match=message):
        load_adapter(model, folder)
    assert not adapted(model)


def test_half_precision_halves_the_file_and_is_widened_again(tmp_path):
    model = apply_lora(llama(hidden_size=64), 8, init="random")
    sizes = []
    for dtype in (None, torch.float16):
        folder = save_adapter(model, tmp_path / str(dtype), dtype=dtype)
        sizes.append((folder / WEIGHTS).stat().st_size)
    assert sizes[1] < 0.6 * sizes[0]
    again = load_adapter(llama(hidden_size=64), folder)
    torch.testing.assert_close(logits(again), logits(model), rtol=1e-2, atol=1e-3)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    with torch.no_grad():
        model.body.blocks[0].attention.q_proj.lora_B["default"][0, 0] = 1e6
    with pytest.raises(ValueError, match="too large"):
        save_adapter(model, tmp_path / "large", dtype=torch.float16)
    assert not (tmp_path / "large").exists()


def test_a_tied_head_can_learn_and_is_not_merged():
    model = apply_lora(llama(tie_word_embeddings=True), 2, targets=["lm_head"], init="random")
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with pytest.raises(ValueError, match="tied"):
        merge_lora(model)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_an_adapter_of_another_model_is_refused(tmp_path):
    folder = save_adapter(apply_lora(llama(), 1), tmp_path / "a")
    for model, message in ((gpt2(), "no linear layer"), (llama(hidden_size=32), "expected"),
                           (llama(num_hidden_layers=1), "no linear layer 'model.layers.1")):  # fmt: skip
        with pytest.raises(BadFileError, match=message):
            load_adapter(model, folder)
        assert not adapted(model)
    model = load_adapter(llama(), folder)
    with pytest.raises(ValueError, match="already"):
        load_adapter(model, folder)
    with pytest.raises(ValueError, match="holds something else"):
        save_adapter(model, tmp_path)
    with pytest.raises(ValueError, match="must be one of"):
        save_adapter(model, tmp_path / "b", "other")
    assert not (tmp_path / "b").exists()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "adapter_model.bin").write_bytes(b"")
    (tmp_path / "c" / CONFIG).write_text('{"peft_type": "LORA"}')
    with pytest.raises(BadFileError, match="pickle"):
        load_adapter(llama(), tmp_path / "c")


@pytest.mark.parametrize(("arguments", "message"), [
    ({"r": 0}, "r must be at least 1"), ({"alpha": 0}, "alpha must be above 0"), ({"dropout": 1}, "dropout"),
    ({"targets": ["q_prj"]}, "the nearest name is q_proj"), ({"targets": []}, "at least one"),
    ({"targets": "("}, "regular expression"), ({"targets": "q_proj"}, "put ends of names into a list"),
    ({"targets": [1]}, "names of layers"), ({"layers_to_transform": 7}, r"\[7\]: .* are in blocks \[0, 1"),
    ({"layers_to_transform": []}, "None means all"), ({"modules_to_save": ["score"]}, "no part 'score'"),
    ({"init": "pissa"}, "init"), ({"name": "a.b"}, "without dots"), ({"name": "__base__"}, "without dots"),
    ({"name": "items"}, "torch has a use"), ({"r": 17}, "narrower side"), ({"rslora": 1}, "rslora"),
    ({"targets": ["tokens"]}, "no linear layer"),
])  # fmt: skip
def test_what_cannot_be_leaves_the_model_as_it_was(arguments, message):
    model = llama()
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    with pytest.raises(ValueError, match=message):
        apply_lora(model, **arguments)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == names
    assert not hasattr(model, "adapters")
    with pytest.raises(ValueError, match="torch module"):
        apply_lora("model", **arguments)
    with pytest.raises(ValueError, match="torch module"):
        trainable_parameters("model")


# --- under the Trainer -----------------------------------------------------------------------------------------------


def test_a_run_with_an_adapter_resumes_bit_for_bit_and_stores_the_adapter_alone(tmp_path):
    def trained(folder, steps, resume=False):
        model = apply_lora(ToyLM(), 2, targets=["head"], dropout=0.2)
        args = TrainingArguments(str(folder), max_steps=4, save_steps=2, context_length=9, learning_rate=1e-2,
                                 per_device_train_batch_size=4, disable_tqdm=True)  # fmt: skip
        trainer = Trainer(model, args, train_dataset=COUNTING)
        if steps < 4:
            trainer.state.max_steps = steps
        trainer.train(resume)
        return model

    whole = trained(tmp_path / "a", 4).state_dict()
    assert (tmp_path / "a" / "checkpoint-2" / WEIGHTS).exists()
    again = trained(tmp_path / "a", 4, str(tmp_path / "a" / "checkpoint-2")).state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    stored = sum(p.stat().st_size for p in (tmp_path / "a" / "checkpoint-4").rglob("weights.state"))
    assert stored < 4 * sum(t.numel() for t in whole.values()) / 2
    other = apply_lora(ToyLM(), 3, targets=["head"], dropout=0.2)
    args = TrainingArguments(str(tmp_path / "a"), max_steps=4, save_steps=2, context_length=9, learning_rate=1e-2,
                             per_device_train_batch_size=4, disable_tqdm=True)  # fmt: skip
    with pytest.raises(ValueError, match="another model"):
        Trainer(other, args, train_dataset=COUNTING).train(str(tmp_path / "a" / "checkpoint-2"))


def test_a_checkpoint_of_an_adapter_on_another_base_is_refused(tmp_path):
    def made(change=0.0, thaw=False):
        model = llama()
        with torch.no_grad():
            model.body.blocks[1].feed_forward.down_proj.weight.add_(change)
        apply_lora(model, 2)
        model.body.norm.weight.requires_grad_(thaw)
        return model, AdamW([p for p in model.parameters() if p.requires_grad])

    path = save_checkpoint(tmp_path, 1, *made(), {})
    model, optimizer = made(1e-3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match="adapters on another base"):
        load_checkpoint(path, model, optimizer)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert load_checkpoint(path, *made()) == 1
    # what of the base can learn, too, is stored with the adapters
    model, optimizer = made(thaw=True)
    path = save_checkpoint(tmp_path, 2, model, optimizer, {})
    with torch.no_grad():
        model.body.norm.weight.add_(1)
    load_checkpoint(path, model, optimizer)
    assert torch.equal(model.body.norm.weight, before["body.norm.weight"])
    with pytest.raises(ValueError, match="another model"):
        load_checkpoint(path, *made())


def test_rows_that_are_not_those_of_the_batch_are_refused():
    model = apply_lora(llama(), 2, init="random", modules_to_save=["tokens"])
    for names in (None, "default"):
        with pytest.raises(ValueError, match="a list of an adapter for each row"), adapter_rows(model, names):
            pass
    with adapter_rows(model, ["default", "__base__"]), pytest.raises(ValueError, match="each of 2 rows"):
        model(IDS)
    assert model(IDS).logits.shape[0] == len(IDS)


def test_a_file_without_a_part_of_what_was_learned_as_a_whole_is_refused(tmp_path):
    config = RoBERTaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                           intermediate_size=24, max_position_embeddings=24, num_labels=3)  # fmt: skip
    make = lambda: RoBERTaForSequenceClassification(config, seed=1)  # noqa: E731
    folder = save_adapter(apply_lora(make(), 2, modules_to_save=["classifier"]), tmp_path / "a")
    assert load_adapter(make(), folder).adapters.settings
    tensors = read_tensors(folder / WEIGHTS)
    left = {key: tensor for key, tensor in tensors.items() if "classifier.dense" not in key}
    assert len(left) == len(tensors) - 2
    write_tensors(folder / WEIGHTS, left)
    (folder / CONFIG).write_text(
        json.dumps(json.loads((folder / CONFIG).read_text()) | {"modules_to_save": ["classifier"]})
    )
    (folder / "checksums.json").unlink()
    model = make()
    with pytest.raises(BadFileError, match=r"no tensors of 'classifier.dense'"):
        load_adapter(model, folder)
    assert not adapted(model)


def test_the_head_is_applied_to_answers_alone_and_the_loss_is_the_same():
    batch = {"input_ids": IDS, "labels": torch.where(IDS % 3 == 0, IDS, -100)}
    found = []
    for objective in (SFTObjective(), CausalLMObjective()):
        model, rows = apply_lora(llama(), 2, init="random"), []
        count = lambda _, x, rows=rows: rows.append(x[0].shape[:-1].numel())  # noqa: E731
        model.head.register_forward_pre_hook(count)
        outcome = objective(model, batch)
        outcome.loss.backward()
        found.append(
            (outcome.loss, {n: p.grad for n, p in model.named_parameters() if p.requires_grad}, rows)
        )
    (loss, gradients, few), (wanted, others, many) = found
    torch.testing.assert_close(loss, wanted)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, others[name], rtol=1e-4, atol=1e-7)
    assert sum(few) == int((batch["labels"][:, 1:] != -100).sum()) < sum(many)


def test_the_reference_of_dpo_is_the_model_with_its_new_adapter_off():
    data, model = PreferenceSet(pairs(8)), apply_lora(llama(), 2)
    first = data.with_reference(model).columns
    with adapters_off(model):
        base = data.with_reference(model).columns
    for name in base:
        assert torch.equal(first[name], base[name])


def test_a_run_learns_by_an_adapter():
    model = apply_lora(llama(), 4, targets="all-linear")
    rows = [
        {"input_ids": [(start + i) % 50 for i in range(9)]} for start in range(0, 50, 2)
    ]  # each id is the next one
    config = TrainerConfig(max_steps=40, batch_size=8, context_length=14, learning_rate=3e-2, weight_decay=0.0,
                           progress=False, device="cpu")  # fmt: skip
    history = Trainer(model, config, rows, objective=SFTObjective()).train()
    assert history[-1]["train_loss"] < history[0]["train_loss"] - 0.05
    assert isinstance(model.body.blocks[0].attention.q_proj, LoRALinear)
