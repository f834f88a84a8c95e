"""The index: documents come, change and go; the file is the index; what a killed writer left is mended."""

import pytest

from minillm._files import BadFileError
from minillm.apps.rag import RetrievalError, SentenceSplitter, SimpleDirectoryReader, VectorStoreIndex
from minillm.data import Document, contains_answer
from minillm.search import HashedWords
from tests.apps.rag.worlds import Broken, index_of

LONG = "The tower is tall. " * 40


@pytest.fixture
def index():
    documents = [
        Document("a", "Fish", "Red fish swim in Busan.", {"lang": "en", "year": 2024}),
        Document("a#1", "배", "파란 배가 부산에 있다.", {"lang": "ko", "year": 2023}),
        Document("b", "Tower", LONG),
    ]
    return VectorStoreIndex.from_documents(documents, HashedWords(), SentenceSplitter(20, 4))


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid"])
def test_every_way_finds_the_fact_and_says_where_it_stands(mode, language):
    some, made = index_of(16, language)
    retriever = made.as_retriever(similarity_top_k=2, mode=mode)
    for one in some:
        found = [each.node for each in retriever.retrieve(one.question)]
        (node,) = [each for each in found if each.document_id == one.id]
        assert contains_answer(node.text, one.answers)
        assert node.text == one.document.text[node.start : node.end]
        assert node.title == one.document.title


def test_the_index_itself_answers(index):
    answer = index.query("Which fish swim in Busan?", similarity_top_k=1)
    assert answer == index.as_query_engine(similarity_top_k=1).query("Which fish swim in Busan?")
    assert [one.node.document_id for one in answer.source_nodes] == ["a"]
    with pytest.raises(ValueError):
        index.query("")


def test_filters_are_the_stores(index):
    found = index.as_retriever(filters={"year": {"$lt": 2024}}).retrieve("Busan 부산")
    assert {one.node.document_id for one in found} == {"a#1"}
    assert found[0].metadata == {"lang": "ko", "year": 2023}
    with pytest.raises(ValueError, match="mode must be 'dense'"):
        index.as_retriever(mode="bm25", filters={"year": 2024})


def snapshot(index):
    """All that can be found, by words too."""
    words = index.as_retriever(50, mode="bm25")
    return index.nodes(), [
        [one.node.id for one in words.retrieve(question)] for question in ("tower", "fish", "부산")
    ]


def test_insert_delete_and_refresh_leave_what_a_new_index_has(index):
    index.words()  # made before the changes: it must follow them
    shorter, new = Document("b", "Tower", "The tower is low."), Document("c", "Bread", "Bread costs 3 won.")
    same = Document("a", "Fish", "Red fish swim in Busan.", {"year": 2024, "lang": "en"})
    assert index.refresh_ref_docs([same, shorter, new]) == [False, True, True]
    assert index.refresh_ref_docs([same, shorter, new]) == [False, False, False]
    assert index.delete_ref_doc("a#1") == 1
    index.insert(Document("c", "Bread", "Bread costs 4 won."))
    fresh = VectorStoreIndex.from_documents(
        [same, shorter, Document("c", "Bread", "Bread costs 4 won.")], HashedWords(), SentenceSplitter(20, 4)
    )
    assert snapshot(index) == snapshot(fresh)
    assert index.ref_docs() == fresh.ref_docs() == ["a", "b", "c"]
    assert len(index) == 3
    with pytest.raises(ValueError, match="'a#1' which is not"):
        index.delete_ref_doc("a#1")


@pytest.mark.parametrize("mode", ["bm25", "hybrid"])
def test_a_retriever_that_was_made_before_sees_what_another_process_wrote(mode, tmp_path):
    """As many nodes as before, other words: how many there are says nothing."""
    path = tmp_path / "shared.db"
    mine = VectorStoreIndex.from_documents([Document("a", "", "red fish")], HashedWords(), path=path)
    retriever = mine.as_retriever(1, mode=mode)
    assert retriever.retrieve("fish")[0].text == "red fish"
    other = VectorStoreIndex.load(path, HashedWords())  # a connection of its own, as another process has
    other.insert(Document("b", "", "tall tower"))
    other.delete_ref_doc("a")
    assert [one.node.id for one in retriever.retrieve("tower")] == ["b#0"]
    other.insert(Document("b", "", "wide bridge"))
    assert retriever.retrieve("bridge")[0].text == "wide bridge"
    assert mode == "hybrid" or retriever.retrieve("tower") == []


def test_metadata_that_changed_is_a_change(index):
    assert index.refresh_ref_docs([Document("a", "Fish", "Red fish swim in Busan.", {"year": 2025})]) == [
        True
    ]
    assert index.nodes(["a#0"])["a#0"].metadata == {"year": 2025}


def test_only_what_changed_is_encoded_again(index, monkeypatch):
    seen = []
    real = index.encoder.encode
    monkeypatch.setattr(index.encoder, "encode", lambda texts: seen.extend(texts) or real(texts))
    index.refresh_ref_docs([Document("b", "Tower", LONG), Document("c", "", "new text")])
    assert seen == ["new text"]


def test_what_a_killed_writer_left_is_written_again(index, monkeypatch):
    """A process that dies between the new nodes and the end of the old ones leaves both."""
    with monkeypatch.context() as patched:
        patched.setattr(index.store, "delete", Broken().fail)
        with pytest.raises(OSError, match="on fire"):
            index.insert(Document("b", "Tower", "The tower is low."))
    assert len(index._ids("b")) > 1
    assert index.refresh_ref_docs([Document("b", "Tower", "The tower is low.")]) == [True]
    assert index._ids("b") == ["b#0"]


def test_the_file_is_the_index(index, tmp_path):
    path = index.persist(tmp_path / "copy.db")
    again = VectorStoreIndex.load(path, HashedWords(), SentenceSplitter(20, 4))
    assert snapshot(again) == snapshot(index)
    live = VectorStoreIndex.from_documents(
        [Document("x", "", "text one")], HashedWords(), path=tmp_path / "live.db"
    )
    live.insert(Document("y", "", "text two"))
    live.store.close()
    assert VectorStoreIndex.load(tmp_path / "live.db", HashedWords()).ref_docs() == ["x", "y"]
    with pytest.raises(ValueError, match=r"another encoder|must give vectors"):
        VectorStoreIndex.load(path, HashedWords(64))
    with pytest.raises(ValueError, match="holds 2 nodes"):
        VectorStoreIndex.from_documents([Document("z", "", "text")], HashedWords(), path=tmp_path / "live.db")
    with pytest.raises(BadFileError):
        VectorStoreIndex.load(tmp_path / "none.db", HashedWords())


def test_documents_that_will_not_do_leave_nothing_behind(index, tmp_path):
    before = snapshot(index)
    for bad, word in (
        (Document("n", "", " \n"), "document 'n' holds no text"),
        (Document("n", "", "text", {"start": 3}), r"must not use \['start'\]"),
        (Document("n", "", "text", {"x": None}), "leave the key out"),
        ("text", "documents"),
    ):
        with pytest.raises(ValueError, match=word):
            index.refresh_ref_docs([Document("new", "", "good text"), bad])
    assert snapshot(index) == before
    with pytest.raises(ValueError, match="document 'n' holds no text"):
        VectorStoreIndex.from_documents([Document("n", "", "")], HashedWords(), path=tmp_path / "x.db")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="'a' came twice"):
        VectorStoreIndex.from_documents([Document("a", "", "x"), Document("a", "", "y")], HashedWords())


def test_encoders_that_will_not_do(index, monkeypatch):
    with pytest.raises(ValueError, match="encoder must"):
        VectorStoreIndex.from_documents([], encoder=3)
    monkeypatch.setattr("minillm.apps.rag.index.available", lambda name: False)
    with pytest.raises(ValueError, match=r"minillm fetch e5.*HashedWords"):
        VectorStoreIndex.from_documents([Document("a", "", "text")])
    encoder = HashedWords()
    encoder.max_length = 100
    with pytest.raises(ValueError, match="chunk_size must leave 16 of the 100 tokens"):
        VectorStoreIndex.from_documents([Document("a", "", "text")], encoder)
    monkeypatch.setattr(index.encoder, "encode", Broken().fail)
    with pytest.raises(RetrievalError, match="on fire"):
        index.as_retriever().retrieve("fish")


def test_an_empty_index_answers_that_it_does_not_know():
    empty = VectorStoreIndex.from_documents([], HashedWords())
    for mode in ("dense", "bm25", "hybrid"):
        assert empty.as_query_engine(mode=mode).query("Where is it?").declined


def test_a_folder_becomes_an_index(tmp_path):
    (tmp_path / "a.md").write_text("# Tea\n\nTea costs 3 won.", "utf-8")
    (tmp_path / "b.csv").write_text("item,price\ncoffee,5\n", "utf-8")
    (tmp_path / "c.txt").write_bytes(b"\0")
    (tmp_path / "d.odt").write_text("x")
    reader = SimpleDirectoryReader(tmp_path)
    made = VectorStoreIndex.from_documents(reader.load_data(), HashedWords())
    assert made.ref_docs() == ["a.md", "b.csv:1"]
    assert (list(reader.refused), reader.others) == (["c.txt"], {".odt": 1})
    assert made.as_query_engine().query("What does coffee cost?").source_nodes[0].metadata == {
        "item": "coffee", "price": "5",
    }  # fmt: skip
    for bad in ({}, {"input_dir": "x", "input_files": ["y"]}, {"input_files": "y"}):
        with pytest.raises(ValueError, match="name a folder"):
            SimpleDirectoryReader(**bad)
