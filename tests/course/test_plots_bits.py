"""Numbers bit by bit: a box a bit, a colour a field; and what is no row of bits is refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from minillm.course import plot_bits, setup
from minillm.quantization import FORMATS, bit_fields, encode_plain


@pytest.fixture(autouse=True)
def styled():
    setup()


def boxes(ax):
    return [box for box in ax.patches if box.get_height() > 0]


def test_every_format_of_a_number_is_drawn_as_numpy_writes_its_bits():
    rows = {name: bit_fields(encode_plain(-6.5, form), form) for name, form in FORMATS.items()}
    plot_bits(rows, notes={"fp16": "minus six and a half"}, title="t")
    ax = plt.gca()
    assert len(boxes(ax)) == sum(form.bits for form in FORMATS.values())
    written = "".join(
        text.get_text() for text in ax.texts if text.get_text() in "01" and text.get_position()[1] == 1
    )
    assert written == f"{np.float16(-6.5).view(np.uint16):016b}"
    assert [label.get_text() for label in ax.get_yticklabels()] == list(FORMATS)
    assert "minus six and a half" in {text.get_text() for text in ax.texts}
    colours = [box.get_facecolor() for box in boxes(ax) if round(box.get_y() + 0.36) == 1]
    assert [colours.count(one) for one in dict.fromkeys(colours)] == [1, 5, 10]


def test_other_fields_and_given_axes():
    ax = plt.subplots()[1]
    plot_bits({"code": ("0110", "1")}, fields=("index", "sign"), ax=ax)
    assert len(boxes(ax)) == 5
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["index", "sign"]


@pytest.mark.parametrize(
    ("rows", "fields", "says"),
    [
        ({}, ("a",), "rows must be a dict"),
        ({"x": ("01", "2")}, ("a", "b"), r"rows\['x'\] must be 2 texts of 0 and 1"),
        ({"x": ("01",)}, ("a", "b"), r"rows\['x'\] must be 2 texts of 0 and 1"),
        ({"x": "01"}, ("a", "b"), r"rows\['x'\] must be 2 texts of 0 and 1"),
        ({"x": (0, 1)}, ("a", "b"), r"rows\['x'\] must be 2 texts of 0 and 1"),
        ({"x": ()}, (), "fields must be 1 to 4 names"),
    ],
)
def test_what_it_refuses(rows, fields, says):
    with pytest.raises(ValueError, match=says):
        plot_bits(rows, fields=fields)
