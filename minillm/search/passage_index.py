"""A folder of passages that can be asked: keyword, dense and hybrid search over one set of passages.

    index = PassageIndex.build(passages);  index.search("what does with do", 5);  index.save(folder)

The folder holds passages.json, bm25.index, dense.index and encoder/. It is what `minillm index` writes and
`minillm search` and `minillm ask` open. Book: 10.4.3 하이브리드 검색 구현하기, 9.1 검색 증강 생성(RAG).
"""
