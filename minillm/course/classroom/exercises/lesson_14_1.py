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


@exercise("14-1-b", points=3)
def paste(answer):
    """Against the picture that was cut."""
    copied = copied_library(answer)
    assert not copied, f"{OWN}: your answer uses {copied}"
    rows = []
    for case in cases(most=10, B=(1, 2), C=(1, 2, 3), P=(1, 2, 3), rows=(1, 2, 3), columns=(1, 2, 4)):
        pictures = Inputs(case.seed).tensor(case.B, case.C, case.rows * case.P, case.columns * case.P)
        rows.append((case, F.unfold(pictures, case.P, stride=case.P).mT.contiguous(), pictures))
    with forbid(OWN, *READY_MADE, answer=answer):
        for case, patches, expected in rows:
            given = patches.clone()
            found = answer(given, case.P, case.C, case.rows)
            assert torch.equal(given, patches), f"{case}: the patches must stay as they are"
            expect(found, expected, 1e-6, f"{case}: the pictures")


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
