"""BERT, RoBERTa, XLM-R and their heads, and classifiers on decoders, against transformers' on the same weights.

Every size is another number, so that nothing fits by chance: 30 wide, 5 heads, 44 hidden, 61 words, 37 places.
"""

import random

import pytest
import torch
from safetensors.torch import load_file

from minillm._files import BadFileError
from minillm.models import (
    BERT,
    BERTConfig,
    BERTForMaskedLM,
    BERTForQuestionAnswering,
    BERTForSequenceClassification,
    BERTForTokenClassification,
    RoBERTa,
    RoBERTaConfig,
    RoBERTaForMaskedLM,
    RoBERTaForQuestionAnswering,
    RoBERTaForSequenceClassification,
    RoBERTaForTokenClassification,
    load_model,
)
from tests.parity.folders import (
    Case,
    V,
    architecture,
    close,
    drop_keys,
    ids,
    opener,
    recast,
    set_keys,
    tensors,
    transformers,
    without,
)

HEADS = (
    "Model",
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
)
FOUR = {"num_labels": 4}
ODD = {"type_vocab_size": 3, "pad_token_id": 4, "layer_norm_eps": 1e-2, "hidden_act": "relu"}


def plain(head):
    return {} if head == "ForQuestionAnswering" else FOUR  # transformers' answers need two


def old_norms(t):
    """The names of the first BERT folders."""
    return {
        k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
        for k, v in t.items()
    }


def stored_places(t):
    """A buffer that folders up to 2023 hold."""
    prefix = next((k.split(".")[0] + "." for k in t if k.startswith(("bert.", "roberta."))), "")
    return t | {f"{prefix}embeddings.position_ids": torch.arange(37)[None]}


def output_stored(name, bias, scale):
    """The output matrix and its bias stored beside the table and the bias they are tied to, `scale` times as large."""

    def edit(t):
        table = next(v for k, v in t.items() if "word_embeddings" in k)
        first = t[bias.replace("decoder.", "")]
        return t | {name: (scale * table).clone(), bias: (scale * first).clone()}

    return tensors(edit)


BERT_OUTPUT = "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"
ROBERTA_OUTPUT = "lm_head.decoder.weight", "lm_head.decoder.bias"

CASES = {
    **{
        f"{family} {head}": Case(family, plain(head), head=head)
        for family in ("Bert", "Roberta", "XLMRoberta")
        for head in HEADS
    },
    **{
        f"{family} {head}, odd": Case(family, ODD | plain(head), head=head)
        for family in ("Bert", "Roberta")
        for head in HEADS
    },
    "bert, untied": Case("Bert", {"tie_word_embeddings": False}, head="ForMaskedLM"),
    "bert, output stored, the same": Case("Bert", head="ForMaskedLM", after=(output_stored(*BERT_OUTPUT, 1),)),
    "bert, output stored, another": Case("Bert", head="ForMaskedLM", after=(output_stored(*BERT_OUTPUT, 2),)),
    "bert, no padding id": Case("Bert", {"pad_token_id": None}, head="ForMaskedLM"),
    "bert, one type": Case("Bert", {"type_vocab_size": 1}, head="Model"),
    "bert, one head": Case("Bert", {"num_attention_heads": 1, "hidden_act": "silu"}, head="Model"),
    "bert, gelu_new": Case("Bert", {"hidden_act": "gelu_new"}, head="ForMaskedLM"),
    "bert, one label": Case("Bert", {"num_labels": 1}, head="ForSequenceClassification"),
    "bert, named labels": Case(
        "Bert", {"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}, head="ForTokenClassification"
    ),
    "bert, old norms": Case("Bert", head="ForMaskedLM", after=(tensors(old_norms), tensors(stored_places))),
    "bert, body, old norms": Case("Bert", head="Model", after=(tensors(old_norms), tensors(stored_places))),
    "bert, sharded": Case("Bert", head="ForMaskedLM", save={"max_shard_size": "20KB"}),
    "bert, bf16": Case("Bert", head="ForMaskedLM", dtype=torch.bfloat16),
    "bert, fp16": Case("Bert", FOUR, head="ForSequenceClassification", dtype=torch.float16),
    "bert, fp16, norms fp32": Case(
        "Bert", head="Model", dtype=torch.float16, after=(recast("LayerNorm", torch.float32),)
    ),
    "bert, harmless keys": Case(
        "Bert",
        head="Model",
        after=(
            set_keys(
                position_embedding_type="absolute", is_decoder=False, add_cross_attention=False, pruned_heads={},
                use_cache=True, gradient_checkpointing=False, chunk_size_feed_forward=0, our_note=[1],
            ),
        ),
    ),
    "roberta, untied": Case("Roberta", {"tie_word_embeddings": False}, head="ForMaskedLM"),
    "roberta, output stored, the same": Case(
        "Roberta", head="ForMaskedLM", after=(output_stored(*ROBERTA_OUTPUT, 1),)
    ),
    "roberta, output stored, another": Case(
        "Roberta", head="ForMaskedLM", after=(output_stored(*ROBERTA_OUTPUT, 2),)
    ),
    "roberta, one type, padding id 0": Case("Roberta", {"type_vocab_size": 1, "pad_token_id": 0}, head="Model"),
    "roberta, old places": Case("Roberta", head="Model", after=(tensors(stored_places),)),
    "roberta, sharded, bf16": Case(
        "Roberta", head="ForMaskedLM", save={"max_shard_size": "20KB"}, dtype=torch.bfloat16
    ),
    "xlm-r, fp16": Case("XLMRoberta", FOUR, head="ForTokenClassification", dtype=torch.float16),
}  # fmt: skip
FIELDS = ("last_hidden_state", "pooler_output", "logits", "start_logits", "end_logits")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return opener(tmp_path_factory, CASES, architecture)


def texts(config, side=None, rows=3, length=17):
    """Ids, mask and token types of texts of several lengths, filled up with the padding id as tokenizers do."""
    x, mask = ids(rows, length, seed=length), torch.ones(rows, length, dtype=torch.long)
    if side is not None:
        for row in range(1, rows):
            mask[row, : 5 * row] = 0
        mask = mask if side == "left" else mask.flip(1)
    x = torch.where(mask.bool(), x, torch.tensor(config.pad_token_id or 0))
    types = torch.randint(0, config.type_vocab_size, x.shape, generator=torch.Generator().manual_seed(1))
    return x, mask, types


def same_outputs(found, expected):
    """Every field that transformers gives, ours gives; how many there were."""
    names = [name for name in FIELDS if expected.get(name) is not None]
    for name in names:
        close(getattr(found, name), expected[name])
    assert len(found.hidden_states) == len(expected.hidden_states) == 4
    for mine, theirs in zip(found.hidden_states, expected.hidden_states):
        close(mine, theirs)
    return names


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_outputs(opened, name):
    theirs, ours, _ = opened(name)
    config = theirs.config
    for side in (None, "right", "left"):
        x, mask, types = texts(config, side)
        for options in (
            {},
            {"attention_mask": mask},
            {"attention_mask": mask, "token_type_ids": types},
            {"attention_mask": mask, "position_ids": (types + 3 * torch.arange(17)) % 37},
        ):
            found = ours(x, **options, output_hidden_states=True)
            expected = theirs(x, **options, output_hidden_states=True)
            names = same_outputs(found, expected)
            assert names
            assert expected[names[0]].std() > 0.02  # there is something to compare
            assert getattr(found, names[0]).dtype == expected[names[0]].dtype
        embeds = theirs.get_input_embeddings()(x)
        options = {"inputs_embeds": embeds, "attention_mask": mask, "output_hidden_states": True}
        same_outputs(ours(**options), theirs(**options))
    assert ours(x).hidden_states is None
    assert {p.dtype for p in ours.parameters()} == {theirs.dtype}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.dtype == torch.float32])
def test_equal_gradients_while_training(opened, name):
    """Of every parameter, by the same weighted sum of what comes out; dropout is 0 in these configs."""
    theirs, ours, _ = opened(name)
    x, mask, types = texts(theirs.config, "right")
    for model in (theirs, ours):
        model.zero_grad()
        out = model.train()(x, attention_mask=mask, token_type_ids=types)
        total = 0.0
        for field in FIELDS if CASES[name].head == "Model" else FIELDS[2:]:
            value = getattr(out, field, None)
            if value is not None:
                factors = torch.randn(value.shape, generator=torch.Generator().manual_seed(7))
                total = total + (factors * value).sum() / value[0].numel()
        total.backward()
        model.eval()
    parameters = dict(ours.named_parameters(remove_duplicate=False))
    grads = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in parameters.items()}
    found = ours.to_hugging_face(grads)
    table = ours.get_submodule("body" if hasattr(ours, "body") else "").tokens.weight.grad
    found |= {
        key: table for key in ("cls.predictions.decoder.weight", "lm_head.decoder.weight") if key not in found
    }
    compared = 0
    for key, parameter in theirs.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(
                found[key], parameter.grad, atol=1e-5, rtol=1e-4, msg=lambda m, k=key: f"{k}: {m}"
            )
            compared += bool(parameter.grad.abs().max() > 1e-3)
    assert compared > 40


def drawn(seed):
    """A configuration that nobody chose, with dropout 0."""
    draw = random.Random(seed)
    family, head = draw.choice(["Bert", "Roberta", "XLMRoberta"]), draw.choice(HEADS)
    heads, vocabulary = draw.randint(1, 6), draw.randint(11, 90)
    options = {
        "vocab_size": vocabulary,
        "num_attention_heads": heads,
        "hidden_size": heads * draw.randint(2, 9),
        "num_hidden_layers": draw.randint(1, 4),
        "intermediate_size": draw.randint(3, 50),
        "max_position_embeddings": draw.randint(24, 50),
        "type_vocab_size": draw.randint(1, 3),
        "pad_token_id": draw.randint(0, 6),
        "layer_norm_eps": draw.choice([1e-12, 1e-5, 0.1]),
        "hidden_act": draw.choice(["gelu", "relu", "gelu_new", "silu", "gelu_pytorch_tanh"]),
        "tie_word_embeddings": draw.random() < 0.5,
    }
    if head != "ForQuestionAnswering":
        options["num_labels"] = draw.randint(1, 7)
    return Case(family, options, head=head), draw.randint(1, 16)


@pytest.mark.parametrize("seed", range(15))
@torch.no_grad()
def test_configurations_that_nobody_chose(seed, tmp_path):
    case, length = drawn(seed)
    case.write(tmp_path)
    theirs, ours = architecture(tmp_path).from_pretrained(tmp_path).eval(), load_model(tmp_path)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, theirs.config.vocab_size, (4, length), generator=generator)
    mask = torch.randint(0, 2, x.shape, generator=generator)
    mask[:, seed % length] = 1  # holes anywhere, one token at least
    types = torch.randint(0, theirs.config.type_vocab_size, x.shape, generator=generator)
    for model in (theirs, ours):
        model.train(seed % 2 == 1)
    options = {"attention_mask": mask, "token_type_ids": types}
    found, expected = ours(x, **options), theirs(x, **options)
    names = [name for name in FIELDS if expected.get(name) is not None]
    assert names
    for name in names:
        close(getattr(found, name), expected[name])


def opened_again(theirs, folder):
    """transformers' model of a folder of ours; nothing in it is missing, left over or of another shape."""
    again, report = type(theirs).from_pretrained(folder, dtype="auto", output_loading_info=True)
    assert not any(report.values()), report
    return again.eval()


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_folders_there_and_back(opened, name, tmp_path):
    theirs, ours, _ = opened(name)
    ours.save_pretrained(tmp_path / "ours")
    again = opened_again(theirs, tmp_path / "ours")
    unused = "cls.predictions.bias", "lm_head.bias"  # without a tie only its second name counts
    state = again.state_dict()
    for key, value in theirs.state_dict().items():
        if ours.config.tie_word_embeddings or key not in unused:
            assert torch.equal(state[key], value), key
    assert again.config.id2label == theirs.config.id2label
    again.save_pretrained(tmp_path / "theirs")
    back = load_model(tmp_path / "theirs")
    assert type(back) is type(ours)
    assert back.config.id2label == ours.config.id2label == theirs.config.id2label
    assert (back.new_parts, back.left_out) == ((), ())
    for key, value in ours.state_dict().items():
        assert torch.equal(back.state_dict()[key], value), key
    back.save_pretrained(tmp_path / "again")
    first, last = (load_file(tmp_path / part / "model.safetensors") for part in ("ours", "again"))
    assert first.keys() == last.keys()
    assert all(torch.equal(first[key], last[key]) for key in first)


# Another head than the folder's

OURS = {
    "Bert": (
        BERT,
        BERTForMaskedLM,
        BERTForSequenceClassification,
        BERTForTokenClassification,
        BERTForQuestionAnswering,
    ),
    "Roberta": (
        RoBERTa,
        RoBERTaForMaskedLM,
        RoBERTaForSequenceClassification,
        RoBERTaForTokenClassification,
        RoBERTaForQuestionAnswering,
    ),
}


def their_names(model):
    """{our name: theirs} of every tensor of a model with a head."""
    rows = [(f"body.{ours[0]}", model.body.prefix + theirs) for ours, theirs, _ in model.body.weight_rows()]
    return dict(rows) | {ours[0]: theirs for ours, theirs, _ in model.weight_rows()}


@pytest.mark.parametrize("family", OURS)
@pytest.mark.parametrize("stored", [*HEADS, "ForPreTraining"])
@torch.no_grad()
def test_a_folder_opens_under_every_head_and_says_what_is_new(family, stored, tmp_path):
    """What is new and what is left out is what transformers reports as missing and unexpected."""
    if family == "Roberta" and stored == "ForPreTraining":
        stored = "ForCausalLM"  # of a RoBERTa that was used as a decoder: the same tensors as ForMaskedLM
    Case(family, head=stored).write(tmp_path)
    expected = getattr(transformers, f"{family}Model").from_pretrained(tmp_path).eval()
    hidden = expected(ids()).last_hidden_state
    for head, cls in zip(HEADS, OURS[family]):
        peer = getattr(transformers, f"{family}{head}")
        theirs, report = peer.from_pretrained(tmp_path, output_loading_info=True)
        model = cls.from_pretrained(tmp_path)
        close(model(ids()).last_hidden_state, hidden)
        assert set(model.left_out) == report["unexpected_keys"]
        if head == "Model":
            missing = {key for key in report["missing_keys"] if "pooler" not in key}  # ours has none then
            assert (model.pooler is None) == (missing != report["missing_keys"])
            assert model.new_parts == ()
        else:
            names = their_names(model)
            tied = {getattr(model, "second_bias", None)}  # of which transformers says that it is missing, too
            assert {names[part] for part in model.new_parts} == report["missing_keys"] - tied
            new = [model.state_dict()[part] for part in model.new_parts]
            assert all(t.std() < 0.03 if t.dim() == 2 else t.unique().numel() == 1 for t in new)
        assert model.num_parameters() == sum(p.numel() for p in theirs.parameters()) - (
            0 if head != "Model" or model.pooler is not None else 30 * 31
        )


@pytest.mark.parametrize("family", OURS)
@torch.no_grad()
def test_what_is_drawn_for_a_new_head_is_saved_with_it(family, tmp_path):
    """The book's way (3.3.1): a classifier of three kinds from a masked language model's folder."""
    Case(family, head="ForMaskedLM").write(tmp_path / "pretrained")
    cls = OURS[family][2]
    model = cls.from_pretrained(tmp_path / "pretrained", num_labels=3, seed=5)
    again = cls.from_pretrained(tmp_path / "pretrained", num_labels=3, seed=5)
    other = cls.from_pretrained(tmp_path / "pretrained", num_labels=3, seed=6)
    assert "classifier.weight" in model.new_parts
    for part in model.new_parts:
        assert torch.equal(model.get_parameter(part), again.get_parameter(part))
        assert part.endswith("bias") or not torch.equal(model.get_parameter(part), other.get_parameter(part))
    assert model(ids()).logits.shape == (2, 3)
    model.save_pretrained(tmp_path / "tuned")
    peer = getattr(transformers, f"{family}ForSequenceClassification")
    theirs, report = peer.from_pretrained(tmp_path / "tuned", output_loading_info=True)
    assert not any(report.values())
    assert theirs.config.num_labels == 3
    back = load_model(tmp_path / "tuned")
    assert (back.new_parts, back.left_out, back.config.num_labels) == ((), (), 3)
    close(back(ids()).logits, theirs.eval()(ids()).logits)
    assert torch.equal(back(ids()).logits, model(ids()).logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_new_head_has_the_bodys_dtype(dtype, tmp_path):
    Case("Bert", head="Model", dtype=dtype, after=(drop_keys("dtype"),)).write(tmp_path)
    model = BERTForSequenceClassification.from_pretrained(tmp_path)
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert all(p.requires_grad and not p.is_meta for p in model.parameters())


# Refusals

CHANGED = {
    "position_embedding_type": "relative_key_query",
    "is_decoder": True,
    "add_cross_attention": True,
    "is_encoder_decoder": True,
    "pruned_heads": {"0": [1]},
    "hidden_act": "mish",
    "quantization_config": {"quant_method": "gptq", "bits": 4},
}
REFUSED = {
    **{key: (set_keys(**{key: value}), key) for key, value in CHANGED.items()},
    "relative keys": (set_keys(position_embedding_type="relative_key"), "position_embedding_type"),
    "a tensor of the body is missing": (
        without("layer.1.output.dense.weight"),
        "layer.1.output.dense.weight",
    ),
    "the head is missing": (without("classifier"), "classifier"),
    "the pooler is missing": (without("pooler"), "pooler.dense.weight"),
    "a tensor without a place": (
        tensors(lambda t: t | {"bert.encoder.layer.0.extra": torch.ones(2)}),
        "extra",
    ),
    "another shape": (set_keys(intermediate_size=48), "shape"),
    "another number of labels": (set_keys(id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1}), "shape"),
    "labels that are none": (set_keys(id2label=["a", "b"]), "id2label"),
    "labels with a gap": (set_keys(id2label={"0": "a", "2": "b"}), "id2label"),
    "labels that do not fit": (set_keys(num_labels=3), "num_labels"),
    "heads that do not divide": (set_keys(num_attention_heads=4), "num_attention_heads"),
    "padding outside the vocabulary": (set_keys(pad_token_id=V), "pad_token_id"),
    "another family": (set_keys(model_type="electra"), "electra"),
    "two families": (set_keys(model_type="roberta"), "not one model"),
    "a head we do not have": (set_keys(architectures=["BertForMultipleChoice"]), "BertForMultipleChoice"),
    "no floats": (recast("intermediate", torch.int8), "int8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_another_model_is_refused_by_name(tmp_path, name):
    change, message = REFUSED[name]
    Case("Bert", FOUR, head="ForSequenceClassification", after=(change,)).write(tmp_path)
    with pytest.raises(BadFileError, match=message):
        load_model(tmp_path)


def test_a_missing_tensor_of_the_body_is_an_error_under_every_head(tmp_path):
    Case("Bert", head="ForMaskedLM", after=(without("layer.2.attention.self.key.bias"),)).write(tmp_path)
    for cls in OURS["Bert"]:
        with pytest.raises(BadFileError, match=r"layer\.2\.attention\.self\.key\.bias"):
            cls.from_pretrained(tmp_path)


def test_a_stored_head_of_another_size_gives_way_only_when_told(tmp_path):
    Case("Roberta", FOUR, head="ForSequenceClassification").write(tmp_path)
    with pytest.raises(
        BadFileError, match=r"classifier\.out_proj.*\(4, 30\).*\(3, 30\).*ignore_mismatched_sizes"
    ):
        RoBERTaForSequenceClassification.from_pretrained(tmp_path, num_labels=3)
    model = RoBERTaForSequenceClassification.from_pretrained(
        tmp_path, num_labels=3, ignore_mismatched_sizes=True
    )
    assert model.new_parts == ("classifier.weight", "classifier.bias")
    whole = load_model(tmp_path)
    assert torch.equal(model.dense.weight, whole.dense.weight)  # what fits stays
    assert RoBERTaForSequenceClassification.from_pretrained(tmp_path, num_labels=4).new_parts == ()
    assert model.config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
def test_a_key_that_a_file_leaves_out_has_transformers_value(family):
    theirs = transformers.AutoConfig.for_model(family)
    ours = (BERTConfig if family == "bert" else RoBERTaConfig).from_dict({"model_type": family})
    names = {name for name in vars(ours) if name in theirs.to_dict()}
    names -= {"hidden_dropout_prob", "attention_probs_dropout_prob"}  # 0 here unless asked for
    assert len(names) >= 16
    for name in names:
        assert getattr(ours, name) == getattr(theirs, name), name


# Classifiers on decoders

DECODERS = {
    f"{family}{', no padding id' if pad is None else ''}": Case(
        family, FOUR | {"pad_token_id": pad}, head="ForSequenceClassification"
    )
    for family in ("GPT2", "Llama", "Mistral", "Qwen2", "Qwen3")
    for pad in (3, None)
}


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory):
    return opener(tmp_path_factory, DECODERS, architecture)


@pytest.mark.parametrize("name", DECODERS)
@torch.no_grad()
def test_a_classifier_on_a_decoder(classifiers, name, tmp_path):
    theirs, ours, _ = classifiers(name)
    pad = theirs.config.pad_token_id
    for side in (None, "left", "right"):
        x, mask = ids(3, 13, seed=1), torch.ones(3, 13, dtype=torch.long)
        if side is not None:
            mask[1, :4] = mask[2, :12] = 0
            mask = mask if side == "left" else mask.flip(1)
        if pad is None:
            for i in range(3):  # transformers takes one text at a time, without padding
                row = x[i : i + 1, mask[i].bool()]
                close(ours(row).logits, theirs(row).logits)
            alone = torch.cat([ours(x[i : i + 1, mask[i].bool()]).logits for i in range(3)])
            places = (mask.cumsum(1) - 1).clamp(min=0)
            close(ours(x, mask, places).logits, alone)
        else:
            x = torch.where(mask.bool(), x.where(x != pad, torch.tensor(5)), torch.tensor(pad))
            close(ours(x, mask).logits, theirs(x, attention_mask=mask).logits)
            close(ours(x).logits, theirs(x).logits)
    embeds = theirs.get_input_embeddings()(x)
    close(ours(inputs_embeds=embeds[:1]).logits, theirs(inputs_embeds=embeds[:1]).logits)
    ours.save_pretrained(tmp_path)
    again = opened_again(theirs, tmp_path)
    assert all(torch.equal(again.state_dict()[key], value) for key, value in theirs.state_dict().items())


@pytest.mark.parametrize("family", ["GPT2", "Llama"])
@torch.no_grad()
def test_a_language_model_becomes_a_reward_model(classifiers, family, tmp_path):
    Case(family, {"pad_token_id": 3}).write(tmp_path)
    cls = type(classifiers(family)[1])
    model = cls.from_pretrained(tmp_path, num_labels=1, seed=2)
    theirs, report = getattr(transformers, f"{family}ForSequenceClassification").from_pretrained(
        tmp_path, num_labels=1, output_loading_info=True
    )
    assert model.new_parts == ("score.weight",)
    assert set(model.left_out) == report["unexpected_keys"]
    theirs.score.weight.copy_(model.score.weight)
    close(model(ids()).logits, theirs.eval()(ids()).logits)
