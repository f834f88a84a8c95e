"""The transformer of 2017 against torch.nn.Transformer with the same weights; what no decoder may do: look ahead."""

import pytest
import torch
from torch import nn

from minillm.models import Transformer, TransformerConfig

TINY = {"d_model": 24, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 40, "decoder_ffn_dim": 40,
        "max_position_embeddings": 16, "dropout": 0.0}  # fmt: skip


def tiny(seed=0, vocab_size=11, **changes):
    """A tiny model whose weights, biases and norms too, are away from their first values."""
    model = Transformer(TransformerConfig(vocab_size, **{**TINY, **changes}), seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def ids(*shape, seed=0, low=3):
    return torch.randint(low, 11, shape, generator=torch.Generator().manual_seed(seed))


def attention_pairs(ours, theirs):
    for kind in ("weight", "bias"):
        parts = (ours.q_proj, ours.k_proj, ours.v_proj)
        yield [getattr(part, kind) for part in parts], getattr(theirs, f"in_proj_{kind}")
        yield [getattr(ours.o_proj, kind)], getattr(theirs.out_proj, kind)


def same_weights(model, twin):
    """(our tensors, theirs): theirs holds ours one below the other."""
    for stack, layers in ((model.encoder, twin.encoder.layers), (model.decoder, twin.decoder.layers)):
        for ours, theirs in zip(stack, layers):
            yield from attention_pairs(ours.attention, theirs.self_attn)
            layer_pairs = [(ours.norm1, theirs.norm1), (ours.feed_forward.up_proj, theirs.linear1),
                           (ours.feed_forward.down_proj, theirs.linear2)]  # fmt: skip
            if stack is model.encoder:
                layer_pairs += [(ours.norm2, theirs.norm2)]
            else:
                yield from attention_pairs(ours.cross_attention, theirs.multihead_attn)
                layer_pairs += [(ours.norm3, theirs.norm2), (ours.norm2, theirs.norm3)]
            for one, other in layer_pairs:
                yield [one.weight], other.weight
                yield [one.bias], other.bias
    if model.config.pre_norm:
        for ours, theirs in (
            (model.encoder_norm, twin.encoder.norm),
            (model.decoder_norm, twin.decoder.norm),
        ):
            yield [ours.weight], theirs.weight
            yield [ours.bias], theirs.bias


def torch_twin(model):
    """torch.nn.Transformer with the model's weights; without its final norms where the norms come last."""
    config = model.config
    twin = nn.Transformer(
        config.d_model, config.encoder_attention_heads, config.encoder_layers, config.decoder_layers,
        config.encoder_ffn_dim, 0.0, config.activation_function, batch_first=True, norm_first=config.pre_norm,
    )  # fmt: skip
    if not config.pre_norm:
        twin.encoder.norm = twin.decoder.norm = None  # torch adds them; the paper has none
    pairs = list(same_weights(model, twin))
    assert {id(theirs) for _, theirs in pairs} == {id(parameter) for parameter in twin.parameters()}
    with torch.no_grad():
        for ours, theirs in pairs:
            theirs.copy_(torch.cat(ours))
    return twin


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # torch's remark on its own fast path
@pytest.mark.parametrize("pre_norm", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("padding", ["none", "right", "left"])
@pytest.mark.parametrize("sizes", [(7, 4), (3, 9), (5, 5)], ids=str)
def test_logits_and_all_gradients_equal_torchs_transformer(pre_norm, padding, sizes):
    S, T = sizes
    model = tiny(pre_norm=pre_norm, activation_function="gelu" if pre_norm else "relu")
    twin = torch_twin(model)
    source, target = ids(3, S), ids(3, T, seed=2)
    mask, target_mask = torch.ones_like(source), torch.ones_like(target)
    if padding != "none":
        mask[1, S - 2 :] = mask[2, S - 1 :] = target_mask[2, T - 2 :] = 0
        mask = mask.flip(1) if padding == "left" else mask
    masks = (None, None) if padding == "none" else (mask, target_mask)
    logits = model(source, masks[0], target, masks[1])

    hidden = twin(
        model.embed(source), model.embed(target),
        tgt_mask=torch.ones(T, T, dtype=torch.bool).triu(1),  # in torch's masks True = may not
        src_key_padding_mask=mask == 0, tgt_key_padding_mask=target_mask == 0, memory_key_padding_mask=mask == 0,
    )  # fmt: skip
    expected = hidden @ model.tokens.weight.T
    real = target_mask.bool()  # what a model computes for padding is read by nobody
    torch.testing.assert_close(logits[real], expected[real], atol=1e-5, rtol=1e-5)

    weights = torch.randn(int(real.sum()), 11, generator=torch.Generator().manual_seed(5))
    (logits[real] * weights).sum().backward()
    embeddings = model.tokens.weight.grad.clone()
    model.tokens.weight.grad = None
    (expected[real] * weights).sum().backward()
    torch.testing.assert_close(embeddings, model.tokens.weight.grad, atol=1e-4, rtol=1e-4)
    for ours, theirs in same_weights(model, twin):
        torch.testing.assert_close(torch.cat([one.grad for one in ours]), theirs.grad, atol=1e-4, rtol=1e-4)


def test_train_mode_without_dropout_is_eval_mode_and_dropout_changes_it():
    source, target = ids(2, 6), ids(2, 5)
    model = tiny()
    torch.testing.assert_close(model.train()(source, None, target), model.eval()(source, None, target))
    dropped = Transformer(TransformerConfig(11, **{**TINY, "dropout": 0.5}), 0)
    assert not torch.equal(dropped.train()(source, None, target), dropped(source, None, target))
    torch.testing.assert_close(dropped.eval()(source, None, target), dropped(source, None, target))


def test_a_later_target_token_never_changes_an_earlier_logit():
    model = tiny().eval()
    source, target = ids(2, 6), ids(2, 8, seed=4)
    before = model(source, None, target)
    for place in range(1, 8):
        changed = target.clone()
        changed[:, place] = (changed[:, place] - 3 + 1) % 8 + 3
        after = model(source, None, changed)
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.allclose(after[:, place:], before[:, place:], atol=1e-3)


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_of_the_source_changes_nothing(side):
    model = tiny().eval()
    source, target = ids(2, 5), ids(2, 4, seed=4)
    alone = model(source, None, target)
    noise = ids(2, 3, seed=7)
    if side == "right":
        padded, mask = torch.cat((source, noise), 1), torch.tensor([[1] * 5 + [0] * 3] * 2)
    else:  # positions move along, so only the noise may not matter
        padded, mask = torch.cat((noise, source), 1), torch.tensor([[0] * 3 + [1] * 5] * 2)
        alone = model(torch.cat((noise.flip(0), source), 1), mask, target)
    torch.testing.assert_close(model(padded, mask, target), alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(model(padded, None, target), alone, atol=1e-3)


def test_without_cross_attention_the_source_is_not_seen_and_all_other_weights_are_the_same():
    with_cross, without = (
        Transformer(TransformerConfig(11, **TINY, cross=cross), 3) for cross in (True, False)
    )
    mine, rest = with_cross.state_dict(), without.state_dict()
    assert set(mine) - set(rest) == {name for name in mine if "cross_attention" in name or "norm3" in name}
    assert len(rest) == len(set(rest) & set(mine)) > 40
    for name, value in rest.items():
        assert torch.equal(value, mine[name]), name
    target = ids(2, 5)
    assert torch.equal(without(ids(2, 6), None, target), without(ids(2, 6, seed=9), None, target))
    assert not torch.allclose(
        with_cross(ids(2, 6), None, target), with_cross(ids(2, 6, seed=9), None, target)
    )


def test_the_same_seed_gives_the_same_model_and_leaves_torchs_own_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, two, other = (Transformer(TransformerConfig(11, **TINY), seed).tokens.weight for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_greedy_is_the_likeliest_token_read_again_and_again():
    """Row by row, without a batch: what a row says does not depend on the others."""
    model = tiny(seed=5).eval()
    source, mask = ids(4, 6), torch.ones(4, 6, dtype=torch.int64)
    mask[1, 3:] = mask[2, 5:] = 0
    written = model.greedy(source, mask, max_tokens=9)
    for row in range(4):
        length, text = int(mask[row].sum()), [1]
        while len(text) < 10 and text[-1] != 2:
            logits = model(source[row : row + 1, :length], None, torch.tensor([text]))
            text.append(int(logits[0, -1].argmax()))
        expected = text[1:] + [0] * (written.shape[1] - len(text) + 1)
        assert written[row].tolist() == expected


def test_greedy_ends_rows_at_the_end_token_and_pads_them():
    model = tiny()
    with torch.no_grad():  # every place says 2, the end: its row is the only one that is not orthogonal to x
        model.tokens.weight.zero_()
        model.decoder[-1].norm2.weight.zero_(), model.decoder[-1].norm2.bias.fill_(1.0)
        model.tokens.weight[2] = 1.0
    assert model.greedy(ids(3, 4), max_tokens=5).tolist() == [[2]] * 3
    model.config.eos_token_id = 4
    assert model.greedy(ids(3, 4), max_tokens=5).tolist() == [[2] * 5] * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"d_model": 25}, "25 and 4"), ({"encoder_layers": 0}, "encoder_layers"), ({"eos_token_id": 11}, "eos_token_id"),
     ({"activation_function": "sin"}, "'sin'"), ({"dropout": 1.5}, "1.5"), ({"cross": 1}, "cross"),
     ({"pre_norm": None}, "pre_norm"), ({"vocab_size": 0}, "vocab_size")],
)  # fmt: skip
def test_a_bad_config_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**{"vocab_size": 11, **TINY, **changes})


def test_bad_calls_are_refused_with_what_came():
    model = tiny().eval()
    source, target, mask = ids(2, 6), ids(2, 5), torch.ones(2, 6, dtype=torch.int64)
    memory = model.encode(source)
    for call, message in (
        (lambda: model(source + 100, None, target), "0..10"),
        (lambda: model(source, None, target - 9), "decoder_input_ids"),
        (lambda: model(source, None, None), "decoder_input_ids"),
        (lambda: model(source.float(), None, target), "float32"),
        (lambda: model(ids(2, 17), None, target), "17 tokens do not fit into 16"),
        (lambda: model(source, mask[:, :5], target), "attention_mask"),
        (lambda: model(source, mask * 2, target), "0 .padding. and 1"),
        (lambda: model(source, mask, target, mask), "decoder_attention_mask"),
        (lambda: model.decode(target, memory[:1]), "memory"),
        (lambda: model.decode(target, memory[..., :5]), "memory"),
        (lambda: model.decode(target, memory, mask[:, :5]), "attention_mask"),
        (lambda: model.greedy(source, mask, 17), "max_tokens"),
        (lambda: Transformer({"d_model": 8}), "TransformerConfig"),
        (lambda: Transformer(model.config, -1), "seed"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
