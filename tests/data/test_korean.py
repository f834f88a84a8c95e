"""Korean: particles by sound, and a corpus that is coherent, distinct and answerable."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.data import korean_documents, korean_english_pairs, korean_questions, with_particle
from minillm.data.korean_world import MOST_ENTRIES, MOST_OF_PART, world
from minillm.data.particles import Korean, final_consonant


def test_final_consonant_equals_the_unicode_decomposition_of_every_syllable():
    for code in range(0xAC00, 0xD7A4):
        parts = unicodedata.normalize("NFD", chr(code))
        expected = ord(parts[2]) - 0x11A7 if len(parts) == 3 else 0
        assert final_consonant(chr(code)) == expected


@pytest.mark.parametrize(
    ("word", "topic", "way"),
    [
        ("사과", "사과는", "사과로"), ("귤", "귤은", "귤로"),
        ("밥", "밥은", "밥으로"), ("서울", "서울은", "서울로"),
        ("BM25", "BM25는", "BM25로"), ("GPT", "GPT는", "GPT로"),
        ("LLM", "LLM은", "LLM으로"), ("URL", "URL은", "URL로"),
        ("3", "3은", "3으로"), ("2", "2는", "2로"),
        ("10", "10은", "10으로"), ("100", "100은", "100으로"),
        ("1,000", "1,000은", "1,000으로"), ("20,000", "20,000은", "20,000으로"),
        ("0", "0은", "0으로"), ("1000000000000", "1000000000000는", "1000000000000로"),
        ("0.5", "0.5는", "0.5로"), ("2027", "2027은", "2027로"),
        ("token", "token은", "token으로"), ("transformer", "transformer는", "transformer로"),
        ("model", "model은", "model로"), ("토큰(token)", "토큰(token)은", "토큰(token)으로"),
        ("『책』", "『책』은", "『책』으로"), ("embedding", "embedding은", "embedding으로"),
    ],
)  # fmt: skip
def test_particles_follow_the_sound(word, topic, way):
    assert with_particle(word, "은/는") == topic
    assert with_particle(word, "으로/로") == way


def test_decomposed_hangul_takes_the_same_particle():
    for word in ("귤", "사과", "밥"):
        decomposed = unicodedata.normalize("NFD", word)
        assert with_particle(decomposed, "을/를") == decomposed + with_particle(word, "을/를")[len(word) :]


def test_format_specification_adds_the_particle():
    assert f"{Korean('어텐션'):이/가} {Korean('귤'):>3}" == "어텐션이   귤"


@given(st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=1, max_size=8))
def test_any_hangul_word_takes_one_of_the_two_forms(word):
    assert with_particle(word, "이/가") in {word + "이", word + "가"}


@pytest.mark.parametrize("bad", ["", "...", "🙂", None, 3])
def test_a_word_without_a_reading_is_refused(bad):
    with pytest.raises(ValueError, match="word"):
        with_particle(bad, "은/는")


@pytest.mark.parametrize("bad", ["은", "은/", "/는", "은/는/가", None])
def test_a_bad_particle_pair_is_refused(bad):
    with pytest.raises(ValueError, match="forms"):
        with_particle("귤", bad)


# A noun with the wrong particle, for the nouns that the made-up country uses most.
WRONG = re.compile(
    r"(골|들|못|섬|벌|숲|산|관|책|다람쥐들|수달|밥|전|죽|국)(는|가|를|와) |"
    r"(재|내|터|도토리|물고기|사과|여우|고슴도치|다람쥐|두더지|살쾡이|족제비|국수|찌개|수제비)(은|이|을|과) "
)


def test_no_sentence_has_a_wrong_particle():
    assert WRONG.search("가온골는 마을이다.")
    assert WRONG.search("여우을 보았다.")
    for document in korean_documents(1500):
        assert not WRONG.search(document.text), document.text


def test_documents_are_distinct_and_a_longer_list_begins_with_the_shorter():
    many, few = korean_documents(600, seed=5), korean_documents(100, seed=5)
    assert many[:100] == few
    assert len({document.id for document in many}) == len({document.text for document in many}) == 600
    assert korean_documents(600, seed=6)[36:] != many[36:]
    assert korean_documents(600, seed=6)[:36] == many[:36]


def test_there_are_thousands_of_distinct_sentences():
    sentences = {s for document in korean_documents(3036) for s in re.split(r"(?<=다\.) ", document.text)}
    assert len(sentences) > 8000
    assert all(sentence.endswith("다.") for sentence in sentences)


def test_written_texts_are_several_sentences_each():
    written = [document for document in korean_documents(200) if document.id.startswith("llm-")]
    assert len(written) >= 30
    assert all(document.text.count("다.") >= 3 for document in written)
    assert all(unicodedata.is_normalized("NFC", document.text) for document in written)


@pytest.mark.parametrize("seed", [0, 11])
def test_every_question_is_answered_by_its_document_alone_as_gold(seed):
    documents = {document.id: document for document in korean_documents(1200, seed)}
    questions = korean_questions(1200, seed)
    assert len(questions) > 1200
    assert sum(question.kind == "written" for question in questions) >= 30
    assert len({question.text for question in questions}) == len(questions)
    for question in questions:
        (gold,) = question.gold
        assert question.evidence[0] in documents[gold].text, question


@pytest.mark.parametrize("part", ["train", "held_out"])
def test_every_question_in_english_is_answered_by_the_english_twin_of_the_same_id(part):
    twins = {document.id: document for document in korean_documents(300, 3, part, "en")}
    korean = {document.id: document for document in korean_documents(300 + 36, 3, part)}
    questions = korean_questions(300, 3, part, language="en", every=True)
    assert len(questions) == len({one.text for one in questions}) == 3 * len(twins) == 900
    for question in questions:
        (gold,) = question.gold
        assert question.evidence[0] in twins[gold].text, question
        assert question.text.isascii()
        assert question.text.endswith("?")
        numbers = set(re.findall(r"\d{4}", twins[gold].text))  # years: an article and its twin are one
        assert numbers & set(re.findall(r"\d{4}", korean[gold].text)) or not numbers


def test_one_of_a_unit_is_singular_in_english():
    texts = [one.text for one in korean_documents(3000, 3, language="en")]
    texts += [one.evidence[0] for one in korean_questions(3000, 3, language="en", every=True)]
    found = re.findall(
        r"(?<![\d.])1 (?:kilo|giga|centi|year|minute|serving|entr|token|block)\w*", " ".join(texts)
    )
    assert set(found) == {"1 kilogram", "1 gigabyte"}


def test_the_three_questions_of_an_entry_hold_the_drawn_one_and_a_language_draws_the_same():
    drawn, every = korean_questions(336, 5), korean_questions(336, 5, every=True)
    assert [one for one in every if one in drawn] == drawn
    world_only = [one for one in drawn if one.kind == "world"]
    assert len(every) - len(drawn) == 2 * len(world_only) == 600
    for korean, english in zip(world(60, 5), korean_questions(60, 5, language="en"), strict=True):
        (asked,) = [one for one in korean.asked if one.question == korean.question]
        assert english.text == asked.english_question


def test_no_english_article_or_question_stands_on_both_sides():
    def texts(part):
        entries = world(MOST_OF_PART[part], 1, part)
        sentences = {english for entry in entries for _, english in entry.sentences}
        return sentences | {asked.english_question for entry in entries for asked in entry.asked}

    assert len(texts("train")) > 10_000
    assert texts("train").isdisjoint(texts("held_out"))


@pytest.mark.parametrize("function", [korean_documents, korean_questions])
def test_a_language_that_is_neither_is_refused(function):
    with pytest.raises(ValueError, match="language"):
        function(50, language="fr")
    with pytest.raises(ValueError, match="n must be"):
        function(MOST_ENTRIES + 1, language="en")  # the 36 written texts are in Korean


def test_every_is_a_flag():
    with pytest.raises(ValueError, match="every"):
        korean_questions(50, every="yes")


def test_english_twin_has_the_same_numbers():
    for korean, english in korean_english_pairs(2000):
        numbers = {
            n.replace(",", "") for n in re.findall(r"\d[\d,]*(?:\.\d+)?", korean) if "월" not in korean
        }
        if "억" not in korean:
            found = {n.rstrip(",").replace(",", "") for n in re.findall(r"\d[\d,]*(?:\.\d+)?", english)}
            assert {n.rstrip(",") for n in numbers} <= found, (korean, english)


def test_sizes_of_made_up_models_follow_from_their_parameters():
    for entry in world(600):
        text = " ".join(korean for korean, _ in entry.sentences)
        if found := re.search(r"파라미터는 (\d+)억.*가중치는 ([\d.]+)기가.*양자화하면 ([\d.]+)기가", text):
            parameters, whole, quarter = int(found[1]) * 1e8, float(found[2]), float(found[3])
            assert whole == pytest.approx(parameters * 16 / 8 / 1e9)
            assert quarter == pytest.approx(parameters * 4 / 8 / 1e9)


def test_pairs_are_distinct_and_limited():
    pairs = korean_english_pairs(500, seed=2)
    assert len({korean for korean, _ in pairs}) == 500
    with pytest.raises(ValueError, match="at most"):
        korean_english_pairs(10**6)


@pytest.mark.parametrize("function", [korean_documents, korean_questions, korean_english_pairs])
@pytest.mark.parametrize("bad", [{"n": n} for n in (0, -1, 1.5, None, 10**7)] + [{"seed": -1}, {"seed": "a"}])
def test_bad_numbers_are_refused(function, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        function(**bad)


def test_world_has_a_limit():
    assert len(world(MOST_ENTRIES)) == MOST_ENTRIES
    with pytest.raises(ValueError, match="between 0 and 3000"):
        world(MOST_ENTRIES + 1)
