"""What the tests of RAG share: facts, an index of them that needs no file, nodes by hand, chats of every kind."""

from minillm.apps.rag import Node, NodeWithScore, VectorStoreIndex
from minillm.data import fact_documents, facts
from minillm.search import HashedWords


def index_of(n=16, language="en", **options):
    """(facts, an index of their documents)."""
    some = facts(n, language=language)
    return some, VectorStoreIndex.from_documents(fact_documents(some), HashedWords(), **options)


def node(number, text="", title=""):
    """A node by hand."""
    return Node(f"d#{number}", "d", title, text or f"Text {number}.", None, None)


def scored(*texts):
    """Nodes as a retriever gives them."""
    return [NodeWithScore(node(number, text), 1 / number) for number, text in enumerate(texts, 1)]


class Finds:
    """A retriever that finds these nodes."""

    def __init__(self, *texts):
        self.found = scored(*texts)

    def retrieve(self, question):
        return self.found


class Broken:
    """A store, a search, an encoder or a model that fails."""

    dim = 8

    def fail(self, *_, **__):
        raise OSError(5, "disk on fire")

    search = score = encode = retrieve = fail
