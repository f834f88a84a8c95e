"""BLEU, chrF and ROUGE against their published figures, and where the answer can be said beforehand."""

import gzip
import json
import math
import unicodedata

import pytest

from minillm.evaluation import (
    bleu,
    bleu_parts,
    chrf,
    exact_match,
    f1,
    lexical_support,
    rouge,
    rouge_parts,
    sentence_bleu,
)
from minillm.evaluation.bleu import tokenize_13a
from minillm.evaluation.rouge import lcs_places, lcs_table

WORST = 1e-6


@pytest.fixture(scope="module")
def pairs(real_data):
    path = real_data("metrics/text_metrics_truth.shared.jsonl.gz")
    return [json.loads(line) for line in gzip.open(path, "rt", encoding="utf-8")]


@pytest.fixture(scope="module")
def translations(real_data):
    def lines(name):
        return gzip.open(real_data(f"metrics/{name}"), "rt", encoding="utf-8").read().split("\n")[:-1]

    written = lines("nmt_deen_output.txt.gz")
    return written, [line.replace("@@ ", "") for line in lines("nmt_deen_ref_bpe.txt.gz")]


def test_sentences_have_sacrebleus_figures(pairs):
    counted = 0
    for row in pairs:
        given, ours = row["hyp"], [row["ref"]]
        if "chrf" not in row:  # no reference: sacrebleu gives no figure
            continue
        assert sentence_bleu(given, ours) == pytest.approx(row["sacrebleu_sentence_bleu_13a_exp"], abs=WORST)
        assert sentence_bleu(given, ours, tokenize="char") == pytest.approx(
            row["sacrebleu_bleu_char"], abs=WORST
        )
        assert chrf([given], ours) == pytest.approx(row["chrf"], abs=WORST)
        counted += 1
    assert counted > 100


def test_sentences_have_rouge_scores_figures(pairs):
    rows = [row for row in pairs if "rouge" in row]
    assert len(rows) > 50
    for row in rows:
        found = rouge_parts(row["hyp"], row["ref"])
        for kind, parts in row["rouge"].items():
            assert found[kind] == pytest.approx(parts, abs=WORST), (row["id"], kind)


def test_the_corpus_has_the_published_figures(translations, real_data):
    truth = json.loads(real_data("metrics/text_metrics_corpus_truth.json").read_text())
    assert bleu(*translations) == pytest.approx(truth["en_corpus_bleu_13a"], abs=WORST)
    assert bleu(*translations, tokenize="none") == pytest.approx(truth["en_corpus_bleu_none"], abs=WORST)
    assert chrf(*translations) == pytest.approx(truth["en_corpus_chrf"], abs=WORST)


def test_bleu_of_what_can_be_counted_by_hand():
    # the classic: seven times "the"; the reference has it twice, so that two of seven match
    seven = bleu_parts(
        ["the the the the the the the"], ["the cat is on the mat"], max_order=1, tokenize="none"
    )
    assert seven.matches == (2,)
    assert seven.totals == (7,)
    assert seven.brevity_penalty == 1
    assert seven.score == pytest.approx(200 / 7)
    short = bleu_parts(["the cat"], ["the cat is on"], max_order=2)
    assert short.precisions == (100, 100)
    assert short.score == pytest.approx(100 * math.exp(1 - 4 / 2))
    # of references of 3 and 5 words, four words are as near to both: the shorter one is taken
    assert bleu_parts(["a b c d"], [["a b c"], ["a b c d e"]]).reference_length == 3
    assert bleu(["안녕하세요 여러분"], ["안녕하세요 여러분"], max_order=2) == pytest.approx(100)
    assert bleu(["가 나"], ["다 라"]) == 0
    assert sentence_bleu("one", ["one"]) == pytest.approx(100)  # no pairs, threes, fours: they are left out
    assert bleu(["one"], ["one"]) == 0


def test_a_corpus_is_no_mean_of_its_sentences():
    hypotheses, references = ["a b c d", "x"], ["a b c d", "a b c d e f"]
    mean = sum(sentence_bleu(h, [r]) for h, r in zip(hypotheses, references)) / 2
    assert abs(bleu(hypotheses, references) - mean) > 1


@pytest.mark.parametrize(("text", "tokens"), [
    ('He paid $1,000.5, "twice".', 'He paid $ 1,000.5 , " twice " .'), ("3-4 well-known", "3 - 4 well-known"),
    ("&quot;A &amp; B&lt;&gt;&quot;", '" A & B < > "'), ("a-\nb\nc", "ab c"), ("한국어, 2014년.", "한국어 , 2014년 ."),
])  # fmt: skip
def test_13a_sets_apart(text, tokens):
    assert tokenize_13a(text) == tokens.split()


def test_a_signature_says_how_it_was_counted():
    assert bleu_parts(["a"], ["a"]).signature == "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp"
    found = bleu_parts(
        ["a", "b"], [["a", "b"], ["a", None]], lowercase=True, effective_order=True, smooth="floor"
    )
    assert found.signature == "nrefs:var|case:lc|eff:yes|tok:13a|smooth:floor[0.10]"


def test_chrf_where_it_can_be_counted():
    # letters: 학교에 and 학교로 share 2 of 3, 1 of 2 pairs, 0 of 1 threes
    assert chrf(["학교에"], ["학교로"], char_order=1) == pytest.approx(100 * 2 / 3)
    assert chrf(["학교에"], ["학교로"], char_order=3) == pytest.approx(100 * (2 / 3 + 1 / 2) / 3)
    assert chrf(["ab"], ["abcd"], char_order=1, beta=1) == pytest.approx(100 * 2 * 0.5 / 1.5)
    assert chrf(["ab"], ["abcd"], char_order=1, beta=2) == pytest.approx(100 * 5 * 0.5 / (4 + 0.5))
    assert chrf(["a b"], ["ab"]) == pytest.approx(100)
    assert chrf([""], ["a"]) == chrf(["a"], [""]) == 0


def test_rouge_sees_no_korean_unless_it_is_told_to():
    mine, gold = "학교에 갔다", "학교에 갔다"
    assert set(rouge(mine, gold).values()) == {0.0}
    assert set(rouge(mine, gold, tokenizer="unicode").values()) == {1.0}
    assert rouge("학교에", "학교로", tokenizer="syllables")["rouge1"] == pytest.approx(2 / 3)
    assert rouge("running", "run", tokenizer=lambda text: [text[:3]])["rouge1"] == 1


def test_longest_common_subsequences():
    a, b = ["police", "killed", "the", "gunman"], ["the", "gunman", "police", "killed"]
    assert lcs_table(a, b)[-1][-1] == 2
    assert lcs_places(a, b) in ({0, 1}, {2, 3})
    assert lcs_table([], b)[-1][-1] == 0
    # Lin's example: of w1..w5 the union of both lists of common words is w1 w2 w3 w5
    found = rouge_parts("1 2 6 7 8\n1 3 8 9 5", "1 2 3 4 5", ["rougeLsum"])["rougeLsum"]
    assert found.recall == pytest.approx(4 / 5)


def test_hangul_is_the_same_however_it_is_spelled():
    text = "학교에 갔다"
    apart = unicodedata.normalize("NFD", text)
    for tokenizer in ("unicode", "syllables"):
        assert set(rouge(apart, text, tokenizer=tokenizer).values()) == {1.0}
    assert (exact_match(apart, text, "ko"), f1(apart, text, "ko")) == (1.0, 1.0)
    assert lexical_support(apart, [text]) == 1.0


def test_a_tokenizer_may_give_any_listing():
    assert rouge("a b", "a b", tokenizer=lambda text: (word for word in text.split()))["rouge2"] == 1.0


def test_chrf_of_references_that_are_equally_good_takes_sacrebleus():
    """F of the second text is 50/13 with both; in another order of the operations a last bit prefers the other one, and
    their lengths differ. The figure is sacrebleu's."""
    references = [["cat sat on the mat", "ẞ é —"], ["½ …", "$5 학교로 the — ，。 on"]]
    options = {"char_order": 3, "word_order": 1, "beta": 1, "whitespace": True}
    assert chrf(["cat on mat", "\u3000 e-mail"], references, **options) == pytest.approx(49.08818634610573)


@pytest.mark.parametrize(("call", "said"), [
    (lambda: bleu("a", ["a"]), "hypotheses must be a list of str"),
    (lambda: bleu(["a"], "a"), "references must be a list"),
    (lambda: bleu(["a", "b"], ["a"]), "one text for each of 2"),
    (lambda: bleu(["a", "b"], [["a", "c"], ["b"]]), "got 1; several references are several lists"),
    (lambda: bleu([], []), "must not be empty"),
    (lambda: bleu(["a"], [[None]]), "needs a reference"),
    (lambda: bleu(["a"], [3]), "list of str"),
    (lambda: bleu([None], ["a"]), "must hold str"),
    (lambda: bleu(["a"], ["a"], tokenize="zh"), "tokenize must be one of"),
    (lambda: bleu(["a"], ["a"], smooth="exp2"), "smooth must be one of"),
    (lambda: bleu(["a"], ["a"], max_order=0), "max_order"),
    (lambda: chrf(["a"], ["a"], char_order=0), "char_order or word_order"),
    (lambda: chrf(["a"], ["a"], beta=-1), "beta"),
    (lambda: rouge("a", None), "reference must be a str"),
    (lambda: rouge("a", "a", tokenizer="korean"), "tokenizer must be one of"),
    (lambda: rouge_parts("a", "a", ["rouge0"]), "rouge1 ... rouge9"),
    (lambda: rouge_parts("a", "a", "rouge1"), "kinds must be a list"),
    (lambda: rouge("a b", "a b", tokenizer=str.lower), "tokenizer must return a list of str, got 'a b'"),
    (lambda: rouge("a", "a", tokenizer=lambda text: {"input_ids": [1]}), "tokenizer must return a list"),
    (lambda: sentence_bleu("the cat", "the cat"), "references must be a list of str, got 'the cat'"),
])  # fmt: skip
def test_what_is_no_text_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
