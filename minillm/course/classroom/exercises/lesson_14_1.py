"""Checkers of lesson 14_1, ViT."""

import torch
import torch.nn.functional as F

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    packages_of,
    plain,
)

OWN = "cut and join the patches yourself"
LIBRARY = ("minillm.models.patches.cut_patches", "minillm.models.patches.embed_patches_plain")
READY_MADE = (
    *LIBRARY,
    "torch.nn.functional.unfold",
    "torch.nn.functional.fold",
    "torch.nn.functional.conv2d",
    "torch.conv2d",
    "torch.Tensor.unfold",
)
READY_LAYERS = (
    "torch.nn.TransformerEncoderLayer.forward",
    "torch.nn.MultiheadAttention.forward",
    "torch.nn.functional.multi_head_attention_forward",
)


@exercise("14-1-a", points=4)
def tokens(answer):
    """Against torch's convolution."""
    copied = copied_library(answer)
    assert not copied, f"{OWN}: your answer uses {copied}"
    rows = []
    for case in cases(most=10, B=(1, 2), C=(1, 3), P=(1, 2, 3), rows=(1, 2), columns=(2, 3), D=(1, 5)):
        inputs = Inputs(case.seed)
        pictures = inputs.tensor(case.B, case.C, case.rows * case.P, case.columns * case.P).double()
        weight, bias = inputs.tensor(case.D, case.C, case.P, case.P).double(), inputs.tensor(case.D).double()
        rows.append((case, (pictures, weight, bias), F.conv2d(pictures, weight, bias, case.P).flatten(2).mT))
    with forbid(OWN, *READY_MADE, answer=answer):
        for case, inputs, expected in rows:
            given = [one.clone() for one in inputs]
            found = answer(*given)
            for name, now, old in zip(("pictures", "weight", "bias"), given, inputs):
                assert torch.equal(now, old), f"{case}: {name} must stay as it is"
            expect(found, expected, 1e-5, f"{case}: the tokens")


@exercise("14-1-b", points=5)
def vit(answer):
    """Against torch's own encoder layers, with biases of 0 and norms of 1."""
    own = "build the blocks yourself"
    copied = copied_library(answer)
    assert not copied, f"{own}: your answer uses {copied}"
    rows = []
    for case in cases(
        most=14, B=(1, 3), N=(1, 4, 9), heads=(1, 2, 4), each=(2, 3), blocks=(2, 1, 0, 3), F=(5, 12), K=(1, 6)
    ):
        inputs, D = Inputs(case.seed), case.heads * case.each
        tokens, w = inputs.tensor(case.B, case.N, D).double(), {}
        w["class"], w["places"], w["head"] = (
            one.double() for one in inputs.tensors((D,), (1 + case.N, D), (case.K, D))
        )
        shapes = {"q": (D, D), "k": (D, D), "v": (D, D), "o": (D, D), "up": (case.F, D), "down": (D, case.F)}
        w["blocks"] = [
            {name: inputs.tensor(*shape).double() for name, shape in shapes.items()}
            for _ in range(case.blocks)
        ]
        rows.append((case, tokens, w, by_torch(tokens, w, case.heads)))
    with forbid(own, *READY_LAYERS, answer=answer):
        for case, tokens, w, expected in rows:
            given = tokens.clone(), {key: copy_of(value) for key, value in w.items()}
            found = answer(*given, case.heads)
            expect(found, expected, 1e-6, f"{case}: the logits")
            expect(plain(given), plain((tokens, w)), hint=f"{case}: what you are given must stay as it is")


def copy_of(value):
    """A tensor, or blocks of tensors, in memory of its own."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    return [{name: one.clone() for name, one in block.items()} for block in value]


@torch.no_grad()
def by_torch(tokens, w, heads):
    """The logits by nn.TransformerEncoderLayer."""
    D = tokens.shape[2]
    x = torch.cat([w["class"].repeat(len(tokens), 1, 1), tokens], 1) + w["places"]
    for block in w["blocks"]:
        layer = torch.nn.TransformerEncoderLayer(
            D, heads, len(block["up"]), 0.0, "gelu", batch_first=True, norm_first=True
        ).double()
        for name, parameter in layer.named_parameters():
            parameter.fill_(float(name.startswith("norm") and name.endswith("weight")))
        layer.self_attn.in_proj_weight.copy_(torch.cat([block[name] for name in "qkv"]))
        for linear, name in ((layer.self_attn.out_proj, "o"), (layer.linear1, "up"), (layer.linear2, "down")):
            linear.weight.copy_(block[name])
        x = layer.train()(x)  # in training mode without dropout: the plain path, not the fused one
    return F.layer_norm(x, (D,))[:, 0] @ w["head"].T


@exercise("14-1-c", points=4)
def stretch(answer):
    """Against torch's bicubic."""
    copied = copied_library(answer) or packages_of(answer, "torch", "numpy", "scipy")
    assert not copied, f"use Python and math alone: your answer uses {copied}"
    for case in cases(most=12, old=(1, 2, 4, 7), length=(1, 3, 4, 8, 14)):
        row = [float(one) for one in Inputs(case.seed).floats(case.old, -2.0, 2.0)]
        table = torch.tensor(row, dtype=torch.float64).reshape(1, 1, 1, -1)
        expected = F.interpolate(table, size=(1, case.length), mode="bicubic", align_corners=False).flatten()
        given = list(row)
        found = as_list(answer(given, case.length), f"{case}: the row", case.length)
        expect(given, row, hint=f"{case}: the row you are given must stay as it is")
        expect(found, expected.tolist(), 1e-5, f"{case}: the stretched row")


@exercise("14-1-d", points=3)
def twin(answer):
    """The same patches to the last bit, another picture: within a tolerance, one hardly changed would pass."""
    copied = copied_library(answer)
    assert not copied, f"{OWN}: your answer uses {copied}"
    for case in cases(most=8, C=(1, 3), P=(1, 2, 3), rows=(1, 2), columns=(2, 3), lone=(0, -1, 1)):
        H, W = case.rows * case.P, case.columns * case.P
        picture = torch.zeros(case.C, H, W)
        place = case.lone % (case.rows * case.columns)  # one patch that is not like all others
        y, x = case.P * (place // case.columns), case.P * (place % case.columns)
        picture[:, y : y + case.P, x : x + case.P] = Inputs(case.seed).tensor(case.C, case.P, case.P)
        given = picture.clone()
        found = torch.tensor(plain(answer(given, case.P)), dtype=torch.float32)
        assert torch.equal(given, picture), f"{case}: the picture must stay as it is"
        assert found.shape == picture.shape, (
            f"{case}: got shape {tuple(found.shape)}, not {tuple(picture.shape)}"
        )
        assert not torch.equal(found, picture), f"{case}: the twin is the same picture"
        old, new = (
            sorted(F.unfold(one[None], case.P, stride=case.P)[0].mT.tolist()) for one in (picture, found)
        )
        assert new == old, f"{case}: the twin's patches, sorted, are {new}, not {old}"
