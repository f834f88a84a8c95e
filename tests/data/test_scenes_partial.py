"""Captions that leave something out: what is said, in both languages; what is refused."""

import pytest

from minillm.data import scenes
from minillm.data.scenes_partial import ATTRIBUTES, partial_caption


def test_says_what_it_is_told_and_no_more():
    scene = scenes(1, 32, 5, 1, 2)
    (things,), (ground,) = scene.objects, scene.backgrounds
    (one,) = things
    assert partial_caption(things, ground, ["shape"]) == f"a {one.shape}"
    assert (
        partial_caption(things, ground, ["colour"])
        == f"{'an' if one.colour == 'orange' else 'a'} {one.colour} thing"
    )
    assert partial_caption(things, ground, ["background"]) == f"a thing on a {ground} background"
    whole = partial_caption(things, ground, ATTRIBUTES)
    for word in (one.size, one.colour, one.shape, ground, "at the"):
        assert word in whole
    assert partial_caption(things, ground, ["shape"], "ko") in partial_caption(
        things, ground, ATTRIBUTES, "ko"
    )
    assert "도형" in partial_caption(things, ground, ["place"], "ko")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(([], "black", ["shape"]), "object"), (([1], "black", []), "said"), (([1], "black", ["form"]), "said"),
     (([1], "green", ["shape"]), "background"), (([1], "black", ["shape"], "de"), "lang")],
)  # fmt: skip
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        partial_caption(*arguments)
