"""The E5S1 container: what stands in a file is read, and a file that lies is refused by its name."""

import struct
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm._files import BadFileError
from minillm.data.e5s1 import is_e5s1, read_e5s1
from minillm.data.gguf_blocks import dequantize, quantize
from minillm.models import load_model
from minillm.tokenizer import load_tokenizer
from tests.e5s1 import (
    HEADS,
    INNER,
    PIECES,
    POSITIONS,
    REPLACED,
    SCORES,
    SPARE,
    TYPES,
    WIDTH,
    e5s1_bytes,
    weights,
)
from tests.helpers import cuts, soak_count

WHOLE = e5s1_bytes()
SMALL = e5s1_bytes(layers=1)


def written(tmp_path, data):
    path = tmp_path / "x.bin"
    path.write_bytes(data)
    return path


def test_what_stands_in_a_file_is_read(tmp_path):
    file = read_e5s1(written(tmp_path, WHOLE))
    assert dict(file.sizes) == {
        "width": WIDTH, "layers": 2, "heads": HEADS, "inner_width": INNER, "vocabulary": len(PIECES) + SPARE,
        "positions": POSITIONS, "token_types": TYPES,
    }  # fmt: skip
    assert file.eps == np.float32(1e-12)
    assert file.pieces == PIECES
    np.testing.assert_array_equal(file.scores, np.array(SCORES, np.float32))
    assert file.special == {"bos": 0, "eos": 2, "pad": 1, "unk": 3}
    assert file.replacements == REPLACED
    assert list(file.tensors) == list(weights())
    for name, array in weights().items():
        tensor = file.tensors[name]
        expected = array.reshape(-1)
        if tensor.kind == "Q4_0":
            expected = dequantize(quantize(array, "Q4_0"), "Q4_0")
        np.testing.assert_array_equal(file.read(name), expected)
    assert {file.tensors[name].kind for name in ("emb.word", "l1.fo.w")} == {"Q4_0"}
    with pytest.raises(ValueError, match=r"has no tensor 'l9\.q\.w'"):
        file.read("l9.q.w")


def test_a_file_is_known_by_how_it_begins(tmp_path):
    assert is_e5s1(written(tmp_path, WHOLE))
    assert not is_e5s1(written(tmp_path, b"E5S"))
    assert not is_e5s1(tmp_path)
    assert not is_e5s1(tmp_path / "none.bin")


@pytest.mark.parametrize("data", [WHOLE, e5s1_bytes(replaced={})])
def test_a_file_cut_anywhere_is_refused(tmp_path, data):
    head = len(data) - sum(len(quantize(a, "Q4_0")) if a.ndim == 2 else a.nbytes for a in weights().values())
    for size in sorted({*cuts(data), *range(4, head, 13)}):
        path = written(tmp_path, data[:size])
        with pytest.raises(BadFileError, match=r"x\.bin"):
            read_e5s1(path)
        if size >= 4:
            with pytest.raises(BadFileError, match=r"x\.bin"):
                load_model(path)
            with pytest.raises(BadFileError, match=r"x\.bin"):
                load_tokenizer(path)


def moved(name, **changes):
    """An entry of the directory with other values."""

    def entry(one, old):
        fields = dict(zip(("code", "weights", "start", "size"), old))
        return tuple((fields | {k: v(old) for k, v in changes.items()}).values()) if one == name else old

    return entry


WRONG = {
    "no magic": ({"magic": b"GGUF"}, "does not begin with E5S1"),
    "version": ({"version": 2}, "version 2 with blocks of 32"),
    "block": ({"block": 64}, "blocks of 64"),
    "no width": ({"width": 0}, "no model has the sizes"),
    "heads": ({"heads": 3}, "no model has the sizes"),
    "eps": ({"eps": float("nan")}, "no model has the sizes"),
    "many pieces": ({"count": 2**31 - 1}, "promises 2,147,483,647 pieces"),
    "no pieces": ({"count": -1}, "promises -1 pieces"),
    "special": ({"special": (0, 2, 2, 3)}, "must be four different ids"),
    "special high": ({"special": (0, 2, 1, 99)}, "must be four different ids"),
    "text size": ({"text_size": 2**63}, "bytes of the text of the pieces"),
    "begins": ({"begins": [0, 9, 3, *range(10, 8 + len(PIECES))]}, "do not follow one another"),
    "score": ({"scores": [float("inf")] * len(PIECES)}, "a score is no finite number"),
    "twice": ({"replaced": {}, "replacements": 2, "codes": [(65, [66]), (65, [67])]}, "'A' comes twice"),
    "surrogate": ({"replacements": 1, "codes": [(0xD800, [66])]}, "0xd800 is the number of no character"),
    "beyond": ({"replacements": 1, "codes": [(65, [0x110000])]}, "0x110000 is the number of no character"),
    "many replacements": ({"replacements": 2**31 - 1}, "promises 2,147,483,647 replacements"),
    "their size": ({"replaced_size": 3}, "the replacements end at byte"),
    "many tensors": ({"tensors": 2**31 - 1}, "promises 2,147,483,647 tensors"),
    "fewer tensors": ({"tensors": 3}, "expected"),
    "type": ({"entry": moved("l0.q.w", code=lambda old: 7)}, "is of type 7"),
    "weights": ({"entry": moved("l0.q.w", weights=lambda old: 2**32 - 32)}, "says 4,294,967,264 weights"),
    "size": ({"entry": moved("l0.q.w", size=lambda old: 2**64 - 1)}, "in 18,446,744,073,709,551,615 bytes"),
    "start": ({"entry": moved("l0.q.w", start=lambda old: 2**64 - 1)}, "begins at byte|end at byte"),
    "overlap": ({"entry": moved("l0.q.w", start=lambda old: old[2] - 18)}, "begins at byte"),
    "longer": ({"tail": b"\0"}, "the file at"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_lies_is_refused_and_says_why(tmp_path, name):
    changes, message = WRONG[name]
    path = written(tmp_path, e5s1_bytes(**changes))
    tracemalloc.start()
    try:
        with pytest.raises(BadFileError, match=message) as raised:
            read_e5s1(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20  # the file has 18 kB
    finally:
        tracemalloc.stop()
    assert "x.bin" in str(raised.value)


def test_what_text_cannot_be_is_refused(tmp_path):
    pieces = [*PIECES[:-1], b"\xff\xfe"]
    with pytest.raises(BadFileError, match="utf-8"):
        read_e5s1(written(tmp_path, e5s1_bytes(pieces=pieces)))
    with pytest.raises(BadFileError, match="a piece comes twice"):
        read_e5s1(written(tmp_path, e5s1_bytes(pieces=[*PIECES[:-1], PIECES[5]])))


@pytest.mark.parametrize("path", ["nothing.bin", "empty.bin"])
def test_no_file_is_said(tmp_path, path):
    (tmp_path / "empty.bin").write_bytes(b"")
    with pytest.raises(BadFileError, match=rf"{path}.*cannot be read"):
        read_e5s1(tmp_path / path)


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    for name in ("l0.q.w", "l1.oln.b"):
        start = read_e5s1(written(tmp_path, WHOLE)).tensors[name].start
        data = bytearray(WHOLE)
        data[start : start + 4] = (
            struct.pack("<f", float("nan")) if name.endswith("b") else b"\x00\x7c\x00\x00"
        )
        path = written(tmp_path, bytes(data))
        with pytest.raises(BadFileError, match=rf"damaged: {name} holds inf or nan"):
            load_model(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 2**31 - 1}, "which 2,147,483,647 layers do not have"),
        ({"vocabulary": 2**31 - 1}, "its sizes say \\(2147483647, 32\\)"),
        ({"positions": 21}, "'emb.pos' has 640 weights"),
        ({"width": 2**31 - 4}, "its sizes say"),
        ({"inner": 128}, "'l0.fi.w' has 2,048 weights"),
        (
            {"entry": lambda name, entry: entry, "arrays": {"x" + n: a for n, a in weights().items()}},
            "has 0 weights",
        ),
    ],
)
def test_sizes_that_do_not_fit_the_tensors_are_refused(tmp_path, changes, message):
    data = bytearray(WHOLE)
    if "arrays" in changes:
        data = e5s1_bytes(**changes)
    else:  # only the header changes
        names = ("width", "layers", "heads", "inner", "vocabulary", "positions", "types")
        ((name, value),) = changes.items()
        struct.pack_into("<i", data, 8 + 4 * names.index(name), value)
    path = written(tmp_path, bytes(data))
    start = time.perf_counter()
    with pytest.raises(BadFileError, match=message):
        load_model(path)
    assert time.perf_counter() - start < 5  # and not after a million layers


@pytest.mark.timeout(120)
def test_a_flipped_byte_gives_a_whole_model_or_none(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flips")
    head = read_e5s1(written(folder, SMALL)).tensors["emb.word"].start
    anywhere = st.one_of(st.integers(0, head), st.integers(0, len(SMALL) - 1))

    @settings(max_examples=soak_count(2000), deadline=None)
    @given(st.lists(st.tuples(anywhere, st.integers(0, 255)), min_size=1, max_size=3))
    def flip(changes):
        data = bytearray(SMALL)
        for place, value in changes:
            data[place] = value
        path = written(folder, bytes(data))
        if model := opened(load_model, path):
            assert not any(p.is_meta or p.isnan().any() for p in model.parameters())
        if tokenizer := opened(load_tokenizer, path):
            assert tokenizer.encode("hello 한국어")

    flip()


def opened(load, path):
    """What `load` gives, or None where it refuses the file by its name; nothing else may happen."""
    try:
        return load(path)
    except BadFileError as error:
        message = str(error)
    if "x.bin" not in message:
        raise AssertionError(message)
    return None
