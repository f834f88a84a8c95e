"""BM25 against its formula by hand, its plain version, Cranfield figures of trec_eval, and bad input."""

import csv
import gzip
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm._files import BadFileError, load_arrays, save_arrays
from minillm.evaluation.ranking import ndcg, recall_at_k
from minillm.search import BM25, search_words, standard_words
from minillm.search.bm25 import bm25_plain, lucene_idf, okapi_idf
from tests.helpers import cuts, soak_count

CORPUS = ["the cat sat on the mat", "the dog chased the cat", "고양이는 매트에 앉았다", "", "dogs and cats"]


def test_one_score_by_hand():
    # "mat" is in 1 of 5 documents, once in the first, which has 6 words; all have 6 + 5 + 7 + 0 + 3 = 21 words.
    idf = math.log((5 - 1 + 0.5) / (1 + 0.5) + 1)
    expected = idf * 1 / (1 + 1.2 * (1 - 0.75 + 0.75 * 6 / (21 / 5)))
    assert [len(search_words(text)) for text in CORPUS] == [6, 5, 7, 0, 3]
    scores = BM25().fit(CORPUS).scores("mat")
    assert scores.dtype == np.float32
    assert scores.tolist() == pytest.approx([expected, 0, 0, 0, 0], rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["the cat"], ["cat"]), "a document of corpus must be a list of str, got 'the cat'"),
        (([["the", "cat"]], "cat"), "query must be a list of str, got 'cat'"),
        (([], ["cat"]), "corpus must hold at least one document, got none"),
        (([["cat"]], ["cat"], 1.2, 0.75, "bm25+"), "variant must be one of"),
    ],
)
def test_the_formula_reads_words_not_letters(arguments, message):
    with pytest.raises(ValueError, match=message):
        bm25_plain(*arguments)


def test_idf_of_both_variants():
    assert lucene_idf(1, 1) == pytest.approx(math.log(4 / 3))
    assert lucene_idf(10, 10) > 0  # a word in every document still counts a little
    # In 3 of 4, 1 of 4, 1 of 4 documents: ln(1.5 / 3.5) < 0 becomes a quarter of the mean.
    common, rare = math.log(1.5 / 3.5), math.log(3.5 / 1.5)
    assert okapi_idf([3, 1, 1], 4) == pytest.approx([0.25 * (common + 2 * rare) / 3, rare, rare])


WORDS = st.lists(st.sampled_from(["a", "b", "c", "dd", "토큰", "🙂", "e_f"]), max_size=12).map(" ".join)


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(WORDS, min_size=1, max_size=12),
    WORDS,
    st.sampled_from(["lucene", "okapi"]),
    st.sampled_from([0.0, 0.9, 1.2, 3.0]),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.integers(1, 15),
)
def test_fast_equals_plain(corpus, query, variant, k1, b, k):
    index = BM25(k1, b, str.split, variant).fit(corpus)
    if any(corpus):
        plain = np.array(bm25_plain([text.split() for text in corpus], query.split(), k1, b, variant))
    else:
        plain = np.zeros(len(corpus))
    scores = index.scores(query)
    np.testing.assert_allclose(scores, plain, rtol=2e-6, atol=2e-6)
    (ranking,) = index.search([query], k)
    shared = [i for i, text in enumerate(corpus) if set(text.split()) & set(query.split())]
    # Best first, ties in corpus order, and only documents that share a word.
    expected = sorted(shared, key=lambda i: (-scores[i], i))[:k]
    assert [document for document, _ in ranking] == expected
    assert [score for _, score in ranking] == [float(scores[i]) for i in expected]


def test_a_batch_equals_single_queries():
    index = BM25().fit(CORPUS, ids=["a", "b", "c", "d", "e"])
    queries = ["cat", "", "unknown words", "고양이가 매트", "the the dog"]
    assert index.search(queries, 3) == [index.search([query], 3)[0] for query in queries]
    assert index.search([], 3) == []


def test_what_is_not_there_is_not_found():
    index = BM25().fit(CORPUS)
    assert index.search(["zebra", "", "..."], 5) == [[], [], []]
    assert not index.scores("zebra").any()
    # k above N; "cats" is the same word
    assert [document for document, _ in index.search(["cat"], 100)[0]] == [4, 1, 0]
    as_it_stands = BM25(tokenizer=search_words).fit(CORPUS)
    assert [document for document, _ in as_it_stands.search(["cat"], 100)[0]] == [1, 0]


def test_an_empty_index_finds_nothing():
    for index in (BM25(), BM25().fit(["a", "b"])):
        index.remove(index.ids)
        assert len(index) == 0
        assert index.search(["a", "b c"], 7) == [[], []]
        assert index.scores("a").shape == index.highest_scores().shape == (0,)
        assert index.document_frequency("a") == 0


def test_texts_that_are_already_split():
    texts = ["the cat sat", "", "a dog"]
    split = BM25(tokenizer=str.split).fit([text.split() for text in texts])
    queries = ["cat dog", "", "the"]
    expected = BM25(tokenizer=str.split).fit(texts).search(queries, 3)
    assert split.search(queries, 3) == split.search([query.split() for query in queries], 3) == expected


def test_tokenizers_by_name():
    corpus = ["What is the boundary layer?", "boundary layers 경계층은 얇다"]
    assert BM25(tokenizer="english").fit(corpus).document_frequency("layer") == 2
    assert BM25(tokenizer="english").fit(corpus).document_frequency("what") == 0
    assert BM25(tokenizer="korean").fit(corpus).document_frequency("layer") == 1
    for tokenizer in (None, "korean", "standard"):
        assert BM25(tokenizer=tokenizer).fit(corpus).document_frequency("계층") == 1


def test_korean_particles_do_not_hide_a_word():
    corpus = ["토큰은 글자의 묶음이다", "어텐션은 토큰을 서로 본다", "양자화가 가중치를 줄인다"]
    index = BM25().fit(corpus)
    assert index.search(["어텐션"], 1)[0][0][0] == 1
    assert index.search(["양자화는 무엇인가"], 1)[0][0][0] == 2


def test_equal_documents_keep_their_order():
    ranking = BM25().fit(["x y", "z", "x y", "x y"]).search(["x"], 3)[0]
    assert [document for document, _ in ranking] == [0, 2, 3]
    assert len({score for _, score in ranking}) == 1


def test_documents_without_any_word():
    index = BM25().fit(["", "...", "👍"])
    assert len(index) == 3
    assert index.search(["a"], 2) == [[]]


def test_a_failed_fit_leaves_the_index_alone():
    index = BM25().fit(["a", "b"])
    with pytest.raises(ValueError, match="different"):
        index.fit(["c", "d"], ids=["same", "same"])
    assert index.search(["a"], 1)[0][0][0] == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BM25(k1=-1), "k1 must be at least 0, got -1"),
        (lambda: BM25(k1=float("nan")), "k1 must be a finite number"),
        (lambda: BM25(b=1.5), "b must be between 0 and 1, got 1.5"),
        (lambda: BM25(b="0.75"), "b must be a finite number"),
        (lambda: BM25(variant="bm25+"), "variant must be one of 'lucene', 'okapi'"),
        (lambda: BM25(tokenizer=3), "tokenizer must be a function from str to list"),
        (lambda: BM25(tokenizer=lambda text: text).fit(["a"]), "tokenizer must return a list of str"),
        (lambda: BM25().fit([]), "corpus must hold at least one text"),
        (lambda: BM25().fit("one text"), "corpus must be a list of str, got 'one text'"),
        (lambda: BM25().fit(None), "corpus must be a list of str, got None"),
        (lambda: BM25().fit({"id": "a text"}), "corpus must be a list of str, got {'id'"),
        (lambda: BM25().fit(["a", None]), "corpus must hold texts or lists of words, got None at position 1"),
        (lambda: BM25().fit([["a", 3]]), "words must be str, got 3"),
        (lambda: BM25().fit([["a", []]]), "words must be str"),
        (lambda: BM25(tokenizer=lambda text: [text, 3]).fit(["a"]), "words must be str, got 3"),
        (lambda: BM25(tokenizer="german"), "tokenizer must be one of 'standard', 'english', 'korean'"),
        (lambda: BM25().fit(["a"], ids=["x", "y"]), "got 2 ids for 1 texts"),
        (lambda: BM25().fit(["a"], ids=[1.5]), "ids must hold str or int only"),
        (lambda: BM25().fit(["a"], ids="x"), "ids must be a list"),
        (lambda: BM25().fit(["a"]).scores(["a"]), "query must hold str only"),
        (lambda: BM25().fit(["a"]).search("a", 1), "queries must be a list of str, got 'a'"),
        (lambda: BM25().fit(["a"]).search([1], 1), "got 1 at position 0"),
        (lambda: BM25().fit(["a"]).search([["a", 3]], 1), "words that are str, got one of type int"),
        (lambda: BM25().fit(["a"]).search([[["a"]]], 1), "words that are str, got one of type list"),
        (lambda: BM25().fit(["a"]).search(["a"], 0), "k must be at least 1, got 0"),
        (lambda: BM25().fit(["a"]).search(["a"], 2.0), "k must be an integer"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_saved_index_answers_alike(tmp_path):
    index = BM25(k1=0.9, b=0.4, variant="okapi").fit(CORPUS, ids=["하나", "둘", 3, "four", "5"])
    path = index.save(tmp_path / "index.bm25")
    again = BM25.load(path)
    queries = ["the cat", "고양이", "dogs"]
    assert again.search(queries, 5) == index.search(queries, 5)
    assert (again.k1, again.b, again.variant) == (0.9, 0.4, "okapi")


def test_an_own_tokenizer_must_come_again(tmp_path):
    path = BM25(tokenizer=str.split).fit(["A b"]).save(tmp_path / "index")
    with pytest.raises(ValueError, match="pass tokenizer="):
        BM25.load(path)
    assert BM25.load(path, tokenizer=str.split).search(["A"], 1)[0][0][0] == 0


def test_cut_or_damaged_files_are_refused(tmp_path):
    data = BM25().fit(CORPUS).save(tmp_path / "index").read_bytes()
    broken = tmp_path / "broken"
    for length in cuts(data):
        broken.write_bytes(data[:length])
        with pytest.raises(ValueError, match="broken"):
            BM25.load(broken)
    for position in cuts(data):
        flipped = bytearray(data)
        flipped[position] ^= 1
        broken.write_bytes(flipped)
        with pytest.raises(ValueError, match="broken"):
            BM25.load(broken)
    with pytest.raises(ValueError, match="nowhere"):
        BM25.load(tmp_path / "nowhere")


def test_postings_that_point_outside_are_refused(tmp_path):
    # A whole file with a right checksum, made by somebody else: compiled code must not follow it.
    path = BM25().fit(CORPUS).save(tmp_path / "index")
    arrays, meta = load_arrays(path, "BM25 index")
    for name, place, value in (
        ("documents", 0, 99),
        ("starts", -1, 99),
        ("starts", 1, 99),
        ("starts", 0, -5),
    ):
        wrong = {key: array.copy() for key, array in arrays.items()}
        wrong[name][place] = value
        save_arrays(path, "BM25 index", wrong, meta)
        with pytest.raises(BadFileError, match="do not fit"):
            BM25.load(path)
    shorter = {**arrays, "impacts": arrays["impacts"][:-1]}
    for name, changed, about in (
        ("a posting without its impact", (shorter, meta), "do not fit"),
        ("a word twice", (arrays, {**meta, "words": ["the"] * len(meta["words"])}), "must be different"),
        ("an id twice", (arrays, {**meta, "ids": [1, 2, 3, 3, 4]}), "must be different"),
        ("an id too few", (arrays, {**meta, "ids": [1, 2, 3, 4]}), "got 4 ids for 5 texts"),
        ("a next id that is none", (arrays, {**meta, "next_id": "5"}), "next_id must be an integer"),
    ):
        save_arrays(path, "BM25 index", *changed)
        with pytest.raises(BadFileError, match=about):
            pytest.fail(f"{name} was read: {BM25.load(path)}")


def test_impacts_that_no_formula_gives_are_read_safely(tmp_path):
    # Negative, zero and endless impacts, and a document that stands in a list twice: wrong answers, but no crash.
    path = BM25(tokenizer=str.split).fit(["a b", "a c", "a", "b a"] * 40).save(tmp_path / "index")
    arrays, meta = load_arrays(path, "BM25 index")
    for value in (-1, 0, np.nan, np.inf):
        wrong = arrays | {
            "impacts": np.where(np.arange(len(arrays["impacts"])) % 3, value, 1).astype(np.float32)
        }
        wrong["documents"] = np.zeros_like(arrays["documents"])
        save_arrays(path, "BM25 index", wrong, meta)
        index = BM25.load(path, str.split)
        assert all(len(ranking) <= 7 for ranking in index.search(["a b c", "a", "c"], 7))
        assert index.scores("a b").shape == (160,)


@settings(max_examples=soak_count(1000))
@given(st.lists(st.text(max_size=30), min_size=1, max_size=6), st.text(max_size=30))
def test_hostile_text_is_only_text(corpus, query):
    index = BM25().fit(corpus)
    scores = index.scores(query)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    shared = [bool(set(standard_words(text)) & set(standard_words(query))) for text in corpus]
    assert [bool(score) for score in scores] == shared


@pytest.fixture
def cranfield(real_data):
    """(texts, their ids, queries, {document: relevance} of each)"""
    folder = real_data("retrieval/cranfield")
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        corpus = [json.loads(line) for line in file]
    queries = [json.loads(line) for line in (folder / "queries.shared.jsonl").open(encoding="utf-8")]
    gold: dict[str, dict[str, int]] = {}
    with (folder / "qrels.shared.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            gold.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    queries = [query for query in queries if query["_id"] in gold]
    assert len(queries) == 150
    texts = [f"{one['title']} {one['text']}" for one in corpus]
    right = [gold[query["_id"]] for query in queries]
    return texts, [one["_id"] for one in corpus], [query["text"] for query in queries], right


def test_cranfield_figures(cranfield, real_data):
    truth = json.loads(real_data("metrics/retrieval_cranfield_bm25_truth.shared.json").read_text("utf-8"))
    texts, ids, queries, right = cranfield
    assert len(truth["per_query"]) == len(queries)
    index = BM25(tokenizer=lambda text: re.findall("[a-z0-9]+", text.lower())).fit(texts, ids)
    rankings = index.search(queries, 100)
    # trec_eval's figures; it orders equal scores by descending id and we by corpus order: 0.001 covers that.
    assert ndcg(rankings, right, 10) == pytest.approx(truth["mean"]["ndcg_cut_10"], abs=1e-3)
    assert recall_at_k(rankings, right, 100) == pytest.approx(truth["mean"]["recall_100"], abs=1e-3)


def test_the_default_words_find_more_of_cranfield(cranfield):
    texts, ids, queries, right = cranfield
    assert ndcg(BM25().fit(texts, ids).search(queries, 10), right, 10) >= 0.37
    assert ndcg(BM25(tokenizer="english").fit(texts, ids).search(queries, 10), right, 10) >= 0.37


def test_ids_and_words_that_are_no_text_are_not_saved(tmp_path):
    bad = "name-\udcff"
    with pytest.raises(ValueError, match=r"half a surrogate pair.*name-\\udcff"):
        BM25().fit(["one"], [bad]).save(tmp_path / "index")
    with pytest.raises(ValueError, match="half a surrogate pair"):
        BM25(tokenizer=str.split).fit([bad]).save(tmp_path / "index")
    assert not list(tmp_path.iterdir())
