"""What numba keeps on disk is thrown away when any file changes whose code is part of it."""

import shutil
from pathlib import Path

from tests.compiled_files import LINE, ROOT, called, wrong


def test_every_checksum_fits():
    assert wrong() == {}, "python -m tests.compiled_files --write"


def test_a_change_in_any_file_that_is_called_is_seen(tmp_path):
    shutil.copytree(ROOT / "minillm", tmp_path / "minillm", ignore=shutil.ignore_patterns("__pycache__"))
    step = tmp_path / "minillm/inference/fused_decode.py"
    others = called(step, tmp_path)
    assert {path.name for path in others} >= {"fused_matvec.py", "fused_layout.py", "loops.py", "lookup.py"}
    for other in others:
        before = other.read_bytes()
        other.write_bytes(before + b"\n# a change\n")
        assert step in wrong(tmp_path), other.name
        other.write_bytes(before)
    assert wrong(tmp_path) == {}
    step.write_bytes(LINE.sub(b"", step.read_bytes()))
    assert list(wrong(tmp_path)) == [step]


def test_a_file_that_calls_no_compiled_code_of_others_needs_none():
    assert called(Path(ROOT / "minillm/tokenizer/word_table.py")) == set()
