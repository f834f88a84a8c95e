"""The reader without a model: what a sentence weighs, worked out by hand, and which one is quoted."""

import math

from minillm.apps.rag import SentenceSplitter, quote
from minillm.apps.rag.quoting import weigh_sentences
from minillm.data import Document


def nodes_of(*texts):
    return SentenceSplitter().get_nodes_from_documents(
        [Document(str(n), "", text) for n, text in enumerate(texts)]
    )


def idf(df, n):
    return math.log((n - df + 0.5) / (df + 0.5) + 1)


def test_a_sentence_weighs_the_share_of_the_question_that_it_says():
    long, red = weigh_sentences("red bridge", nodes_of("The bridge is long.  The bridge\nis red."))
    assert (long.text, red.text) == ("The bridge is long.", "The bridge is red.")
    assert red.share == 1
    assert abs(long.share - idf(2, 2) / (idf(2, 2) + idf(1, 2))) < 1e-8
    assert (long.source, red.source) == (1, 1)


def test_how_rare_a_word_is_is_counted_over_the_sentences_of_all_nodes():
    long, _, *others = weigh_sentences(
        "red bridge", nodes_of("The bridge is long. The bridge is red.", "Red tea. Red soup.")
    )
    assert abs(long.share - idf(2, 4) / (idf(2, 4) + idf(3, 4))) < 1e-8
    assert [one.source for one in others] == [2, 2]


def test_of_equal_sentences_the_one_with_a_number_and_then_the_first_is_quoted():
    nodes = nodes_of(
        "The bridge was built by Han.", "The bridge was built in 1951.", "The bridge was built in 1952."
    )
    assert quote("When was the bridge built?", nodes) == "The bridge was built in 1951. [2]"
    assert quote("Who built the bridge?", nodes) == "The bridge was built by Han. [1]"


def test_nothing_is_quoted_where_no_word_is_shared():
    assert quote("penicillin?", nodes_of("The bridge is long.")) == quote("penicillin?", []) == ""
    assert weigh_sentences("penicillin?", []) == []
