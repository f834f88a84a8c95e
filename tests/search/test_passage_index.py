"""The folder of passages that can be asked: what each method finds, and that a saved folder answers the same."""

import pytest

from minillm._files import BadFileError
from minillm.data import Document, Passage, split_passages
from minillm.search import BM25, PassageIndex, content_words
from tests.helpers import cuts

DOCUMENTS = [
    Document(
        "with",
        'The "with" statement',
        "A with statement enters a context manager and leaves it when it is done.",
    ),
    Document(
        "for",
        'The "for" statement',
        "A for statement visits the items of a sequence or another iterable one by one.",
    ),
    Document(
        "try", 'The "try" statement', "An except clause catches an exception; finally runs whatever happens."
    ),
    Document("캐시", "KV 캐시", "KV 캐시는 이미 계산한 키와 값을 저장해 두고 다음 토큰을 만들 때 다시 쓴다."),
]


@pytest.fixture(scope="module")
def index():
    return PassageIndex.build(split_passages(DOCUMENTS), steps=5, dim=8, vocab_size=300)


@pytest.mark.parametrize(
    ("query", "document"),
    [("What does with do?", "with"), ("how do I catch an exception", "try"), ("캐시가 뭐예요?", "캐시")],
)
def test_keyword_search_finds_the_passage_whatever_else_the_question_says(index, query, document):
    assert index.search(query, 1, "bm25")[0][0].document_id == document
    assert index.search_documents([query], 2, "bm25")[0][0][0] == document


def test_the_words_of_a_question_count_nothing_but_python_words_stay():
    assert content_words("How does the with statement work?") == ["with", "statement", "work"]
    assert content_words("what is not in a for") == ["is", "not", "in", "for"]
    assert content_words("토큰은 the 어텐션") == content_words("토큰은 어텐션")


def test_hybrid_is_the_fusion_of_the_two_lists(index):
    lexical, dense, hybrid = (
        index.rankings(["context manager"], 10, method)[0] for method in ("bm25", "dense", "hybrid")
    )
    expected = {}
    for ranking in (lexical, dense):
        for rank, (one, _) in enumerate(ranking, start=1):
            expected[one] = expected.get(one, 0) + 1 / (60 + rank)
    assert dict(hybrid) == pytest.approx(expected)


def test_a_saved_folder_answers_as_before(index, tmp_path):
    again = PassageIndex.load(index.save(tmp_path / "index"))
    assert len(again) == len(index) == 4
    for method in ("bm25", "dense", "hybrid"):
        assert again.rankings(["items of a sequence", "캐시"], 3, method) == index.rankings(
            ["items of a sequence", "캐시"], 3, method
        )


def test_a_cut_or_missing_file_is_refused_by_name(index, tmp_path):
    folder = index.save(tmp_path / "index")
    for path in [one for one in folder.rglob("*") if one.is_file()]:
        data = path.read_bytes()
        for length in cuts(data, at_most=25):
            path.write_bytes(data[:length])
            with pytest.raises(
                BadFileError, match=path.name.replace(".", r"\.") if path.parent == folder else "."
            ):
                PassageIndex.load(folder)
        path.unlink()
        if path.name != "checksums.json":  # without it nothing is checked, as for a folder changed on purpose
            with pytest.raises(BadFileError):
                PassageIndex.load(folder)
        path.write_bytes(data)
    PassageIndex.load(folder)


@pytest.mark.parametrize("passages", [None, "text", [], [Passage("a#0", "a", "A", "one passage")], [1, 2]])
def test_what_is_no_list_of_passages_is_refused(passages):
    with pytest.raises(ValueError, match="passages must be"):
        PassageIndex.build(passages)


def test_wrong_queries_and_methods_are_refused(index):
    with pytest.raises(ValueError, match="query must be a str, got None"):
        index.search(None)
    with pytest.raises(ValueError, match=r"method must be one of 'auto', 'bm25', .*, got 'tfidf'"):
        index.search("with", 1, "tfidf")
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        index.search("with", 0)


def test_parts_that_do_not_belong_together_are_refused(index):
    with pytest.raises(ValueError, match="must hold the same ids"):
        PassageIndex(list(index.passages.values())[:2], index.lexical, index.dense)
    with pytest.raises(ValueError, match="must hold the same ids"):
        PassageIndex(list(index.passages.values()), BM25().fit(["a", "b"]), index.dense)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("passages.json", "context manager", "context manger"),
        ("choice.json", '"dense_weight": 0.', '"dense_weight": 1.'),
        ("dense/documents.json", "with#0", "with#1"),
    ],
)
def test_a_changed_letter_is_refused_by_name(index, tmp_path, name, old, new):
    folder = index.save(tmp_path / "index")
    path = folder / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadFileError, match=f"{path.name}.*is damaged or was changed"):
        PassageIndex.load(folder)
