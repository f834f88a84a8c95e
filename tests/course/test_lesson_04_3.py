"""Lesson 04_3: its recorded figures are BENCHMARKS.md's; its claims of one run and its proofs hold for other seeds."""

import re

import numpy as np
import pytest

from minillm.course.lessons import notebooks
from minillm.course.paths import checkout
from minillm.evaluation import paired
from tests.course.lessons import LESSONS, names_before, read, run_cell
from tests.helpers import soak_seeds

(LESSON,) = [path for path in LESSONS if path.name.startswith("04_3_")]
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


def benchmark_rows():
    """{method: its cells, a list of the seeds' numbers each} of the table of chapter 4's methods in BENCHMARKS.md."""
    text = (checkout() / "BENCHMARKS.md").read_text(encoding="utf-8")
    table = text.split("<!-- bench:alignment -->")[1].split("<!-- /bench:alignment -->")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {
        row[0]: [[tuple(map(float, NUMBER.findall(one))) for one in cell.split("<br>")] for cell in row[1:]]
        for row in rows[2:]
    }


def test_what_the_lesson_calls_recorded_stands_in_the_benchmarks():
    names = {}
    cells = [notebooks.source(cell) for cell in notebooks.code_cells(read(LESSON))]
    for name in ("RECORDED", "WITH_RIGHT", "ON_TRUE"):
        (text,) = [cell for cell in cells if re.search(rf"^{name} = ", cell, re.MULTILINE)]
        literal = text[text.index(f"{name} = ") :].split("}  # fmt: skip")[0] + "}"
        run_cell(literal, name, names)
    recorded, rows = names["RECORDED"] | names["WITH_RIGHT"] | names["ON_TRUE"], benchmark_rows()
    assert len(recorded) == 9
    for name, (changes, passed, far, seconds) in recorded.items():
        _, _, change, pass_at_1, _, kl, cpu = rows[name]
        assert [one for one in change if one] == changes, name
        for found, column in ((passed, pass_at_1), (far, kl), (seconds, cpu)):
            assert [(one,) for one in found] == column, name


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", soak_seeds([0, 1, 2]))
def test_every_claim_of_the_lesson_holds_for_this_seed(seed, capsys):
    """Its proofs are run on the way. Of the true score after DPO and GRPO nothing is claimed, on no seed."""
    names = names_before(LESSON, "\n## Exercises", seed)
    assert "seed=0" in "".join(notebooks.source(cell) for cell in read(LESSON)["cells"])
    by_n = names["by_n"]
    assert paired(by_n[4]["true"], by_n[1]["true"]).interval[0] > 0
    assert paired(by_n[16]["passed"], by_n[1]["passed"]).difference < -0.02
    for found in names["results"].values():
        assert paired(found["proxy"], by_n[1]["proxy"]).interval[0] > 0
        assert found["readable"].mean() > by_n[1]["readable"].mean() + 0.05
    delta = names["chosen"] - names["rejected"]
    assert (delta[-1] > 0).mean() > 0.6
    assert np.isfinite(delta).all()
