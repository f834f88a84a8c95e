"""Checkers of lesson 14_4, LLaVA."""

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
    plain,
)

PLACES = (
    "minillm.models.llava.place_pictures",
    "minillm.models.llava.expand_image_tokens",
    "minillm.models.llava.LLaVA.embed",
    "torch.Tensor.masked_scatter",
    "torch.Tensor.masked_scatter_",
    "torch.masked_scatter",
)
ROWS = (
    "minillm.training.pictures.picture_example",
    "minillm.training.alignment.pairs.answer_example",
    "minillm.models.llava.expand_image_tokens",
)
LAYOUTS = ("first", "last", "none", "two together", "apart", "alone")


def _text(layout: str, image: int, words: list[int]) -> list[int]:
    """Words with image tokens in one of the layouts."""
    a, b = words[:2], words[2:]
    return {
        "first": [image, *words],
        "last": [*words, image],
        "none": words,
        "two together": [*a, image, image, *b],
        "apart": [image, *a, image, *b, image],
        "alone": [image],
    }[layout]


@exercise("14-4-a", points=4)
def read(answer):
    """Against a table of all rows, the pictures' behind the words', and one index."""
    own = "put the pictures in their places yourself"
    copied = copied_library(answer)
    assert not copied, f"{own}: your answer uses {copied}"
    rows = []
    for case in cases(most=14, layout=LAYOUTS, N=(1, 2, 3), C=(1, 4), image=(0, 3, 6), repeat=(False, True)):
        inputs, V = Inputs(case.seed), 7
        drawn = [one for one in inputs.integers(12, 0, V - 1) if one != case.image][:4] or [1, 2]
        words = [one if one != case.image else (one + 1) % V for one in (drawn * 2)[:4]]
        if case.repeat:
            words = [words[0]] * 4
        ids = _text(case.layout, case.image, words)
        count = ids.count(case.image)
        table, pictures = inputs.tensor(V, case.C), inputs.tensor(count, case.N, case.C)
        every = torch.cat([table, pictures.reshape(-1, case.C)])
        index, place = [], 0
        for one in ids:
            index += range(V + place * case.N, V + (place + 1) * case.N) if one == case.image else [one]
            place += one == case.image
        rows.append((case, (ids, table, pictures), every[torch.tensor(index)]))
    with forbid(own, *PLACES, answer=answer):
        for case, (ids, table, pictures), expected in rows:
            given = list(ids), table.clone(), pictures.clone()
            found = answer(*given, case.image)
            expect(given[0], ids, hint=f"{case}: the ids you are given must stay as they are")
            for name, now, old in (("table", given[1], table), ("pictures", given[2], pictures)):
                assert torch.equal(now, old), f"{case}: {name} must stay as it was given"
            expect(found, expected, 1e-6, f"{case}: the rows for ids {ids} with image {case.image}")


@exercise("14-4-b", points=4)
def conversation(answer):
    """Against labels that are worked out token by token, with the question's places marked first."""
    own = "write the row yourself"
    copied = copied_library(answer)
    assert not copied, f"{own}: your answer uses {copied}"
    rows = []
    for case in cases(most=14, turns=(1, 2, 3), image=(0, 9), count=(1, 2, 4), end=(3, 11), empty=(False, True),
                      where=("first", "none", "each", "twice")):  # fmt: skip
        inputs, turns = Inputs(case.seed), []
        for t in range(case.turns):
            words = [one + 12 for one in inputs.integers(3, 0, 20)]
            if t % 2:
                words[1] = case.end  # a question may hold the end token, too: it is not learned there
            told = (
                [] if case.empty and t == case.turns - 1 else [one + 12 for one in inputs.integers(2, 0, 20)]
            )
            images = {"first": t == 0, "none": 0, "each": 1, "twice": 2}[case.where]
            turns.append((words[:1] * (images == 2) + [case.image] * int(images) + words, told))
        marked = []
        for question, told in turns:
            for one in question:
                marked += [(one, False)] * (case.count if one == case.image else 1)
            marked += [(one, True) for one in (*told, case.end)]
        expected = [[one for one, _ in marked], [one if learned else -100 for one, learned in marked]]
        rows.append((case, turns, expected))
    with forbid(own, *ROWS, answer=answer):
        for case, turns, expected in rows:
            given = [(list(question), list(told)) for question, told in turns]
            found = as_list(answer(given, case.image, case.count, case.end), f"{case}: inputs and labels", 2)
            expect(given, turns, hint=f"{case}: the turns you are given must stay as they are")
            for name, one, right in zip(("inputs", "labels"), found, expected):
                expect(one, right, hint=f"{case}: the {name} of {turns}")


TAUGHT = [  # the commonest by rows, not by questions; ties by place, not by alphabet; the first is not the commonest
    ([("a?", "y"), ("a?", "x")], ["a?", "b?"]),
    ([("a?", "x"), ("b?", "y"), ("c?", "y")], ["d?", "a?"]),
    ([("a?", "x")] * 3 + [("b?", "y"), ("c?", "y")], ["d?", "b?"]),
]


def _commonest(rows: list[str]) -> str:
    return sorted(rows, key=lambda one: (-rows.count(one), rows.index(one)))[0]


@exercise("14-4-c", points=3)
def blind_answers(answer):
    """Against counting with a sort: most often first, then the earliest place."""
    copied = copied_library(answer)
    assert not copied, f"count yourself: your answer uses {copied}"
    tried = list(TAUGHT)
    for case in cases(most=14, questions=(1, 2, 4), n=(1, 3, 8, 20), words=(1, 2, 3), unknown=(0, 2)):
        draw = Inputs(case.seed)
        places = draw.integers(case.n, 0, case.questions - 1), draw.integers(case.n, 0, case.words - 1)
        asked = [f"q{i % case.questions}?" for i in range(case.n % 6)] + [
            f"new{i}?" for i in range(case.unknown)
        ]
        tried.append(([(f"q{a}?", "xyz"[b]) for a, b in zip(*places)], asked))
    for taught, asked in tried:
        everything = [told for _, told in taught]
        expected = [_commonest([told for one, told in taught if one == q] or everything) for q in asked]
        given = list(taught), list(asked)
        found = as_list(answer(*given), f"the answers to {asked}", len(asked))
        expect(given[0], taught, hint="what was taught must stay as it is")
        expect(given[1], asked, hint="the questions must stay as they are")
        expect(found, expected, hint=f"the answers to {asked} after {taught}")


@exercise("14-4-d", points=3)
def twin(answer):
    """The same means of squares, another picture in each of them."""
    copied = copied_library(answer)
    assert not copied, f"make the twin yourself: your answer uses {copied}"
    for case in cases(
        most=10, C=(1, 3), k=(2, 3, 5), rows=(1, 2), columns=(1, 3), kind=("any", "low", "high", "flat")
    ):
        size = (case.C, case.rows * case.k, case.columns * case.k)
        picture = {
            "low": torch.full(size, 0.2),
            "high": torch.full(size, 0.8),
            "flat": torch.full(size, 0.5),
        }.get(case.kind, 0.2 + 0.6 * torch.sigmoid(3 * Inputs(case.seed).tensor(*size)))
        given = picture.clone()
        found = torch.tensor(plain(answer(given, case.k)), dtype=torch.float32)
        assert torch.equal(given, picture), f"{case}: the picture must stay as it is"
        assert found.shape == picture.shape, (
            f"{case}: got shape {tuple(found.shape)}, not {tuple(picture.shape)}"
        )
        outside = float(torch.maximum(-found, found - 1).max())
        assert outside <= 1e-6, f"{case}: values must lie in 0 to 1, one lies {outside:.3f} outside"
        gap = float(F.max_pool2d((found - picture).abs()[None], case.k).min())
        assert gap >= 0.0499, (
            f"{case}: it must differ by 0.05 at some pixel of each square; in one the largest difference is {gap:.3f}"
        )
        apart = (F.avg_pool2d(found[None], case.k) - F.avg_pool2d(picture[None], case.k)).abs().max()
        assert float(apart) < 1e-4, f"{case}: the overviews differ by {float(apart):.4f}"
