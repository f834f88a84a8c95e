"""The encoder trained here: counting, factorising, training, encoding, and the retriever around it."""

import unicodedata
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from minillm.search import (
    BM25,
    DenseRetriever,
    ExactIndex,
    HashedWords,
    HNSWIndex,
    IVFIndex,
    NSWIndex,
    StaticEncoder,
    cooccurrence_vectors,
    train_encoder,
)
from minillm.search.cooccurrence import count_neighbours, ppmi, randomized_svd
from minillm.search.encoder_training import TokenPassage, inverse_document_frequency, make_pair
from minillm.search.static_encoder import mean_plain, normalise_text
from minillm.tokenizer import BPETokenizer
from tests.helpers import cuts


@dataclass
class Text:
    title: str
    text: str


# Four subjects with two names each. The two names never stand in one passage; only their company is the same.
SUBJECTS = {
    "Cats": (["cat", "feline"], ["purrs", "meows", "drinks milk", "catches mice", "scratches the sofa"]),
    "Dogs": (["dog", "canine"], ["barks", "growls", "fetches the ball", "guards the yard", "chews a bone"]),
    "고양이": (["고양이", "나비"], ["야옹 운다", "우유를 마신다", "쥐를 잡는다", "소파를 긁는다"]),
    "강아지": (["강아지", "멍뭉이"], ["멍멍 짖는다", "공을 물어 온다", "마당을 지킨다", "뼈를 씹는다"]),
}


def subject_passages() -> list[Text]:
    generator = np.random.default_rng(0)
    found = []
    for title, (names, habits) in SUBJECTS.items():
        for number in range(12):
            name = names[number % 2]
            chosen = [habits[i] for i in generator.permutation(len(habits))[:3]]
            found.append(Text(title, " ".join(f"{name} {habit}." for habit in chosen)))
    return found


PASSAGES = subject_passages()


@pytest.fixture(scope="module")
def encoder():
    return train_encoder(PASSAGES, vocab_size=500, dim=16, steps=60, batch_size=16)


def test_neighbours_by_hand():
    words, contexts, times = count_neighbours([[0, 1, 2], [1, 0]], 3, window=1)
    found = dict(zip(zip(words.tolist(), contexts.tolist(), strict=True), times.tolist(), strict=True))
    assert found == {(0, 1): 2, (1, 0): 2, (1, 2): 1, (2, 1): 1}
    words, contexts, _ = count_neighbours([[0, 1, 2]], 3, window=2)
    assert (0, 2) in set(zip(words.tolist(), contexts.tolist(), strict=True))


def test_ppmi_by_hand():
    words, contexts, times = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([1, 3, 3, 1])
    # P(w) = P(c) = 1/2 both: ln(1/8 / (1/4)) < 0 becomes 0, ln(3/8 / (1/4)) stays
    expected = [0, np.log(1.5), np.log(1.5), 0]
    np.testing.assert_allclose(ppmi(words, contexts, times, 2, power=1.0), expected, rtol=1e-6)


def test_singular_values_equal_torch():
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(60, 5, generator=generator) @ torch.randn(5, 40, generator=generator)
    left, values = randomized_svd(matrix, 5)
    whole = torch.linalg.svd(matrix)
    torch.testing.assert_close(values, whole.S[:5], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close((left.T @ whole.U[:, :5]).abs(), torch.eye(5), rtol=1e-3, atol=1e-3)


def test_vectors_of_tokens_that_keep_the_same_company():
    # 2 and 3 always stand between 0 and 1; 6 and 7 between 4 and 5.
    sequences = [[0, 2, 1], [0, 3, 1], [4, 6, 5], [4, 7, 5]] * 5
    vectors = cooccurrence_vectors(sequences, 9, dim=4, window=2)
    length = np.linalg.norm(vectors, axis=1)
    assert vectors.shape == (9, 4)
    assert vectors.dtype == np.float32
    assert length[:8].mean() == pytest.approx(1, abs=1e-5)
    assert not vectors[8].any()
    assert vectors[2] @ vectors[3] / (length[2] * length[3]) > 0.99
    assert abs(vectors[2] @ vectors[6]) < 1e-3
    assert cooccurrence_vectors(sequences, 9, dim=20, window=2).shape == (9, 20)


def test_inverse_document_frequency_by_hand():
    weights = inverse_document_frequency([[0, 0, 1], [0]], 3)
    np.testing.assert_allclose(weights, np.log([2 / 3 + 1, 2 / 2 + 1, 2 / 1 + 1]), rtol=1e-6)


def test_pairs_take_the_question_out_of_the_answer():
    sentences = [[10, 11, 12, 13], [20, 21, 22, 23, 24], [30, 31]]
    passage = TokenPassage([1, 2], sentences, [token for one in sentences for token in one])
    generator = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        question, answer = make_pair(passage, generator)
        if question == [1, 2]:
            seen.add("title")
            assert answer == passage.text
        elif question in sentences and answer[:2] == [1, 2]:
            seen.add("sentence")
            assert answer == [1, 2, *(token for one in sentences if one != question for token in one)]
        else:
            seen.add("window")
            assert 3 <= len(question) <= 9
            assert sorted(question + answer) == sorted(passage.text)
    assert seen == {"title", "sentence", "window"}


def test_training_finds_the_subject(encoder):
    # The other name of a subject is nearer than any name of another one, though it shares no passage with it.
    names = [name for names, _ in SUBJECTS.values() for name in names]
    like = encoder.encode(names) @ encoder.encode(names).T
    np.fill_diagonal(like, -1)
    assert like.argmax(axis=1).tolist() == [1, 0, 3, 2, 5, 4, 7, 6]


def test_same_seed_same_vectors(encoder):
    losses = []
    again = train_encoder(
        PASSAGES,
        vocab_size=500,
        dim=16,
        steps=60,
        batch_size=16,
        on_step=lambda step, loss: losses.append(loss),
    )
    np.testing.assert_array_equal(again.embeddings, encoder.embeddings)
    assert len(losses) == 60
    assert np.mean(losses[-20:]) < np.mean(losses[:20])
    state = torch.get_rng_state()
    train_encoder(PASSAGES, vocab_size=300, dim=4, steps=2, batch_size=4, seed=1)
    assert torch.equal(state, torch.get_rng_state())  # nobody else's random numbers were used


TEXTS = [
    "A cat purrs",
    "",
    "고양이는 잔다",
    "👍🏽",
    "def f(x):\n    return x",
    "x" * 500,
    " ",
    "İstanbul ΟΔΟΣ",
]


def test_batches_equal_the_plain_mean(encoder):
    plain = np.array([mean_plain(encoder.embeddings, encoder.tokens(text)) for text in TEXTS])
    for batch_size in (1, 3, 100):
        vectors = encoder.encode(TEXTS, batch_size=batch_size)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, plain, atol=1e-6)
    lengths = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(lengths[[0, 2]], 1, rtol=1e-5)
    assert not vectors[1].any()
    raw = encoder.encode(TEXTS, normalize=False)
    np.testing.assert_allclose(raw[0], encoder.embeddings[encoder.tokens(TEXTS[0])].mean(axis=0), atol=1e-6)
    assert encoder.encode([]).shape == (0, 16)


def test_letter_case_and_composition_do_not_matter(encoder):
    first = encoder.encode(["With 고양이"])
    second = encoder.encode([unicodedata.normalize("NFD", "with 고양이").upper()])
    np.testing.assert_array_equal(first, second)
    assert normalise_text("") == ""


def test_saved_encoder_is_the_same(encoder, tmp_path):
    again = StaticEncoder.from_pretrained(encoder.save_pretrained(tmp_path / "encoder"))
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))


FILES = [
    "tokenizer.json",
    "model.safetensors",
    "modules.json",
    "config_sentence_transformers.json",
    "1_Normalize/config.json",
]


@pytest.mark.parametrize("name", FILES)
def test_cut_files_are_refused(encoder, tmp_path, name):
    folder = encoder.save_pretrained(tmp_path / "encoder")
    data = (folder / name).read_bytes()
    for length in cuts(data, at_most=40):
        (folder / name).write_bytes(data[:length])
        with pytest.raises(ValueError, match=name):
            StaticEncoder.from_pretrained(folder)
    (folder / name).unlink()
    with pytest.raises(ValueError, match=name):
        StaticEncoder.from_pretrained(folder)


def test_a_foreign_tokenizer_is_refused(encoder, tmp_path):
    folder = encoder.save_pretrained(tmp_path / "encoder")
    encoder.tokenizer.save(folder / "tokenizer.json")  # without our normalizer: other ids for the same text
    with pytest.raises(ValueError, match="not saved by a StaticEncoder"):
        StaticEncoder.from_pretrained(folder)


def test_retriever_finds_and_names(encoder):
    ids = [f"{one.title}#{number}" for number, one in enumerate(PASSAGES)]
    retriever = DenseRetriever(encoder).fit([one.text for one in PASSAGES], ids)
    assert len(retriever) == len(PASSAGES)
    rankings = retriever.search(["my feline purrs", "멍멍 짖는 강아지", ""], 4)
    assert rankings[0][0][0].startswith("Cats")
    assert rankings[1][0][0].startswith("강아지")
    assert rankings[2] == []  # no token, no direction
    scores = [score for _, score in rankings[0]]
    assert scores == sorted(scores, reverse=True)
    direct = encoder.encode(["my feline purrs"]) @ encoder.encode([one.text for one in PASSAGES]).T
    np.testing.assert_allclose(scores, np.sort(direct[0])[::-1][:4], atol=1e-6)
    assert retriever.search(["cat"], 3) == [retriever.search(["cat"], 99)[0][:3]]


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_retriever_metrics(encoder, metric):
    corpus = [one.text for one in PASSAGES]
    ranking = DenseRetriever(encoder, ExactIndex(16, metric)).fit(corpus).search(["a cat"], 5)[0]
    cosines = encoder.encode(corpus) @ encoder.encode(["a cat"])[0]
    # On vectors of length 1 the three order alike, by |q - x|^2 = 2 - 2 cos; passages of the same words are near ties,
    # so the scores are compared and not the ids.
    best = np.sort(cosines)[::-1][:5]
    expected = best if metric != "l2" else 2 * best - 2
    np.testing.assert_allclose([score for _, score in ranking], expected, atol=1e-6)
    np.testing.assert_allclose(cosines[[document for document, _ in ranking]], best, atol=1e-6)
    retriever = DenseRetriever(encoder, ExactIndex(16, metric)).fit(corpus)
    everything = cosines if metric != "l2" else 2 * cosines - 2
    np.testing.assert_allclose(retriever.scores("a cat"), everything, atol=1e-6)
    assert not retriever.scores("").any()


def test_an_empty_retriever_finds_nothing(encoder):
    retriever = DenseRetriever(encoder)
    assert retriever.search(["a cat", "a dog"], 3) == [[], []]
    assert retriever.scores("a cat").shape == (0,)
    assert retriever.fit(["a cat"]).search([], 3) == []
    with pytest.raises(ValueError, match="queries must be a list of str"):
        DenseRetriever(encoder).search("a cat")


def test_an_index_that_fails_leaves_the_retriever_alone(encoder, monkeypatch):
    retriever = DenseRetriever(encoder).fit(["a cat", "a dog"], ["c", "d"])
    before = retriever.search(["feline"], 2)

    def full(self, vectors, ids=None):
        raise MemoryError("no room for the vectors")

    with monkeypatch.context() as patch:
        patch.setattr(ExactIndex, "add", full)
        with pytest.raises(MemoryError, match="no room"):
            retriever.fit(["a bird", "a fish", "a cow"])
    assert retriever.search(["feline"], 2) == before
    assert len(retriever.fit(["a bird", "a fish", "a cow"]).search(["a bird"], 9)[0]) == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.full((2, 16), np.nan, np.float32), "must be finite"),
        (np.zeros((1, 16), np.float32), "got 1 for 2"),
        (np.zeros((2, 3), np.float32), r"shape \(N, 16\)"),
        ("no vectors", r"shape \(N, 16\)"),
    ],
)
def test_an_encoder_that_fails_leaves_the_retriever_alone(encoder, monkeypatch, wrong, message):
    retriever = DenseRetriever(encoder).fit(["a cat", "a dog"], ["c", "d"])
    before = retriever.search(["feline"], 2)
    with monkeypatch.context() as patch:
        patch.setattr(encoder, "encode", lambda texts: wrong)
        with pytest.raises(ValueError, match=message):
            retriever.fit(["one", "two"])
    assert retriever.search(["feline"], 2) == before


def test_a_retriever_takes_vectors_as_lists_or_tensors_and_one_for_each_question(encoder, monkeypatch):
    expected = DenseRetriever(encoder).fit(["a cat", "a dog"]).search(["feline", "a dog"], 2)
    encode = encoder.encode
    for change in (np.ndarray.tolist, torch.from_numpy, lambda rows: torch.from_numpy(rows).requires_grad_()):
        with monkeypatch.context() as patch:
            patch.setattr(encoder, "encode", lambda texts, change=change: change(encode(texts)))
            retriever = DenseRetriever(encoder).fit(["a cat", "a dog"])
            assert retriever.search(["feline", "a dog"], 2) == expected
            assert retriever.scores("feline").shape == (2,)
    retriever = DenseRetriever(encoder).fit(["a cat", "a dog"])
    monkeypatch.setattr(encoder, "encode", lambda texts: encode(texts)[1:])
    with pytest.raises(ValueError, match="must give a vector a text, got 1 for 2"):
        retriever.search(["feline", "a dog"], 2)


def test_embeddings_of_any_length_that_is_taken_give_unit_vectors(encoder):
    for length in (1e-3, 1.0, 1e18):
        scaled = StaticEncoder(encoder.tokenizer, encoder.embeddings * np.float32(length))
        np.testing.assert_allclose(scaled.encode(TEXTS), encoder.encode(TEXTS), atol=1e-5)
    with pytest.raises(ValueError, match="no longer than 1e\\+19"):
        StaticEncoder(encoder.tokenizer, np.full_like(encoder.embeddings, 1e19))
    tiny = (encoder.embeddings * np.float32(1e-13)).astype(np.float32)
    plain = [mean_plain(tiny, encoder.tokens(text)) for text in TEXTS]
    np.testing.assert_allclose(StaticEncoder(encoder.tokenizer, tiny).encode(TEXTS), plain, atol=1e-6)


def test_retriever_fits_again_and_is_saved(encoder, tmp_path):
    retriever = DenseRetriever(encoder).fit(["old text", "older text"])
    retriever.fit(["a cat", "a dog", "고양이"], ids=["c", "d", 3])
    assert len(retriever.index) == 3
    again = DenseRetriever.load(retriever.save(tmp_path / "dense"))
    assert again.search(["feline", "고양이"], 3) == retriever.search(["feline", "고양이"], 3)
    (tmp_path / "dense" / "documents.json").write_text('{"ids": ["c"]}')
    with pytest.raises(ValueError, match="do not belong together"):
        DenseRetriever.load(tmp_path / "dense")
    with pytest.raises(ValueError, match="nowhere"):
        DenseRetriever.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "make",
    [HNSWIndex, NSWIndex, lambda dim, metric: IVFIndex(dim, metric, n_lists=2)],
    ids=["hnsw", "nsw", "ivf"],
)
def test_a_retriever_takes_each_index_and_loads_the_one_that_it_saved(encoder, tmp_path, make):
    plain = DenseRetriever(encoder).fit(["a cat", "a dog", "고양이"])
    retriever = DenseRetriever(encoder, make(16, "cosine")).fit(["a dog"]).fit(["a cat", "a dog", "고양이"])
    questions = ["feline", "", "고양이"]
    for one in (retriever, DenseRetriever.load(retriever.save(tmp_path))):
        assert type(one.index) is type(retriever.index)
        found, expected = one.search(questions, 9), plain.search(questions, 9)
        assert [[id for id, _ in row] for row in found] == [[id for id, _ in row] for row in expected]
        np.testing.assert_allclose(one.scores("feline"), plain.scores("feline"), atol=1e-6)
        assert not one.scores("").any()
        assert len(one.fit(["a cat"]).search(["a cat"], 9)[0]) == 1


def test_an_encoder_that_cannot_be_stored_is_passed_to_load(tmp_path):
    words = HashedWords(64)
    retriever = DenseRetriever(words).fit(["a cat", "a dog"])
    folder = retriever.save(tmp_path)
    with pytest.raises(ValueError, match="built with its own encoder: pass encoder="):
        DenseRetriever.load(folder)
    assert DenseRetriever.load(folder, words).search(["cat"], 2) == retriever.search(["cat"], 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.encode("one text"), "texts must be a list of str, got 'one text'"),
        (lambda e: e.encode([None]), "got None at position 0"),
        (lambda e: e.encode(["a"], batch_size=0), "batch_size must be at least 1"),
        (lambda e: StaticEncoder(e.tokenizer, e.embeddings[:-1]), "a row for each of"),
        (lambda e: StaticEncoder(e.tokenizer, e.embeddings.astype(float)), "finite float32"),
        (lambda e: train_encoder([]), "at least two"),
        (lambda e: train_encoder(PASSAGES[:1]), "at least two"),
        (lambda e: train_encoder(["a", "b"]), "items with .title and .text"),
        (lambda e: train_encoder(None), "items with .title and .text"),
        (lambda e: train_encoder([Text("a", None)] * 2), "titles and texts that are str"),
        (lambda e: train_encoder(PASSAGES, steps=-1), "steps must be at least 0"),
        (lambda e: train_encoder(PASSAGES, vocab_size=10), "vocab_size"),
        (lambda e: cooccurrence_vectors([[1]], 5), "at least one text of two tokens"),
        (lambda e: cooccurrence_vectors([[1, 7]], 5), "between 0 and 4"),
        (lambda e: cooccurrence_vectors([], 5), "at least one text of two tokens"),
        (lambda e: cooccurrence_vectors([[0, 1]], 5, dim=0), "dim must be at least 1"),
        (lambda e: DenseRetriever(None), "encoder must have encode"),
        (lambda e: DenseRetriever(e, ExactIndex(3)), "index must be empty and of width 16"),
        (lambda e: DenseRetriever(e, BM25()), "index must be empty"),
        (lambda e: DenseRetriever(e).save("unused"), r"call fit\(corpus\) first"),
        (lambda e: DenseRetriever(e).fit([]), "at least one text"),
        (lambda e: DenseRetriever(e).fit(["a"], ids=["a", "b"]), "got 2 ids for 1 texts"),
        (lambda e: DenseRetriever(e).fit(["a"]).search(["a"], 0), "k must be at least 1"),
        (lambda e: DenseRetriever(e).fit(["a"]).search("a"), "queries must be a list of str"),
    ],
)
def test_bad_input_is_named(encoder, call, message):
    with pytest.raises(ValueError, match=message):
        call(encoder)


def test_given_tokenizer_is_used():
    tokenizer = BPETokenizer.train(["a cat purrs"], vocab_size=260, special_tokens=())
    assert train_encoder(PASSAGES, tokenizer=tokenizer, dim=4, steps=1).tokenizer is tokenizer
