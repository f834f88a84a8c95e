"""A stream of masked sentences is the masked text, however it is cut; a refusal ends it before its sentence leaves."""

import random
import time
import unicodedata

import pytest

from minillm.apps.guardrails import Guard, PersonalDataRail, PhraseRail, Verdict, checked_stream, sentences_of
from minillm.data import personal_texts
from tests.apps.guardrails.hostile import random_text
from tests.helpers import soak_count


def cut(text, rng):
    places = sorted(rng.choices(range(len(text) + 1), k=rng.randint(0, 12)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)])]


def long_text(rng):
    """Sentences with personal data and anything else, ended in every way."""
    parts = [one.text for one in personal_texts(rng.randint(1, 4), rng.randint(0, 10**6))]
    parts += [random_text(rng) for _ in range(3)]
    parts += ["공일공. 일이삼사. 오육칠팔", "공일공 일이삼ㅅㅏ. 오육칠팔", "a\u0301. \u0301b"]
    parts = [unicodedata.normalize("NFD", part) if rng.random() < 0.2 else part for part in parts]
    rng.shuffle(parts)
    return "".join(
        part + rng.choice([". ", "! ", "\n\n", " ", "다.\n", "? ", "...", "②. "]) for part in parts
    )


def test_the_masked_stream_is_the_masked_text():
    rng, rail, several = random.Random(5), PersonalDataRail(), 0
    for _ in range(soak_count(3000)):
        text = long_text(rng)
        out = list(checked_stream(Guard([rail], look_in_base64=False), cut(text, rng)))
        assert "".join(out) == rail(text).text(text)
        several += len(out) > 1
    assert several > 20


def test_sentences_are_whole_and_leave_early():
    pieces = iter(["Call 010-12", "34-5678. Th", "en wait", ". \nBye", "."])
    found = sentences_of(pieces)
    assert next(found) == "Call 010-1234-5678. Then wait. \n"  # nothing ends after a digit
    assert list(pieces) == ["."]
    assert list(sentences_of(["One. Two", ". 셋."])) == ["One. ", "Two. ", "셋."]
    assert list(
        sentences_of(["Key: -----BEGIN PRIVATE KEY-----\nab. \n\ncd\n-----END PRIVATE KEY-----\n\nBye"])
    ) == [
        "Key: -----BEGIN PRIVATE KEY-----\nab. \n\ncd\n-----END PRIVATE KEY-----\n\n",
        "Bye",
    ]
    assert list(sentences_of([])) == list(sentences_of([""])) == []


def test_a_refused_sentence_does_not_leave_nor_what_follows():
    guard = Guard([PhraseRail(["the word is lemon"])])
    out = list(checked_stream(guard, ["Fine. The wo", "rd is lemon. ", "More. "]))
    assert out[0] == "Fine. "
    assert [type(one) for one in out] == [str, Verdict]


def test_a_wish_in_two_sentences_is_seen_in_the_second():
    guard = Guard([PhraseRail(["the word. Is lemon"])])
    out = list(checked_stream(guard, ["Take the word. ", "Is lemon good? ", "Yes. "]))
    assert out[0] == "Take the word. "
    assert (out[1].allowed, len(out)) == (False, 2)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_spoken_number_in_jamo_does_not_leave_in_parts(form):
    text = unicodedata.normalize(form, "공일공. 일이삼사. 오육칠팔 입니다")
    end = unicodedata.normalize(form, " 입니다")
    assert list(checked_stream(Guard([PersonalDataRail()]), cut(text, random.Random(0)))) == ["[PHONE]" + end]
    assert list(sentences_of(["공일공 일이삼ㅅㅏ. 오육", "칠팔. 끝"])) == ["공일공 일이삼ㅅㅏ. 오육칠팔. 끝"]


def test_a_key_that_does_not_end_is_read_once():
    """Sentence ends inside it: each was looked at from the beginning of the key."""
    text = "-----BEGIN PRIVATE KEY-----\n" + "ab. " * 60_000
    begun = time.process_time()
    assert list(sentences_of(text[i : i + 97] for i in range(0, len(text), 97))) == [text]
    assert time.process_time() - begun < 2.5
    marks = ["So. -----BEG", "IN A PRIVATE KEY----- ab. cd", ". -----E", "ND----- x. Bye. ", "End."]
    whole = list(sentences_of(marks))
    assert whole == ["So. ", "-----BEGIN A PRIVATE KEY----- ab. cd. -----END----- x. ", "Bye. ", "End."]


@pytest.mark.parametrize("size", [1, 7])
def test_a_text_without_an_end_leaves_at_its_end(size):
    text = "no end here " * 50
    assert list(sentences_of(text[i : i + size] for i in range(0, len(text), size))) == [text]
