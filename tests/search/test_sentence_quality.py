"""Does multilingual-e5-small find Korean texts? On questions of KLUE-MRC; skips without the model or the data."""

import os
from pathlib import Path

import pytest

from minillm.data import available
from minillm.evaluation import paired
from minillm.search import SentenceEncoder
from tests.benchmarks.search_quality import QuestionSet, klue_set
from tests.benchmarks.sentence_quality import BASE, places

pytestmark = pytest.mark.skipif(
    not available("e5"), reason="needs multilingual-e5-small: `minillm fetch e5` (91 MB)"
)


@pytest.fixture(scope="module")
def encoder():
    return SentenceEncoder.from_pretrained("e5")


@pytest.fixture
def klue(real_data):
    real_data("klue/klue-mrc-v1.1_dev_first1350.shared.jsonl.gz")
    return klue_set(Path(os.environ["MINILLM_DATA"]))


def test_most_questions_find_their_text_among_a_few(encoder, klue):
    few = klue.documents[:15]
    kept = [pair for pair in zip(klue.questions, klue.gold) if pair[1] <= {one.id for one in few}]
    small = QuestionSet(few, *map(list, zip(*kept)))
    found = places(small, encoder, len(kept))
    assert len(kept) >= 10
    assert (found["e5"] <= 1).mean() >= 0.8
    assert (found["e5"] <= 3).all()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_what_benchmarks_md_says_of_300_questions(encoder, klue):
    found = places(klue, encoder, 300)
    hits = {name: int((one <= 1).sum()) for name, one in found.items()}
    assert abs(hits["BM25, words"] - 196) <= 1
    assert abs(hits[BASE] - 267) <= 1
    assert abs(hits["e5"] - 251) <= 4  # vectors differ in the last bit, and so may a near-tie
    assert abs(hits["RRF of e5 and syllable pairs"] - 270) <= 4
    assert paired(found["e5"] <= 1, found["BM25, words"] <= 1).p < 1e-6
