"""Text to vectors without a neural network's depth: counts (one-hot, bag of words, TF-IDF) and word2vec."""

from minillm.search.vectors.bag_of_words import BagOfWords
from minillm.search.vectors.one_hot import OneHot
from minillm.search.vectors.sparse_rows import SparseRows
from minillm.search.vectors.tfidf import TfIdf
from minillm.search.vectors.word2vec import Word2Vec
from minillm.search.vectors.word_vectors import WordVectors

__all__ = ["BagOfWords", "OneHot", "SparseRows", "TfIdf", "Word2Vec", "WordVectors"]
