"""Cutting documents: nothing lost, code whole, headings as titles, repeats once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.data import Document, Passage, Question, python_docs, split_passages, split_sections
from minillm.data.passages import count_words
from tests.helpers import soak_count

DOCUMENT = Document("a", "title", "text")
MARKDOWN = """intro line

# 첫 제목

Text of the first part.

```python
# not a heading

x = 1
```

After the code.

## Second ##

Second text.
"""


def passages_of(text: str, **options) -> list[Passage]:
    return split_passages([Document("d", "the document", text)], **options)


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_markdown_sections_have_titles_and_levels_and_code_is_no_heading():
    sections = split_sections(MARKDOWN)
    assert [(section.title, section.level) for section in sections] == [
        ("", 0),
        ("첫 제목", 1),
        ("Second", 2),
    ]
    assert "# not a heading" in sections[1].text


def test_underlined_headings_are_leveled_by_first_appearance():
    text = "Title\n*****\n\na\n\nPart\n====\n\nb\n\nDetail\n------\n\nc\n\nPart two\n========\n\nd"
    assert [(s.title, s.level, s.text) for s in split_sections(text)] == [
        ("Title", 1, "a"),
        ("Part", 2, "b"),
        ("Detail", 3, "c"),
        ("Part two", 2, "d"),
    ]


def test_hangul_heading_may_be_underlined_by_width_or_by_letters():
    for line in ("====", "========"):
        assert split_sections(f"어텐션이란\n{line}\n본문")[0].title == (
            "어텐션이란" if len(line) >= 3 else ""
        )


def test_a_table_rule_or_an_indented_line_is_no_heading():
    for text in ("  indented\n=====\nbody", "-----\n-----\nbody", "word\n==================\nbody"):
        assert [section.title for section in split_sections(text)] == [""]


def test_passage_ids_titles_and_document_title_without_heading():
    passages = passages_of(MARKDOWN)
    assert [passage.id for passage in passages] == [f"d#{n}" for n in range(len(passages))]
    assert passages[0].title == "the document"
    assert passages[1].title == "첫 제목"
    assert all(passage.document_id == "d" for passage in passages)


def test_a_fenced_block_stays_whole_however_long():
    code = "```\n" + "\n\n".join(f"line {number} of the program" for number in range(100)) + "\n```"
    whole = [
        passage
        for passage in passages_of(f"Before.\n\n{code}\n\nAfter it.", max_words=20)
        if "```" in passage.text
    ]
    assert len(whole) == 1
    assert whole[0].text.count("```") == 2


def test_indented_code_stays_with_the_sentence_that_introduces_it():
    words = "filler words here " * 30
    text = f"{words}\n\nThe following code:\n\n   with open(path) as file:\n\n       file.read()\n\n{words}"
    (found,) = [p for p in passages_of(text, max_words=60) if "The following code" in p.text]
    assert "file.read()" in found.text


def test_a_definition_line_does_not_end_a_passage():
    text = (
        "word " * 55
        + "\n\nobject.__repr__(self)\n\n   Called by the repr() built-in function to make a string."
    )
    (found,) = [p for p in passages_of(text, max_words=60) if "object.__repr__" in p.text]
    assert "Called by the repr()" in found.text


def test_long_paragraph_is_cut_at_sentence_ends():
    text = " ".join(f"Sentence number {number} has six words." for number in range(50))
    passages = passages_of(text, max_words=30)
    assert len(passages) > 5
    assert all(passage.text.rstrip().endswith(".") for passage in passages)


def test_text_without_spaces_is_cut_too():
    passages = passages_of("漢字" * 5000, max_words=20, deduplicate=False)
    assert all(count_words(passage.text) <= 24 for passage in passages)
    assert squeezed("".join(passage.text for passage in passages)) == "漢字" * 5000


def test_repeated_passages_stay_in_the_shortest_document():
    shared = "With\n****\n\nThis section stands in two topics, word for word, as the reference does it."
    long = Document("compound", "c", f"Compound\n********\n\nOther text.\n\n{shared}\n")
    short = Document("with", "w", shared.replace("two topics", "two\n   TOPICS"))
    assert [p.document_id for p in split_passages([long, short])] == ["compound", "with"]
    assert len(split_passages([long, short], deduplicate=False)) == 3


texts = st.text(
    st.one_of(st.sampled_from("ab .\n\n#=`:-가힣각🙂\t"), st.characters(exclude_categories=["Cs"])),
    max_size=400,
)


@settings(max_examples=soak_count(3000))
@given(texts, st.integers(8, 40))
def test_no_text_is_lost_and_no_passage_is_empty(text, max_words):
    passages = passages_of(text, max_words=max_words, deduplicate=False)
    assert squeezed("".join(passage.text for passage in passages)) == squeezed(
        "".join(section.text for section in split_sections(text))
    )
    assert all(passage.text.strip() for passage in passages)


@settings(max_examples=soak_count(2000))
@given(st.lists(st.text(st.sampled_from("abc. 가나"), max_size=300), max_size=10), st.integers(8, 40))
def test_plain_text_passages_keep_to_the_limit(paragraphs, max_words):
    for passage in passages_of("\n\n".join(paragraphs), max_words=max_words):
        assert count_words(passage.text) <= max_words + max_words / 6 + 1


@settings(max_examples=soak_count(1000))
@given(texts)
def test_splitting_twice_gives_the_same(text):
    assert passages_of(text) == passages_of(text)


def test_reference_passages_are_of_readable_size():
    sizes = [count_words(passage.text) for passage in split_passages(python_docs())]
    assert 400 < len(sizes) < 1200
    assert sum(size > 140 for size in sizes) < 0.08 * len(sizes)


@pytest.mark.parametrize("bad", [None, "text", 3, [1], ["text"], DOCUMENT, [DOCUMENT] * 2])
def test_bad_documents_are_refused(bad):
    with pytest.raises(ValueError, match=r"document"):
        split_passages(bad)


@pytest.mark.parametrize("bad", [0, 7, -1, 1.5, None, "120", True])
def test_bad_max_words_is_refused(bad):
    with pytest.raises(ValueError, match="max_words"):
        split_passages([], max_words=bad)


@pytest.mark.parametrize("bad", [None, 1, b"bytes"])
def test_bad_text_is_refused(bad):
    with pytest.raises(ValueError, match="text"):
        split_sections(bad)


def test_no_documents_give_no_passages():
    assert split_passages([]) == []
    assert passages_of("") == []


def test_question_is_answered_by_gold_document_with_evidence():
    question = Question("?", ("with",), ("will always\nbe called",))
    assert question.answered_by(Passage("with#0", "with", "t", "It Will  always be called."))
    assert not question.answered_by(Passage("with#1", "with", "t", "It may be called."))
    assert not question.answered_by(Passage("try#0", "try", "t", "It will always be called."))
    assert Question("?", ("with",)).answered_by(Passage("with#1", "with", "t", "anything"))


@pytest.mark.parametrize("fields", [(1, "t", "x"), ("a", None, "x"), ("a", "t", ["x"]), ("a", "t", b"x")])
def test_records_hold_text_only(fields):
    with pytest.raises(ValueError, match="of a Document must be a str"):
        Document(*fields)
    with pytest.raises(ValueError, match="of a Passage must be a str"):
        Passage("a#0", *fields)


@pytest.mark.parametrize("gold", ["with", ["with"], None, (1,)])
def test_gold_is_a_tuple_of_ids(gold):
    with pytest.raises(ValueError, match="gold of a Question"):
        Question("?", gold)
