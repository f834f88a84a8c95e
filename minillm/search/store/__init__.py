"""A vector database: records of a vector and metadata that survive, are filtered, and are found by nearness."""

from minillm.search.store.filters import matches, parse_filter
from minillm.search.store.qdrant import qdrant_filter
from minillm.search.store.sparse import hybrid_weights
from minillm.search.store.vector_store import VectorStore

__all__ = ["VectorStore", "hybrid_weights", "matches", "parse_filter", "qdrant_filter"]
