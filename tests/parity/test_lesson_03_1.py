"""The weights that lesson 03_1 says the gguf package gives for a block: it does."""

from __future__ import annotations

import ast

import numpy as np
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize

from minillm.course.lessons.notebooks import find_exercises, read_notebook, source
from minillm.course.paths import LIBRARY


def test_the_recorded_block_is_read_so_by_the_gguf_package():
    notebook = read_notebook(LIBRARY.parent / "notebooks" / "03_1_checkpoints.ipynb")
    (exercise,) = [one for one in find_exercises(notebook) if one.id == "03-1-b"]
    tree = ast.parse(source(notebook["cells"][exercise.test]))
    block = next(node for node in ast.walk(tree) if isinstance(node, ast.Assign)).value.args[0]
    data = np.frombuffer(bytes.fromhex(eval(compile(ast.Expression(block), "block", "eval"))), np.uint8)
    recorded = ast.literal_eval(
        next(node for node in ast.walk(tree) if isinstance(node, ast.Assert)).test.comparators[0]
    )
    assert len(recorded) == 32
    assert dequantize(data, GGMLQuantizationType.Q4_0).tolist() == recorded
