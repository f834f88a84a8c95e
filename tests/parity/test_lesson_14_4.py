"""The logits that lesson 14_4 says transformers gives for a tiny LLaVA: it does."""

from __future__ import annotations

import ast

import pytest
import torch

from minillm.course.lessons.notebooks import code_cells, read_notebook, source
from minillm.course.paths import LIBRARY
from minillm.models import LLaVA, LLaVAConfig
from tests.parity.folders import transformers


@pytest.fixture(scope="module")
def cells():
    notebook = read_notebook(LIBRARY.parent / "notebooks" / "14_4_llava.ipynb")
    return [source(cell) for cell in code_cells(notebook)]


@torch.no_grad()
def test_the_recorded_logits_are_those_of_transformers(cells, tmp_path):
    (tiny,) = [cell for cell in cells if cell.startswith("def tiny_llava")]
    (proof,) = [cell for cell in cells if cell.startswith("recorded = ")]
    made = {"torch": torch, "LLaVA": LLaVA, "LLaVAConfig": LLaVAConfig}
    exec(tiny, made)
    made["tiny_llava"]().save_pretrained(tmp_path)
    theirs = transformers.LlavaForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32).eval()
    expected = theirs(input_ids=made["tiny_ids"], pixel_values=made["tiny_pixels"]).logits[0, -1]
    recorded = ast.literal_eval(ast.parse(proof).body[0].value)
    assert len(recorded) == len(expected) == 21
    assert (torch.tensor(recorded) - expected).abs().max() < 1.1e-3
    other = theirs(input_ids=made["tiny_ids"], pixel_values=-made["tiny_pixels"]).logits[0, -1]
    assert (other - expected).abs().max() > 0.1  # the picture counts
