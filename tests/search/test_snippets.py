"""Snippets: which part of a passage is shown, and what is marked in it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.search import find_snippet
from minillm.search.snippets import find_matches, stem_places

FAR = "Nothing of it stands here, only other words. " * 8


def marked(passage, query, **options):
    return find_snippet(passage, query, **options).line("[", "]")


@pytest.mark.parametrize(
    ("passage", "query", "line"),
    [
        ("The with statement enters it.", "how does WITH work", "The [with] statement enters it."),
        (
            "A function takes *args and x == y.",
            "what does *args mean",
            "A function takes [*][args] and x == y.",
        ),
        ("if x == y: pass", "== or is", "if x [==] y: pass"),
        ("멀티헤드 어텐션은 빠르다.", "어텐션이 뭐예요?", "멀티헤드 [어텐션]은 빠르다."),
        ("멀티헤드어텐션의 값", "어텐션을 설명해 줘", "멀티헤드[어텐션]의 값"),
        ("토큰의 수", "토큰이란?", "[토큰]의 수"),
        ("GPT는 글을 쓴다", "gpt가 뭐지", "[GPT]는 글을 쓴다"),
        (
            "저는 집에 간다",
            "나는 학교에 간다",
            "저는 집에 [간다]",
        ),  # an ending in common (는, 에) is no match
        ("Nothing to see", "어텐션", "Nothing to see"),
        ("", "with", ""),
        ("two\n   lines of   with", "with", "two lines of [with]"),
    ],
)
def test_what_is_marked(passage, query, line):
    assert marked(passage, query) == line


def test_a_stem_is_the_longest_beginning_of_two_syllables_or_more():
    assert stem_places("양자화된", ["양자", "양자화는"]) == [(0, 3)]
    assert stem_places("화는", ["양자화는"]) == []
    assert stem_places("양", ["양자"]) == []


def test_the_stretch_that_says_most_is_shown_and_cut_between_words():
    passage = f"A file. {FAR}The file is closed by the with statement. {FAR}"
    snippet = find_snippet(passage, "when is a file closed by with", width=80)
    assert "file is closed by the with statement" in snippet.text
    assert len(snippet.text) <= 80
    assert passage[snippet.start - 1].isspace()
    assert passage[snippet.end - 1].isspace() or passage[snippet.end].isspace()
    assert snippet.line().startswith("... ")
    assert snippet.line().endswith(" ...")
    assert [passage[start:end] for start, end in snippet.matches] == ["file", "is", "closed", "with"]


def test_a_rare_word_outweighs_two_common_ones():
    passage = f"is not here. {FAR}walrus. {FAR}"
    common_first = find_snippet(passage, "is not walrus", width=60)
    assert common_first.start == 0
    weighed = find_snippet(passage, "is not walrus", 60, {"is": 0.1, "not": 0.2, "walrus": 5.0}.get)
    assert "walrus" in weighed.text


def test_decomposed_text_keeps_its_own_places():
    passage = unicodedata.normalize("NFD", "토큰은 짧다")
    snippet = find_snippet(passage, "토큰은")
    assert [passage[start:end] for start, end in snippet.matches] == [unicodedata.normalize("NFD", "토큰은")]


@given(
    st.text("ab *=가나다은 \n.", max_size=300),
    st.text("ab *=가나다은 ", max_size=30),
    st.integers(20, 120),
)
def test_places_always_fit_the_passage(passage, query, width):
    snippet = find_snippet(passage, query, width)
    assert 0 <= snippet.start <= snippet.end <= len(passage)
    places = [place for match in snippet.matches for place in match]
    assert places == sorted(places)
    assert all(snippet.start <= place <= snippet.end for place in places)
    # no other start shows more different words: tried one by one
    longest = max((end - start for start, end, _ in find_matches(passage, query)), default=0)
    if longest <= width:
        assert len(snippet.text) <= width
        shown = {
            word for s, e, word in find_matches(passage, query) if snippet.start <= s and e <= snippet.end
        }
        for start in range(len(passage)):
            stretch = {w for s, e, w in find_matches(passage, query) if start <= s and e <= start + width}
            assert len(stretch) <= len(shown)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, "q"), "passage must be a str"),
        (("p", 3), "query must be a str"),
        (("p", "q", 19), "width must be at least 20"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        find_snippet(*arguments)
