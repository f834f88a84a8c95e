"""Questions answered from documents: retrieval-augmented generation (RAG, 검색 증강 생성).

Read first: nodes.py, splitter.py, retriever.py, then query_engine.py, and what stands between: budget.py, prompts.py,
citations.py. Documents come from files through `minillm.data.text_files.read_files`.
"""

from minillm._lazy import lazy

_ROOMS = {
    "budget": ("Budget", "Fitted", "budget_of", "byte_count", "fit_sources"),
    "citations": ("CitationCheck", "check_citations"),
    "index": ("VectorStoreIndex",),
    "nodes": ("GenerationError", "Node", "NodeWithScore", "RetrievalError"),
    "prompts": ("UNKNOWN", "rag_messages", "short_messages", "source_text"),
    "query_engine": ("Answer", "QueryEngine", "StreamingAnswer"),
    "quoting": ("quote",),
    "reading": ("SimpleDirectoryReader",),
    "retriever": ("Retriever", "StoreSearch"),
    "sentences": ("sentence_spans",),
    "splitter": ("SentenceSplitter", "counter_of", "cut_long", "split_text"),
}
__getattr__, __dir__, __all__ = lazy(__name__, _ROOMS)
