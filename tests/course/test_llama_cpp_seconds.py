"""llama.cpp's time a token, asked for from outside."""

import importlib.util

import pytest

from minillm.course.page.llama_cpp import llama_cpp_seconds


def test_what_cannot_be_asked_is_refused():
    for options in ({"new": 0}, {"rounds": 0}, {"threads": 0}, {"deadline": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(options))):
            llama_cpp_seconds("none.gguf", [1], **options)
    with pytest.raises(ValueError, match="token id"):
        llama_cpp_seconds("none.gguf", [-1])


@pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None, reason="needs `pip install -e '.[xllamacpp]'`"
)
def test_a_file_that_is_not_there_ends_with_a_message(tmp_path):
    with pytest.raises(RuntimeError, match=r"llama\.cpp ended with"):
        llama_cpp_seconds(tmp_path / "none.gguf", [1])
