"""Vectors that are kept: nothing is encoded twice, and what another encoder made is not taken."""

import signal

import numpy as np
import pytest

from minillm.search.index_store import uninterrupted
from minillm.search.kept_vectors import PART, PROBE, KeptVectors


class Encoder:
    """Counts what it is asked for; its vectors are (length, first character, seed)."""

    dim = 3

    def __init__(self, seed=0.0):
        self.seed, self.asked = seed, []

    def encode(self, texts):
        self.asked.append(list(texts))
        rows = [[len(text), ord(text[:1] or " ") % 97, self.seed] for text in texts]
        return np.array(rows, np.float32).reshape(-1, 3)


TEXTS = [f"text {'x' * (number % 50)}{number}" for number in range(3 * PART)]


def test_each_text_is_encoded_once_and_comes_in_its_place():
    encoder = Encoder()
    kept = KeptVectors(encoder)
    texts = TEXTS + TEXTS[::-1] + ["", "한글"]
    np.testing.assert_array_equal(kept.encode(texts), Encoder().encode(texts))
    assert sorted(text for part in encoder.asked for text in part) == sorted(set(texts))
    assert max(map(len, encoder.asked)) == PART
    calls = len(encoder.asked)
    kept.encode_document(TEXTS)
    assert len(encoder.asked) == calls
    assert kept.encode([]).shape == (0, 3)
    assert kept.missing(["new", "new", TEXTS[0]]) == 1


def test_questions_and_texts_are_kept_apart():
    class Prompted(Encoder):
        def encode_query(self, texts):
            return self.encode([f"query: {text}" for text in texts])

    kept = KeptVectors(Prompted())
    document, query, again = kept.encode(["a"]), kept.encode_query(["a"]), kept.encode(["a"])
    assert (query != document).any()
    np.testing.assert_array_equal(again, document)


def test_a_run_that_stopped_goes_on(tmp_path):
    class Stops(Encoder):
        def encode(self, texts):
            if len(self.asked) == 3:  # the probe and two parts
                raise KeyboardInterrupt
            return super().encode(texts)

    with pytest.raises(KeyboardInterrupt):
        KeptVectors(Stops(), tmp_path).encode(TEXTS)
    encoder, counts = Encoder(), []
    kept = KeptVectors(encoder, tmp_path, counts.append)
    assert kept.missing(TEXTS) == PART
    np.testing.assert_array_equal(kept.encode(TEXTS), Encoder().encode(TEXTS))
    assert [len(part) for part in encoder.asked] == [1, PART]
    assert counts == [PART]


def test_parts_of_another_encoder_and_damaged_ones_are_not_taken(tmp_path):
    KeptVectors(Encoder(), tmp_path).encode(TEXTS)
    assert KeptVectors(Encoder(), tmp_path).missing(TEXTS) == 0
    assert KeptVectors(Encoder(0.5), tmp_path).missing(TEXTS) == len(TEXTS)
    first, second, _ = sorted(tmp_path.glob("*.vectors"))
    first.write_bytes(first.read_bytes()[:-7])
    data = bytearray(second.read_bytes())
    data[-1] ^= 1
    second.write_bytes(data)
    assert KeptVectors(Encoder(), tmp_path).missing(TEXTS) == 2 * PART
    np.testing.assert_array_equal(KeptVectors(Encoder(), tmp_path).encode(TEXTS), Encoder().encode(TEXTS))


def test_the_probe_tells_encoders_apart(tmp_path):
    kept = KeptVectors(Encoder(), tmp_path)
    probe = Encoder().encode([PROBE])[0]
    assert kept.is_made_by_same(probe.tolist())
    for other in (None, "x", [1.0], (probe + 0.01).tolist(), [[1, 2], [3]], [float("nan")] * 3):
        assert not kept.is_made_by_same(other)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.full((1, 3), np.nan), "the encoder's vectors must be finite"),
        (np.ones((1, 2)), r"of shape \(N, 3\)"),
        (np.ones((2, 3)), "must give a vector a text, got 2 for 1"),
    ],
)
def test_bad_vectors_are_refused_and_none_is_kept(tmp_path, vectors, message):
    encoder = Encoder()
    kept = KeptVectors(encoder, tmp_path)
    encoder.encode = lambda texts: vectors
    with pytest.raises(ValueError, match=message):
        kept.encode(["a"])
    assert not list(tmp_path.iterdir())
    assert kept.missing(["a"]) == 1
    with pytest.raises(ValueError, match="encoder must have encode"):
        KeptVectors(5)
    with pytest.raises(ValueError, match="texts must be a list of str, got 'ab'"):
        kept.missing("ab")
    with pytest.raises(ValueError, match=r"vectors must be \(2, 3\), got "):
        kept.take(["a", "b"], np.ones((1, 3), np.float32))


def test_the_probe_is_there_without_a_folder():
    assert KeptVectors(Encoder()).is_made_by_same(KeptVectors(Encoder()).probe)
    assert not KeptVectors(Encoder()).is_made_by_same(KeptVectors(Encoder(0.5)).probe)


def test_a_folder_may_be_named_by_a_str_and_is_no_file(tmp_path):
    KeptVectors(Encoder(), str(tmp_path)).encode(TEXTS)
    assert KeptVectors(Encoder(), tmp_path).missing(TEXTS) == 0
    (tmp_path / "notes").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="folder must be a folder, "):
        KeptVectors(Encoder(), tmp_path / "notes")


def test_an_interrupt_waits_for_the_block():
    done, before = (
        [],
        signal.getsignal(signal.SIGINT),
    )  # a suite in the background is born with SIGINT ignored

    def interrupted():
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("the rest of the block")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done
    assert signal.getsignal(signal.SIGINT) is before
