"""The list of terms: no contradiction, no gap, and glossaries that follow it word for word."""

import re
import unicodedata

import pytest

from minillm._files import BadFileError
from minillm.course.lessons.terms import glossary, glossary_problems, main, term, terms


def test_there_are_enough_and_each_has_three_parts():
    assert len(terms()) >= 150
    for one in terms().values():
        assert all(part == part.strip() and part for part in one)
        assert re.search(r"[\uac00-\ud7a3]|^[A-Z][A-Za-z0-9]+$", one.korean), one  # Hangul, or a proper name
        assert unicodedata.is_normalized("NFC", one.korean + one.meaning)
        assert not one.meaning.endswith(".")
        assert len(one.meaning) < 110, one


def test_no_two_terms_differ_in_letter_case_only_and_no_korean_stands_for_two():
    names = [name.lower() for name in terms()]
    assert len(set(names)) == len(names)
    korean = [one.korean for one in terms().values()]
    assert sorted({word for word in korean if korean.count(word) > 1}) == []


def test_the_books_own_words_are_used():
    assert term("FlashAttention").korean == "플래시어텐션"
    assert term("speculative decoding").korean == "추측 디코딩"
    assert term("reciprocal rank fusion").korean == "상호 순위 조합"
    assert term("gradient accumulation").korean == "그레이디언트 누적"


def test_a_glossary_is_a_table_in_the_order_asked_for():
    lines = glossary("special token", "token").splitlines()
    assert lines[:2] == ["| English | 한국어 | meaning |", "|---|---|---|"]
    assert lines[2].startswith("| special token | 특수 토큰 | a string such as <\\|endoftext\\|> ")
    assert lines[3].startswith("| token | 토큰 | ")
    assert glossary_problems("## Glossary\n\n" + "\n".join(lines) + "\n\nNext: more.") == []


def test_rows_that_are_not_on_the_list_are_found():
    changed = glossary("token", "KV cache").replace("KV 캐시", "KV 저장소") + "\n| tokn | 토큰 | x |"
    found = glossary_problems(changed)
    assert len(found) == 2
    assert "'KV cache' must be: | KV cache | KV 캐시 |" in found[0]
    assert "no term is named 'tokn'" in found[1]
    assert "token" in found[1]


def test_an_unknown_term_is_refused():
    for bad in ("no such term", None):
        with pytest.raises(ValueError, match="term"):
            glossary(bad)


def test_the_command_prints_a_table_or_says_what_is_wrong(capsys):
    assert main(["token", "KV cache"]) == 0
    assert capsys.readouterr().out == glossary("token", "KV cache") + "\n"
    assert main(["nothing"]) == 1
    assert main([]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(terms()) + 2


@pytest.mark.parametrize("text", ['["a"', '[a]\n"x" = ["y"]', '[a]\n"x" = 3', 'a = 1', '[a]\n"x" = [1, "m"]',
                                  '[a]\n"x" = ["y", "m"]\n[b]\n"x" = ["y", "m"]'])  # fmt: skip
def test_a_damaged_list_is_refused_by_name(tmp_path, text):
    path = tmp_path / "terms.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadFileError, match=r"terms\.toml"):
        terms(path)
