"""The parts of the recorded run of reranking: what is learned from, and what is kept over runs."""

import numpy as np
import pytest
import torch

from minillm.search import BM25, Pair
from minillm.search.before_and_after import BeforeAndAfter, compared, figures
from tests.benchmarks import record
from tests.benchmarks.rerank_quality import KeptScores, examination, trained, window_pairs, windows
from tests.benchmarks.sentence_quality import WINDOW


def test_wrong_windows_are_of_other_contexts():
    first = "a cat sleeps. ".ljust(WINDOW, "x") + "the dog barks at the cat"
    second = "a dog and a cat. ".ljust(WINDOW, "y")
    assert [len(one) for one in windows(first)] == [WINDOW, len(first) - WINDOW]
    (one, two) = window_pairs([Pair("dog barks", first), Pair("a dog", second)], BM25(), 2)
    assert one.positive == first[WINDOW:]
    assert one.negatives == (second,)
    assert two.positive == second
    assert set(two.negatives) <= set(windows(first))


class Judge:
    def __init__(self):
        self.read = []

    def score(self, pairs, activation):
        assert activation == "identity"
        self.read += pairs
        return np.array([len(text) for _, text in pairs], np.float32)


def test_no_pair_is_scored_twice_and_a_cut_line_is_scored_again(tmp_path):
    path, judge = tmp_path / "scores.jsonl", Judge()
    pairs = [("q", "one"), ("q", "three"), ("q", "one"), ("r", "one")]
    assert KeptScores(judge, path).score(pairs).tolist() == [3, 5, 3, 3]
    assert judge.read == [("q", "one"), ("q", "three"), ("r", "one")]
    text = path.read_text("utf-8")
    path.write_text(text[:-5], "utf-8")
    again = Judge()
    assert KeptScores(again, path).score(pairs).tolist() == [3, 5, 3, 3]
    assert again.read == [("r", "one")]
    assert path.read_text("utf-8") == text
    assert KeptScores(Judge(), None).score(pairs[:1]).tolist() == [3]


def test_trained_layers_are_read_and_not_trained_again(tmp_path):
    def module():
        made = torch.nn.Module()
        made.blocks = torch.nn.ModuleList([torch.nn.Linear(2, 2) for _ in range(3)])
        return made

    one, other = module(), module()

    def train():
        with torch.no_grad():
            for parameter in one.blocks[2].parameters():
                parameter += 1

    trained(tmp_path / "layers", one, 1, train)
    first = other.blocks[0].weight.clone()
    trained(tmp_path / "layers", other, 1, lambda: pytest.fail("trained again"))
    assert torch.equal(other.blocks[2].weight, one.blocks[2].weight)
    assert torch.equal(other.blocks[0].weight, first)


def test_nothing_of_the_examination_is_learned(real_data):
    folder = real_data("klue/klue-mrc-v1.1_dev_first1350.shared.jsonl.gz").parents[1]
    own, pairs = examination(folder, 50, 40)
    assert (len(pairs), len(own.queries), len(own.gold)) == (50, 40, 40)
    learned = {text for pair in pairs for text in pair[:2]}
    assert learned.isdisjoint(own.queries)
    assert learned.isdisjoint(own.corpus[one] for right in own.gold for one in right)


def test_figures_and_comparisons_are_counted_by_hand():
    after, before = np.array([1.0, 2.0, np.inf, 1.0]), np.array([2.0, 1.0, 6.0, 1.0])
    assert figures(after) == {"hit@1": 0.5, "hit@5": 0.75, "MRR": pytest.approx(2.5 / 4)}
    found = compared(after, before)
    assert found["hit@1"][:3] == (1, 1, 2)
    assert found["hit@5"][:3] == (0, 0, 4)
    assert found["MRR"][:3] == (1, 2, 1)
    assert BeforeAndAfter({"before": before, "after": after}).comparisons() == found


def test_rows_make_their_block_and_replace_their_own(tmp_path, monkeypatch):
    page = tmp_path / "BENCHMARKS.md"
    page.write_text("# Page\n", "utf-8")
    monkeypatch.setattr(record, "PAGE", page)
    record.put_rows("some", ["name", "n"], [["b", "1"], ["a", "2"]], [])
    record.put_rows("some", ["name", "n"], [["b", "3"]], [])
    assert page.read_text("utf-8").endswith(
        "<!-- bench:some -->\n| name | n |\n| --- | --- |\n| a | 2 |\n| b | 3 |\n<!-- /bench:some -->\n"
    )
