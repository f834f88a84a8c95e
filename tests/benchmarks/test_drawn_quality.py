"""The table of what the picture models draw right."""

from minillm._files import read_json
from minillm.course.small.diffusion import DIFFUSION
from minillm.course.small.unclip import UNCLIP
from tests.benchmarks.drawn_quality import GUIDED, HEAD, change, table, unclip_lines, unet_lines


def test_the_table_has_a_line_for_each_way_and_a_seed_below_the_other():
    curve = read_json(DIFFUSION / "curve.json", "curve")
    rows = table([curve | {"seed": 1, "seconds": 7.0}, curve], unet_lines)
    assert [len(row) for row in rows] == [len(HEAD)] * 2
    guided = {row[0]: row[1:] for row in rows}[GUIDED]
    assert guided[0] == "500<br>500"
    assert guided[-1] == f"{curve['seconds']:.0f}<br>7"  # in the order of the seeds
    assert all(
        len(row) == len(HEAD) for row in table([read_json(UNCLIP / "curve.json", "curve")], unclip_lines)
    )


def test_a_comparison_is_written_alike_from_numbers_and_from_its_text():
    numbers = {"wins": 37, "losses": 8, "difference": 0.058, "interval": [0.034, 0.084]}
    text = "37 wins, 8 losses, 455 ties; difference +0.058 [+0.034, +0.084], n = 500"
    assert change(numbers) == change(text) == "37:8, +0.058 [+0.034, +0.084]"
