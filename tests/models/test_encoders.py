"""Encoders by themselves: configs, seeds, what comes in and what goes out. Against transformers: tests/parity."""

import copy
import json
from dataclasses import replace

import pytest
import torch

from minillm.inference import SamplingParams, generate
from minillm.models import (
    BERT,
    BERTConfig,
    BERTForMaskedLM,
    BERTForQuestionAnswering,
    BERTForSequenceClassification,
    BERTForTokenClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    RoBERTa,
    RoBERTaConfig,
    RoBERTaForMaskedLM,
    RoBERTaForQuestionAnswering,
    RoBERTaForSequenceClassification,
    RoBERTaForTokenClassification,
    load_model,
)
from tests.helpers import HostReads, edit_config
from tests.models.test_models import GPT2_SIZES, LLAMA_SIZES

SIZES = {
    "vocab_size": 20,
    "hidden_size": 6,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 10,
    "max_position_embeddings": 12,
}
CLASSES = (
    BERT,
    BERTForMaskedLM,
    BERTForSequenceClassification,
    BERTForTokenClassification,
    BERTForQuestionAnswering,
    RoBERTa,
    RoBERTaForMaskedLM,
    RoBERTaForSequenceClassification,
    RoBERTaForTokenClassification,
    RoBERTaForQuestionAnswering,
)
IDS = torch.tensor([[7, 2, 3, 4], [5, 6, 7, 8]])
MASK = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])


def tiny(cls, seed=0, **options):
    return cls(cls.config_class(**SIZES | options), seed)


def scores(out):
    """All that a model gives, in one tensor."""
    named = ("last_hidden_state", "pooler_output", "logits", "start_logits", "end_logits")
    found = [getattr(out, name, None) for name in named]
    return torch.cat([value.flatten() for value in found if value is not None])


@pytest.mark.parametrize("cls", CLASSES)
def test_seed_decides_the_weights_and_global_randomness_is_left_alone(cls):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    a, b, c = tiny(cls), tiny(cls), tiny(cls, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))
    matrices = [(x, y) for x, y in zip(a.state_dict().values(), c.state_dict().values()) if x.dim() == 2]
    assert len(matrices) > 15
    assert not any(torch.equal(x, y) for x, y in matrices)
    padding = a.config.pad_token_id
    assert a.get_submodule("body" if hasattr(a, "body") else "").tokens.weight[padding].abs().sum() == 0


@pytest.mark.parametrize("cls", CLASSES)
@torch.no_grad()
def test_folder_round_trip_is_exact(cls, tmp_path):
    options = {} if "QuestionAnswering" in cls.__name__ else {"id2label": {0: "a", 1: "b", 2: "c"}}
    model = tiny(cls, **options).eval()
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert type(again) is cls
    assert again.config == model.config
    assert not again.training
    assert torch.equal(scores(again(IDS, MASK)), scores(model(IDS, MASK)))
    edit_config(tmp_path, architectures=None)
    body = load_model(tmp_path)  # nothing says which head: the body
    assert type(body) is (BERT if cls.config_class is BERTConfig else RoBERTa)
    assert torch.equal(body(IDS).last_hidden_state, model(IDS).last_hidden_state)


@pytest.mark.parametrize("cls", [BERTForMaskedLM, RoBERTaForMaskedLM])
def test_tied_weights_stay_tied_through_saving_and_copying(cls, tmp_path):
    model = tiny(cls)
    model.save_pretrained(tmp_path)
    for again in (model, load_model(tmp_path), copy.deepcopy(model)):
        assert again.head.output.weight is again.body.tokens.weight
    assert tiny(cls, tie_word_embeddings=False).num_parameters() == model.num_parameters() + 20 * 6


@pytest.mark.parametrize("cls", CLASSES)
def test_training_reaches_every_weight(cls):
    model = tiny(cls)
    out = model(IDS, token_type_ids=torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]]))
    parts = scores(out)
    if "For" in cls.__name__:
        parts = parts[out.last_hidden_state.numel() :]
    (parts * torch.randn(len(parts), generator=torch.Generator().manual_seed(0))).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert "k_proj.bias" in name or parameter.grad.abs().max() > 0, name  # softmax forgets a key's bias


@pytest.mark.parametrize("cls", CLASSES)
@torch.no_grad()
def test_padding_changes_nothing_for_the_tokens(cls):
    """Behind the text or before it, whatever ids the padding has."""
    model = tiny(cls, initializer_range=0.5).eval()
    padding = model.config.pad_token_id
    text = IDS[:1]
    alone = model(text)
    behind = torch.cat((text, torch.full((1, 3), padding)), 1)
    padded = model(behind, torch.tensor([[1, 1, 1, 1, 0, 0, 0]]))
    torch.testing.assert_close(padded.last_hidden_state[:, :4], alone.last_hidden_state)
    if cls.config_class is RoBERTaConfig:  # its places are counted from the first token on
        before = torch.cat((torch.full((1, 3), padding), text), 1)
        padded = model(before, torch.tensor([[0, 0, 0, 1, 1, 1, 1]]))
        torch.testing.assert_close(padded.last_hidden_state[:, 3:], alone.last_hidden_state)


@pytest.mark.parametrize("cls", [BERT, RoBERTaForTokenClassification])
@torch.no_grad()
def test_embeddings_may_come_in_place_of_ids(cls):
    model = tiny(cls).eval()
    embeds = model.get_submodule("body" if hasattr(model, "body") else "").tokens(IDS)
    assert torch.equal(scores(model(inputs_embeds=embeds)), scores(model(IDS)))


@pytest.mark.parametrize("cls", CLASSES)
@torch.no_grad()
def test_the_host_reads_no_more_from_many_layers_than_from_one(cls):
    reads = {}
    for layers in (1, 6):
        model = tiny(cls, num_hidden_layers=layers).eval()
        with HostReads() as plain:
            model(IDS)
        with HostReads() as padded:
            model(IDS, MASK, torch.zeros_like(IDS))
        reads[layers] = plain.count, padded.count
    assert reads[6] == reads[1]
    assert reads[6][0] == 0
    assert reads[6][1] <= 2


BAD = [
    ((None, {}), "input_ids or inputs_embeds"),
    (([[1, 2]], {}), "LongTensor"),
    ((torch.tensor([1, 2]), {}), "LongTensor"),
    ((torch.tensor([[1.0]]), {}), "LongTensor"),
    ((torch.zeros(1, 0, dtype=torch.long), {}), "at least one token"),
    ((torch.tensor([[3, 20]]), {}), r"ids must lie in 0\.\.19, got 3\.\.20"),
    ((torch.tensor([[-1, 3]]), {}), r"ids must lie in 0\.\.19, got -1\.\.3"),
    ((torch.ones(1, 13, dtype=torch.long), {}), "13 tokens do not fit"),
    ((IDS, {"attention_mask": torch.ones(2, 5)}), r"shape \(2, 4\), got \(2, 5\)"),
    ((IDS, {"attention_mask": torch.ones(2, 4, 4)}), r"\(B, S\)"),
    ((IDS, {"attention_mask": torch.full((2, 4), 2)}), "0 .padding. and 1"),
    ((IDS, {"attention_mask": [1, 1]}), "attention_mask"),
    ((IDS, {"token_type_ids": torch.full((2, 4), 2)}), r"token_type_ids must lie in 0\.\.1, got 2\.\.2"),
    ((IDS, {"token_type_ids": -torch.ones(2, 4).long()}), r"token_type_ids must lie in 0\.\.1, got -1\.\.-1"),
    ((IDS, {"token_type_ids": torch.zeros(2, 3).long()}), r"token_type_ids must be a LongTensor \(2, 4\)"),
    ((IDS, {"token_type_ids": torch.zeros(2, 4)}), "token_type_ids must be a LongTensor"),
    ((IDS, {"position_ids": torch.full((2, 4), 12)}), r"position_ids must lie in 0\.\.11, got 12\.\.12"),
    ((IDS, {"position_ids": torch.zeros(2, 4)}), "position_ids must be a LongTensor"),
    ((IDS, {"inputs_embeds": torch.zeros(2, 4, 6)}), "either"),
    ((None, {"inputs_embeds": torch.zeros(2, 4, 5)}), r"\(B, T, 6\)"),
    ((None, {"inputs_embeds": torch.zeros(2, 4, 6).double()}), "dtype"),
]


@pytest.mark.parametrize("cls", [BERT, BERTForSequenceClassification, RoBERTa, RoBERTaForMaskedLM])
@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_refused_with_its_values(cls, call, message):
    ids, options = call
    with pytest.raises(ValueError, match=message):
        tiny(cls)(ids, **options)


def test_the_longest_text_of_roberta_leaves_room_for_padding():
    model = tiny(RoBERTa)  # 12 places, of which padding id 1 takes 0 and 1
    assert model.config.max_length == 10
    assert model(torch.full((1, 10), 5)).last_hidden_state.shape == (1, 10, 6)
    with pytest.raises(ValueError, match="11 tokens do not fit into the context window of 10"):
        model(torch.full((1, 11), 5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BERTConfig(hidden_size=10, num_attention_heads=3), "10 and 3"),
        (lambda: BERTConfig(num_labels=0), "num_labels must be at least 1, got 0"),
        (lambda: BERTConfig(num_labels=2.0), "num_labels must be an integer"),
        (lambda: BERTConfig(num_labels=10**12), "num_labels must be between 1 and 1000000, got 1000000000000"),
        (lambda: BERTConfig(num_labels=3, id2label={0: "a", 1: "b"}), "num_labels"),
        (lambda: BERTConfig(id2label={}), "id2label"),
        (lambda: BERTConfig(id2label={1: "a"}), "id2label"),
        (lambda: BERTConfig(id2label={0: 5}), "id2label"),
        (lambda: BERTConfig(label2id=[1]), "label2id"),
        (lambda: BERTConfig(pad_token_id=30522), "pad_token_id must be between 0 and 30521"),
        (lambda: BERTConfig(type_vocab_size=0), "type_vocab_size"),
        (lambda: BERTConfig(hidden_act="mish"), "hidden_act"),
        (lambda: BERTConfig(hidden_dropout_prob=1.5), "hidden_dropout_prob"),
        (lambda: BERTConfig(classifier_dropout=-0.1), "classifier_dropout"),
        (lambda: BERTConfig(model_type="roberta"), "model_type"),
        (lambda: RoBERTaConfig(pad_token_id=None), "pad_token_id must be an integer, got None"),
        (lambda: RoBERTaConfig(pad_token_id=7, max_position_embeddings=8), "pad_token_id must be between 0 and 6"),
        (lambda: BERTConfig.from_dict({"is_decoder": True}), "is_decoder"),
        (lambda: BERTConfig.from_dict({"position_embedding_type": "rope"}), "position_embedding_type"),
        (lambda: BERT(RoBERTaConfig(**SIZES)), "BERT needs a BERTConfig, got RoBERTaConfig"),
        (lambda: RoBERTaForMaskedLM(BERTConfig(**SIZES)), "needs a RoBERTaConfig"),
        (lambda: BERT(BERTConfig(**SIZES), seed="0"), "seed"),
        (lambda: BERTForMaskedLM.from_pretrained("x", num_labels=3), "BERTForMaskedLM has no labels"),
        (lambda: BERTForQuestionAnswering.from_pretrained("x", num_labels=3), "has no labels"),
        (lambda: BERTForSequenceClassification.from_pretrained("x", num_labels=0), "num_labels must be at least 1"),
        (lambda: BERTForSequenceClassification.from_pretrained("x", seed=0.5), "seed must be an integer"),
        (lambda: BERTForSequenceClassification.from_pretrained("x", ignore_mismatched_sizes=1), "ignore_mism"),
        (lambda: BERTForSequenceClassification.from_pretrained("x"), "cannot be read"),
    ],
)  # fmt: skip
def test_bad_configs_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_labels_of_a_config():
    config = BERTConfig(**SIZES)
    assert (config.num_labels, config.id2label) == (2, {0: "LABEL_0", 1: "LABEL_1"})
    assert not {"num_labels", "id2label", "label2id"} & config.to_dict().keys()
    named = replace(config, id2label={"1": "yes", "0": "no"}, label2id=None)
    assert (named.num_labels, named.id2label, named.label2id) == (2, {0: "no", 1: "yes"}, {"no": 0, "yes": 1})
    assert BERTConfig.from_dict(json.loads(json.dumps(named.to_dict()))) == named
    assert named.with_labels(2) is named
    assert named.with_labels(3).id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert BERTConfig.from_dict(config.with_labels(5).to_dict()).num_labels == 5
    for other in (GPT2Config(num_labels=4), LlamaConfig(num_labels=4)):
        assert type(other).from_dict(other.to_dict()) == other


def test_dropout_works_while_training_only():
    options = {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5, "classifier_dropout": 0.0}
    model, without = (tiny(BERTForSequenceClassification, **choice) for choice in (options, {}))
    assert model.dropout.p == 0.0
    assert tiny(BERTForTokenClassification, hidden_dropout_prob=0.25).dropout.p == 0.25
    torch.manual_seed(0)
    assert not torch.equal(model(IDS).logits, model(IDS).logits)
    assert torch.equal(model.eval()(IDS).logits, without.eval()(IDS).logits)


@pytest.mark.parametrize("cls", CLASSES)
def test_no_text_is_drawn_from_an_encoder(cls):
    with pytest.raises(ValueError, match=f"must be a language model, {cls.__name__} does not"):
        generate(tiny(cls), [1, 2], SamplingParams(max_tokens=2))


# Classifiers on decoders


def on_decoder(kind, **options):
    if kind == "gpt2":
        return GPT2ForSequenceClassification(GPT2Config(**GPT2_SIZES, **options)).eval()
    return LlamaForSequenceClassification(LlamaConfig(**LLAMA_SIZES, **options)).eval()


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@torch.no_grad()
def test_a_decoders_classifier_reads_the_last_token(kind):
    model = on_decoder(kind, num_labels=3, initializer_range=0.5)
    hidden = model.body(IDS).last_hidden_state
    by_hand = hidden[[0, 1], [1, 3]] @ model.score.weight.T
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    torch.testing.assert_close(model(IDS, mask).logits, by_hand)
    ids = torch.where(mask.bool(), IDS, torch.tensor(0))
    padded = type(model)(replace(model.config, pad_token_id=0))
    padded.load_state_dict(model.state_dict())
    torch.testing.assert_close(padded.eval()(ids).logits, by_hand)
    embeds = model.body.tokens(ids)
    torch.testing.assert_close(model(None, mask, inputs_embeds=embeds).logits, by_hand)
    with pytest.raises(ValueError, match="2 texts need an attention_mask or a config with a pad_token_id"):
        model(IDS)
    assert model(IDS[:1]).logits.shape == (1, 3)
    for bad in ([[1]], torch.tensor([1]), torch.tensor([[20]])):
        with pytest.raises(ValueError):
            model(bad)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_decoders_classifier_is_saved_and_opened(kind, tmp_path):
    model = on_decoder(kind, num_labels=1, pad_token_id=0)
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert type(again) is type(model)
    assert again.config == model.config
    for silent in (model, model.body):
        with pytest.raises(ValueError, match="does not score the next token"):
            generate(silent, [1, 2], SamplingParams(max_tokens=2))
    with torch.no_grad():
        assert torch.equal(again(IDS).logits, model(IDS).logits)
