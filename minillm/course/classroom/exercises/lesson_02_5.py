"""Checkers of lesson 02_5, encoder and decoder."""

import copy
from types import SimpleNamespace

import torch

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    plain,
    shown,
)
from minillm.models import Transformer, TransformerConfig
from minillm.nn import DecoderBlock, MultiHeadAttention, padding_mask
from minillm.training import shift_right

NO_BLOCK = "build the block yourself"
# what each norm is called in the exercise, and in the library's block
NORMS = {"norm1": "norm1", "norm2": "norm3", "norm3": "norm2"}


def _filled(layer, inputs):
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(inputs.tensor(*parameter.shape, scale=0.5) + 0.3)
    return layer.requires_grad_(False)


def _parts(block):
    """The block's layers under the exercise's names; the self-attention as one that is not causal itself."""
    own = MultiHeadAttention(block.attention.width, block.attention.heads).requires_grad_(False)
    own.load_state_dict(block.attention.state_dict())
    norms = {name: copy.deepcopy(getattr(block, ours)) for name, ours in NORMS.items()}
    return SimpleNamespace(
        self_attention=own,
        cross_attention=copy.deepcopy(block.cross_attention),
        feed_forward=copy.deepcopy(block.feed_forward),
        **norms,
    )


@exercise("02-5-a", points=3)
def decoder_block(answer):
    """A decoder block, against the library's."""
    copied = copied_library(answer, allowed=("causal_mask", "padding_mask"))
    assert not copied, f"{NO_BLOCK}: your answer uses {copied}"
    names = [f"minillm.nn.blocks.{one}" for one in ("DecoderBlock.forward", "EncoderBlock.forward")]
    names += [f"torch.nn.Transformer{one}Layer.forward" for one in ("Decoder", "Encoder")]
    for case in cases(
        B=(1, 2, 3),
        T=(1, 2, 5),
        S=(1, 3, 7),
        heads=(1, 2),
        padding=("none", "right", "left", "both"),
        most=40,
    ):
        inputs = Inputs(case.seed)
        block = _filled(DecoderBlock(8, case.heads, 12, cross=True, pre_norm=False), inputs)
        x, memory = inputs.tensors((case.B, case.T, 8), (case.B, case.S, 8))
        mask = torch.ones(case.B, case.S, dtype=torch.int64)
        if case.padding != "none" and case.S > 1:
            mask[-1, -(case.S // 2) :] = 0
            mask = mask.flip(1) if case.padding == "left" else mask
            if case.padding == "both" and case.S > 2:
                mask[-1, 0] = 0
        expected = block(x, memory, context_mask=padding_mask(mask))
        with forbid(NO_BLOCK, *names, answer=answer), torch.no_grad():
            found = answer(x.clone(), memory.clone(), mask.clone(), _parts(block))
        hint = (
            f"{case}: is the self-attention causal, is padding hidden from the cross-attention, and is each norm "
            "that of the part's input plus its output?"
        )
        assert isinstance(found, torch.Tensor), f"{case}: return a tensor, got {type(found).__name__}"
        expect(found, expected, 1e-3, hint)


@exercise("02-5-b", points=2)
def teacher_forcing(answer):
    """Inputs and labels of a decoder, as lists."""
    copied = copied_library(answer)
    assert not copied, f"make the rows yourself: your answer uses {copied}"
    for case in cases(
        texts=(1, 2, 4), longest=(0, 1, 3, 6), special=((1, 2, 0), (7, 8, 9), (3, 5, 4), (2, 2, 2))
    ):
        inputs, (start, end, padding) = Inputs(case.seed), case.special
        targets = [inputs.integers(inputs.integer(0, case.longest), 3, 9) for _ in range(case.texts)]
        targets[-1] = inputs.integers(case.longest, 3, 9)
        longest = max(map(len, targets))
        expected_inputs = [[start, *text, *[padding] * (longest - len(text))] for text in targets]
        expected_labels = [[*text, end, *[-100] * (longest - len(text))] for text in targets]
        given = copy.deepcopy(targets)
        with forbid("make the rows yourself", "minillm.training.objectives.shift_right", answer=answer):
            found = as_list(answer(given, start, end, padding), "the pair of inputs and labels", length=2)
        where = f"targets {shown(targets)}, start {start}, end {end}, padding {padding}"
        expect(found[0], expected_inputs, hint=f"inputs for {where}")
        expect(found[1], expected_labels, hint=f"labels for {where}")
        expect(given, targets, hint="the given lists must stay as they are")


def _tables(T, V, shifted, masked, inputs, change):
    """(before, after) of a made-up decoder in which every place reacts to every label that it can see.

    change: of "one" logit; of "two" by opposite amounts, so that their sum stays; or of one by a "little".
    """
    label, place = torch.arange(T)[:, None], torch.arange(T)
    sees = (label + shifted <= place) if masked else (label + shifted < T).expand(T, T)
    before = inputs.tensor(T, V, scale=5.0)
    least, most = (0.002, 0.004) if change == "little" else (0.01, 3.0)
    strength = torch.tensor(inputs.floats(T * T, least, most)).view(T, T, 1)
    sign = torch.where(inputs.tensor(T, T, 1) > 0, 1.0, -1.0)
    moved = torch.nn.functional.one_hot(torch.tensor(inputs.integers(T * T, 0, V - 1)), V).view(T, T, V)
    if change == "two":
        moved = moved - moved.roll(1, dims=-1)
    rounding = 1e-5 * inputs.tensor(T, T, V)
    return before, before + sees[..., None] * strength * sign * moved + rounding


def _of_a_model(T, shifted, masked, seed):
    """(before, after) of a tiny transformer with random weights."""
    config = TransformerConfig(
        9, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=16, dropout=0.0,
    )  # fmt: skip
    model, labels = Transformer(config, seed).eval(), torch.tensor([Inputs(seed).integers(T, 3, 8)])
    model.decoder[0].attention.causal = masked
    changed = labels.repeat(T, 1)
    changed[range(T), range(T)] = (labels[0] - 3 + 1) % 6 + 3
    read = (lambda rows: shift_right(rows, 1, 0)) if shifted else (lambda rows: rows)
    source = torch.tensor([[3, 4, 5, 2]])
    with torch.no_grad():
        return model(source, None, read(labels))[0], model(source.repeat(T, 1), None, read(changed))


SEES = {
    "fine": "place t sees the labels before t",
    "shift": "place t sees the labels up to t itself",
    "mask": "every place sees all labels but the last",
    "both": "every place sees all labels",
}


@exercise("02-5-c", points=3)
def find_the_leak(answer):
    """The detector of leaks, and what is wrong with one."""
    parts = plain_parts(answer)
    diagnose = parts["diagnose"]
    for case in cases(T=(3, 4, 7), V=(2, 5), shifted=(True, False), masked=(True, False)):
        names = {(True, True): "fine", (False, True): "shift", (True, False): "mask", (False, False): "both"}
        expected = names[case.shifted, case.masked]
        for before, after in (
            *(
                _tables(case.T, case.V, case.shifted, case.masked, Inputs(case.seed), change)
                for change in ("one", "two", "little")
            ),
            _of_a_model(case.T, case.shifted, case.masked, case.seed),
        ):
            found = diagnose(before.clone(), after.clone())
            expect(plain(found), expected, hint=f"T={case.T}, V={before.shape[1]}, and {SEES[expected]}")
    why = plain(parts["why"], "why")
    assert isinstance(why, str), f"`why` must be a letter, got {shown(why)}"
    letter = why.strip().lower()
    assert letter in {"a", "b", "c", "d"}, f"`why` must be one of the letters a to d, got {shown(why)}"
    assert letter == "b", f"`why` is not {shown(why)}: what does place t read when the shift is forgotten?"


def plain_parts(answer):
    """The dict of the exercise's two answers."""
    assert isinstance(answer, dict), f"check takes diagnose and why in a dict, got {type(answer).__name__}"
    assert set(answer) == {"diagnose", "why"}, "check takes a dict with diagnose and why, as the cell has it"
    assert callable(answer["diagnose"]), "diagnose must be a function"
    return answer


@exercise("02-5-d", points=1)
def shapes(answer):
    """The three attentions' shapes."""
    names = ("the encoder's self-attention", "the decoder's self-attention", "the cross-attention")
    expected = ((3, 4, 20, 20), (3, 4, 11, 11), (3, 4, 11, 20))
    found = as_list(answer, "the prediction", length=3)
    for name, one, shape in zip(names, found, expected):
        assert plain(one) == list(shape), (
            f"{name}: {shown(one)} is not its shape; it is (texts, heads, queries, keys)"
        )
