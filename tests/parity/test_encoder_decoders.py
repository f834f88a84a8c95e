"""T5, mT5, BART and mBART on transformers' weights: states, logits, gradients, folders both ways, greedy texts."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from minillm._files import BadFileError
from minillm.inference import SamplingParams, generate, generate_batch, stream
from minillm.models import BART, T5, BARTBody, BARTConfig, T5Body, T5Config, T5Encoder, load_model
from minillm.nn import attention_backend
from tests.parity.encoder_decoders import CASES, V, batch, close, make, opener, transformers


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return opener(tmp_path_factory)


@pytest.fixture(scope="module")
def lively(tmp_path_factory):
    """Models that write texts of more than one token."""
    return opener(tmp_path_factory, scale=1.0)


def run(theirs, source, mask, target, target_mask, **options):
    return theirs(
        input_ids=source,
        attention_mask=mask,
        decoder_input_ids=target,
        decoder_attention_mask=target_mask,
        **options,
    )


# States and logits


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_logits_and_states(opened, name):
    theirs, ours, _ = opened(name)
    source, mask, target, target_mask = batch()
    expected = run(theirs, *batch(), output_hidden_states=True)
    found = ours(*batch(), output_hidden_states=True)
    assert expected.logits.std() > 0.2  # there is something to compare
    close(found.logits, expected.logits, target_mask)
    close(found.encoder_last_hidden_state, expected.encoder_last_hidden_state, mask)
    for mine, other, real in (
        (found.hidden_states, expected.decoder_hidden_states, target_mask),
        (found.encoder_hidden_states, expected.encoder_hidden_states, mask),
    ):
        assert len(mine) == len(other)
        for a, b in zip(mine, other):
            close(a, b, real)
    plain = ours(source, decoder_input_ids=target)
    close(plain.logits, theirs(input_ids=source, decoder_input_ids=target).logits)
    assert plain.hidden_states is None
    assert plain.encoder_hidden_states is None
    close(ours(source, decoder_input_ids=target, logits_to_keep=2).logits, plain.logits[:, -2:])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("sizes", [[1] * 9, [4, 1, 1, 3]])
@torch.no_grad()
def test_cached_logits(opened, name, sizes):
    theirs, ours, _ = opened(name)
    source, mask, target, target_mask = batch()
    expected = run(theirs, *batch()).logits
    cache, found = ours.new_cache(3, 9), []
    for piece, real in zip(target.split(sizes, 1), target_mask.split(sizes, 1)):
        text = {"input_ids": source, "attention_mask": mask} if not found else {}
        found.append(ours(**text, decoder_input_ids=piece, decoder_attention_mask=real, cache=cache).logits)
    close(torch.cat(found, 1), expected, target_mask)
    assert cache.length == 9


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_an_encoded_text_is_read_once(opened, name):
    theirs, ours, _ = opened(name)
    source, mask, target, target_mask = batch()
    read = ours.encode(source, mask)
    expected = run(theirs, *batch()).logits
    for output in (read, read.last_hidden_state):
        found = ours(None, mask, target, target_mask, encoder_output=output).logits
        close(found, expected, target_mask)


@pytest.mark.parametrize("name", ["t5", "t5, 1.1", "bart", "mbart"])
def test_gradients_in_training(opened, name):
    """Dropout is 0; every parameter's gradient of a loss that leaves the padding out."""
    theirs, ours = make(name).train(), opened(name)[1].train()
    source, mask, target, target_mask = batch()
    labels = target.roll(-1, 1).masked_fill(target_mask == 0, -100)
    expected = torch.nn.functional.cross_entropy(
        run(theirs, source, mask, target, target_mask).logits.transpose(1, 2), labels
    )
    ours.zero_grad()
    found = torch.nn.functional.cross_entropy(
        ours(source, mask, target, target_mask).logits.transpose(1, 2), labels
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    expected.backward(), found.backward()
    gradients = {name: p.grad for name, p in ours.named_parameters()}
    for name, tensor in ours.state_dict().items():  # a tied matrix has its table's
        gradients.setdefault(name, gradients["body.tokens.weight"] if name == "head.weight" else tensor * 0)
    mine = ours.to_hugging_face(gradients)
    compared = 0
    for name, parameter in theirs.named_parameters():
        scale = parameter.grad.abs().max().item()
        assert (mine[name] - parameter.grad).abs().max().item() <= 1e-4 * (scale + 1), name
        compared += scale > 1e-6
    assert compared > 20
    ours.eval()


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("t5", {"dropout_rate": 0.2}),
        ("t5, 1.1", {"dropout_rate": 0.2}),
        ("bart", {"dropout": 0.2, "attention_dropout": 0.3, "activation_dropout": 0.1}),
        ("mbart", {"dropout": 0.2, "attention_dropout": 0.3, "activation_dropout": 0.1}),
    ],
)
@torch.no_grad()
def test_dropout_stands_where_transformers_has_it(name, rates, tmp_path, monkeypatch):
    """Dropout is replaced by a factor that shows in the logits wherever it is applied, and how often."""
    theirs = make(name, attn_implementation="eager", **rates)
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    sound = run(theirs, *batch()).logits

    def shrunk(x, p=0.5, training=True, inplace=False):
        return x * (1 - p) if training else x

    monkeypatch.setattr(torch.nn.functional, "dropout", shrunk)
    theirs.train(), ours.train()
    expected = run(theirs, *batch()).logits
    assert (expected - sound).abs().max() > 0.1
    with attention_backend("plain"):  # torch's own attention draws for itself
        close(ours(*batch()).logits, expected, batch()[3])
    ours.eval()
    close(ours(*batch()).logits, sound, batch()[3])


@pytest.mark.parametrize("name", ["t5", "bart", "mt5", "mbart"])
@torch.no_grad()
def test_bodies(name, tmp_path):
    theirs = make(name, "Model")
    theirs.save_pretrained(tmp_path)
    ours = (T5Body if "t5" in name else BARTBody).from_pretrained(tmp_path)
    _, mask, _, target_mask = batch()
    expected = run(theirs, *batch())
    found = ours(*batch())
    close(found.last_hidden_state, expected.last_hidden_state, target_mask)
    close(found.encoder_last_hidden_state, expected.encoder_last_hidden_state, mask)
    whole = load_model(tmp_path)  # tied: nothing is missing for the model with its output matrix
    close(whole(*batch()).last_hidden_state, expected.last_hidden_state, target_mask)
    ours.save_pretrained(tmp_path / "again")
    again = getattr(transformers, ours.architecture()).from_pretrained(tmp_path / "again").eval()
    close(run(again, *batch()).last_hidden_state, expected.last_hidden_state, target_mask)


@torch.no_grad()
def test_an_encoder_alone(opened, tmp_path):
    theirs = make("t5", "EncoderModel")
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    assert type(ours) is T5Encoder
    source, mask, _, _ = batch()
    expected = theirs(input_ids=source, attention_mask=mask, output_hidden_states=True)
    found = ours(source, mask, output_hidden_states=True)
    close(found.last_hidden_state, expected.last_hidden_state, mask)
    assert len(found.hidden_states) == len(expected.hidden_states)
    ours.save_pretrained(tmp_path / "again")
    again = transformers.T5EncoderModel.from_pretrained(tmp_path / "again").eval()
    close(again(input_ids=source, attention_mask=mask).last_hidden_state, expected.last_hidden_state, mask)
    whole, _, folder = opened("t5")  # from a folder of the whole model
    part = T5Encoder.from_pretrained(folder)
    close(part(source, mask).last_hidden_state, whole.encoder(source, mask).last_hidden_state, mask)


# Folders


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_folders_both_ways(opened, name, tmp_path):
    theirs, ours, folder = opened(name)
    ours.save_pretrained(tmp_path)
    mine, other = load_file(tmp_path / "model.safetensors"), load_file(folder / "model.safetensors")
    assert mine.keys() == other.keys()
    for label, tensor in other.items():
        assert torch.equal(mine[label], tensor), label
    again = type(theirs).from_pretrained(tmp_path).eval()
    assert (
        again.config.to_dict().items()
        >= {
            key: value
            for key, value in theirs.config.to_dict().items()
            if key not in ("_name_or_path", "transformers_version", "dtype") and "dropout" not in key
        }.items()
    )
    for label, tensor in theirs.state_dict().items():
        assert torch.equal(again.state_dict()[label], tensor), label
    assert torch.equal(run(again, *batch()).logits, run(theirs, *batch()).logits)
    assert torch.equal(load_model(tmp_path)(*batch()).logits, ours(*batch()).logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["t5", "t5, 1.1", "bart", "mbart"])
@torch.no_grad()
def test_16_bits(opened, name, dtype, tmp_path):
    """In 16 bits two right models differ as each of them differs from float32."""
    exact = opened(name)[0]
    theirs = make(name).to(dtype)
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    assert {p.dtype for p in ours.parameters()} == {dtype}
    target_mask = batch()[3].bool()
    reference = run(exact, *batch()).logits[target_mask]
    other, found = (
        (logits[target_mask].float() - reference).abs().mean().item()
        for logits in (run(theirs, *batch()).logits, ours(*batch()).logits)
    )
    assert ours(*batch()).logits.dtype == dtype
    assert found <= 1.5 * other
    opened_as = load_model(opened(name)[2], dtype=dtype)
    assert torch.equal(opened_as(*batch()).logits, ours(*batch()).logits)


def edited(folder, target, edit=None, drop=(), **keys):
    """A copy of a model folder with other tensors or other keys in its config.json."""
    shutil.copytree(folder, target)
    tensors = load_file(target / "model.safetensors")
    tensors = tensors if edit is None else edit(tensors)
    save_file(
        {k: v.clone().contiguous() for k, v in tensors.items()},
        target / "model.safetensors",
        metadata={"format": "pt"},
    )
    config = json.loads((target / "config.json").read_text())
    config = {k: v for k, v in config.items() if k not in drop}
    (target / "config.json").write_text(json.dumps(config | keys))
    return target


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7)) / 4


CROSS_BIAS = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
OLD = {  # what files of older versions, and of other programs, hold
    "t5, tables under three names": (
        "t5",
        lambda t: (
            t
            | {f"{part}.embed_tokens.weight": t["shared.weight"] for part in ("encoder", "decoder")}
            | {"lm_head.weight": t["shared.weight"]}
        ),
    ),
    "t5, the table under another name": (
        "t5",
        lambda t: {k.replace("shared.", "encoder.embed_tokens."): v for k, v in t.items()},
    ),
    "t5, only the output matrix": (
        "t5",
        lambda t: {k.replace("shared.", "lm_head."): v for k, v in t.items()},
    ),
    "t5, unused bias": ("t5", lambda t: t | {CROSS_BIAS: random(8, 4)}),
    "t5, tied, another matrix": ("t5", lambda t: t | {"lm_head.weight": random(V, 16)}),
    "t5, 1.1 without a matrix": (
        "t5, 1.1",
        lambda t: {k: v for k, v in t.items() if not k.startswith("lm_head")},
    ),
    "mt5, a matrix of its own": ("mt5", lambda t: t | {"lm_head.weight": random(V, 16)}),
    "bart, tables under three names": (
        "bart",
        lambda t: (
            t
            | {
                f"model.{part}.embed_tokens.weight": t["model.shared.weight"]
                for part in ("encoder", "decoder")
            }
            | {"lm_head.weight": t["model.shared.weight"]}
        ),
    ),
    "bart, the table under another name": (
        "bart",
        lambda t: {k.replace("model.shared.", "model.decoder.embed_tokens."): v for k, v in t.items()},
    ),
    "bart, version": ("bart", lambda t: t | {"model.encoder.version": torch.ones(1)}),
    "bart, nothing added to the scores": (
        "bart",
        lambda t: {k: v for k, v in t.items() if k != "final_logits_bias"},
    ),
    "bart, tied, another matrix": ("bart", lambda t: t | {"lm_head.weight": random(V, 16)}),
}


@pytest.mark.parametrize("name", OLD)
@torch.no_grad()
def test_older_files(opened, name, tmp_path):
    kind, edit = OLD[name]
    original, _, folder = opened(kind)
    edited(folder, tmp_path / "old", edit)
    theirs = type(original).from_pretrained(tmp_path / "old").eval()
    ours = load_model(tmp_path / "old")
    expected = run(theirs, *batch()).logits
    close(ours(*batch()).logits, expected, batch()[3])
    ours.save_pretrained(tmp_path / "new")
    again = type(original).from_pretrained(tmp_path / "new").eval()
    close(run(again, *batch()).logits, expected, batch()[3])
    assert torch.equal(load_model(tmp_path / "new")(*batch()).logits, ours(*batch()).logits)


def test_a_file_of_t5_1_1_as_it_was_published(opened, tmp_path):
    """tie_word_embeddings false and no key for the scale: none is applied."""
    theirs, _, folder = opened("t5, 1.1")
    old = edited(folder, tmp_path / "old", drop=("scale_decoder_outputs",), tie_word_embeddings=False)
    found = load_model(old)(*batch()).logits
    close(found, run(type(theirs).from_pretrained(old).eval(), *batch()).logits, batch()[3])
    close(found, run(theirs, *batch()).logits, batch()[3])


REFUSED = {
    "t5, two tables": (
        "t5",
        lambda t: t | {"encoder.embed_tokens.weight": random(V, 16)},
        {},
        "encoder.embed_tokens.weight",
    ),
    "bart, two tables": (
        "bart",
        lambda t: t | {"model.decoder.embed_tokens.weight": random(V, 16)},
        {},
        "model.decoder.embed_tokens.weight",
    ),
    "t5, a tensor is missing": (
        "t5",
        lambda t: {k: v for k, v in t.items() if "decoder.block.1.layer.1.EncDecAttention.k" not in k},
        {},
        "decoder.block.1.layer.1.EncDecAttention.k",
    ),
    "t5, no table": (
        "t5",
        lambda t: {k: v for k, v in t.items() if "shared" not in k},
        {},
        "shared.weight",
    ),
    "t5, a tensor without a place": ("t5", lambda t: t | {"decoder.gate": random(3)}, {}, "decoder.gate"),
    "t5, another shape": ("t5", None, {"d_ff": 24}, "shape"),
    "t5, a million layers": ("t5", None, {"num_decoder_layers": 10**6}, "1,000,000 layers"),
    "t5, activation": ("t5", None, {"dense_act_fn": "xielu"}, "xielu"),
    "t5, feed forward": ("t5", None, {"feed_forward_proj": "doubled-gelu"}, "doubled-gelu"),
    "t5, experts": ("t5", None, {"num_experts": 8}, "num_experts"),
    "t5, soft caps": ("t5", None, {"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
    "bart, norms before": ("bart", None, {"normalize_before": True}, "normalize_before"),
    "bart, waves": ("bart", None, {"static_position_embeddings": True}, "static_position_embeddings"),
    "bart, layer drop": ("bart", None, {"encoder_layerdrop": 0.1}, "encoder_layerdrop"),
    "bart, heads": ("bart", None, {"decoder_attention_heads": 3}, "got 16 and 3"),
    "mbart, norms after": ("mbart", None, {"normalize_before": False}, "normalize_before"),
    "bart, decoder alone": ("bart", None, {"architectures": ["BartForCausalLM"]}, "BartForCausalLM"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_another_model_is_refused_by_name(opened, name, tmp_path):
    kind, edit, keys, message = REFUSED[name]
    with pytest.raises(BadFileError, match=message):
        load_model(edited(opened(kind)[2], tmp_path / "bad", edit, **keys))


@pytest.mark.parametrize("family", ["T5", "MT5", "Bart", "MBart"])
def test_a_key_that_a_file_leaves_out_has_transformers_value(family):
    theirs = getattr(transformers, f"{family}Config")().to_dict()
    ours = (T5Config if "T5" in family else BARTConfig).from_dict({"model_type": family.lower()}).to_dict()
    names = (ours.keys() & theirs.keys()) - {"dropout_rate", "dropout"}  # 0 here unless asked for
    assert len(names) >= 18
    for name in names:
        assert ours[name] == theirs[name], name


def test_first_weights_are_drawn_as_transformers_draws_them():
    sizes = {"vocab_size": 512, "d_model": 128, "d_kv": 24, "d_ff": 200, "num_layers": 2, "num_heads": 8}
    ours, theirs = (
        T5(T5Config(**sizes)),
        transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes)),
    )
    wide = {
        "vocab_size": 512,
        "d_model": 128,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_ffn_dim": 200,
    }
    wide |= {"decoder_ffn_dim": 200, "decoder_attention_heads": 4, "encoder_attention_heads": 4}
    pairs = [
        (ours, theirs),
        (
            BART(BARTConfig(**wide)),
            transformers.BartForConditionalGeneration(transformers.BartConfig(**wide)),
        ),
    ]
    for mine, other in pairs:
        tensors = mine.to_hugging_face(mine.state_dict())
        for name, parameter in other.named_parameters():
            if parameter.dim() == 2:
                # the table of distances has few numbers
                rel = 0.15 if "relative" in name else 0.05
                assert tensors[name].std().item() == pytest.approx(parameter.std().item(), rel=rel), name
            else:
                assert torch.equal(tensors[name], parameter), name
        assert mine.num_parameters() == other.num_parameters()
    assert not pairs[1][0].body.tokens.weight[1].any()  # padding


# Texts


def rows():
    """Sources of several lengths, and the same as transformers wants them: padded, with a mask."""
    source = batch()[0]
    mask = torch.ones_like(source)
    mask[1, 6:] = mask[2, 13:] = 0  # on the right, where BART's positions allow it
    return [row[real.bool()].tolist() for row, real in zip(source, mask)], source, mask


@pytest.mark.parametrize("name", CASES)
def test_greedy_texts(lively, name):
    """Alone, in a padded batch, streamed, with and without a cache."""
    theirs, ours, _ = lively(name)
    texts, source, mask = rows()
    together = theirs.generate(source, attention_mask=mask, max_new_tokens=14, do_sample=False)
    params = SamplingParams(max_tokens=14, temperature=0)
    found = [completion.token_ids for completion in generate_batch(ours, texts, params)]
    pad = theirs.config.pad_token_id
    assert [row + [pad] * (14 - len(row)) for row in found] == [
        row + [pad] * (14 - len(row)) for row in together[:, 1:].tolist()
    ]
    for text, row in zip(texts, found):
        expected = theirs.generate(torch.tensor([text]), max_new_tokens=14, do_sample=False)[0, 1:].tolist()
        assert row == expected
        assert generate(ours, text, params) == [*stream(ours, text, params, cache=False)] == expected
    assert len({token for row in found for token in row}) > 4


@pytest.mark.parametrize("name", ["t5, 1.1", "bart"])
def test_end_tokens_penalty_and_more(lively, name):
    theirs, ours, _ = lively(name)
    texts, *_ = rows()
    text = torch.tensor([texts[0]])
    free = generate(ours, texts[0], SamplingParams(max_tokens=14, temperature=0))
    for options, params in (
        ({"repetition_penalty": 1.7}, {"repetition_penalty": 1.7}),
        ({"eos_token_id": [free[4], 999]}, {"stop_token_ids": [free[4]]}),
        (
            {"eos_token_id": [free[4], 999], "min_new_tokens": 8},
            {"stop_token_ids": [free[4]], "min_tokens": 8},
        ),
    ):
        expected = theirs.generate(text, max_new_tokens=14, do_sample=False, **options)[0, 1:].tolist()
        given = SamplingParams(**{"max_tokens": 14, "temperature": 0, **params})
        assert generate(ours, texts[0], given) == expected, options


def test_forced_tokens_are_those_of_the_folder(lively, tmp_path):
    """generation_config.json, where there is one, says it all; else the config does."""
    theirs, ours, folder = lively("bart")
    texts, *_ = rows()
    params = SamplingParams(max_tokens=9, temperature=0)
    assert generate(ours, texts[0], params)[-1] == theirs.config.forced_eos_token_id
    for number, (settings, keys) in enumerate(
        (
            ({"decoder_start_token_id": 2, "eos_token_id": 2}, {}),
            ({"decoder_start_token_id": 4, "eos_token_id": 9, "forced_bos_token_id": 7}, {}),
            ({"decoder_start_token_id": 2, "forced_bos_token_id": 7, "forced_eos_token_id": 11}, {}),
            (None, {"forced_bos_token_id": 8, "forced_eos_token_id": 11, "decoder_start_token_id": 6}),
            (None, {"decoder_start_token_id": None, "bos_token_id": 5}),
            ({"bos_token_id": 7, "eos_token_id": 2}, {"decoder_start_token_id": None}),
        )
    ):
        copy = edited(folder, tmp_path / str(number), **keys)
        (copy / "generation_config.json").unlink()
        if settings is not None:
            (copy / "generation_config.json").write_text(json.dumps(settings))
        other = type(theirs).from_pretrained(copy).eval()
        expected = other.generate(torch.tensor([texts[0]]), max_new_tokens=9, do_sample=False)[0, 1:].tolist()
        assert generate(load_model(copy), texts[0], params) == expected
        read = SamplingParams.from_folder(copy, max_tokens=9)  # takes the forced tokens for the model's own
        assert generate(load_model(copy), texts[0], read) == expected


def test_sampled_texts_do_not_depend_on_their_neighbours(opened):
    _, ours, _ = opened("t5, 1.1")
    texts, *_ = rows()
    params = SamplingParams(max_tokens=10, seed=3, n=2, logprobs=2, ignore_eos=True)
    together = generate_batch(ours, texts, params)
    assert len(together) == 6
    assert together[0].token_ids != together[1].token_ids
    for i, row in enumerate(together):
        alone = SamplingParams(max_tokens=10, seed=3 + i % 2, ignore_eos=True)
        assert generate(ours, texts[i // 2], alone) == row.token_ids
        # the log probabilities are those of one wide pass
        with torch.no_grad():
            target = torch.tensor([[0, *row.token_ids[:-1]]])
            scores = ours(torch.tensor([texts[i // 2]]), decoder_input_ids=target).logits[0].log_softmax(-1)
        for token, said, place in zip(row.token_ids, row.logprobs, scores):
            assert said[token] == pytest.approx(place[token].item(), abs=1e-4)
