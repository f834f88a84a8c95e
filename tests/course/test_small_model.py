"""The course's small model: its recipe at a tenth of the size, what is kept of it, and what it was taught."""

from dataclasses import asdict, replace

import pytest
import torch

from minillm.course import small_model as public
from minillm.course.small import (
    Recipe,
    exam_bits_per_byte,
    make_small_model,
    recipe,
    small_corpus,
    train_language_model,
)
from minillm.course.small.__main__ import main
from minillm.data import prove_held_out
from minillm.evaluation import compressed_bits_per_byte
from minillm.inference import SamplingParams, generate

TINY = Recipe(vocab_size=400, layers=1, width=64, context=32, longest=64, steps=3, korean_documents=60)


@pytest.fixture(scope="module")
def made():
    return make_small_model(TINY)


@pytest.fixture
def tiny(made, monkeypatch, tmp_path):
    """small_model() of a recipe that takes a second, in a cache folder of its own."""
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path))
    monkeypatch.setattr(recipe, "make_small_model", lambda progress=False: made)
    return tmp_path


def test_no_exam_sentence_is_taught():
    corpus = small_corpus()
    assert set(corpus.exam) == {"english", "korean"}
    everything = list(corpus.documents)
    for language, text in corpus.exam.items():
        assert prove_held_out(text, everything).items > 300
        assert len(text.encode()) > 30_000, language
    taught = "\n\n".join(corpus.documents)
    assert all(paragraph in taught for paragraph in corpus.taught["english"].strip("\n").split("\n\n"))


def test_two_trainings_are_the_same_model_and_another_seed_is_another():
    ids = torch.arange(600) % 37
    with recipe.one_thread():
        one, two, other = (train_language_model(ids, 40, replace(TINY, seed=seed))[0] for seed in (0, 0, 1))
    for (name, a), b in zip(one.state_dict().items(), two.state_dict().values()):
        assert torch.equal(a, b), name
    assert not torch.equal(one.state_dict()[name], other.state_dict()[name])
    assert not one.training


def test_it_is_kept_with_its_facts_and_they_are_not_measured_again(tiny, monkeypatch):
    first = public()
    monkeypatch.setattr(recipe, "make_small_model", None)  # a second making would fail
    again = public()
    assert again.facts == first.facts
    ids = torch.tensor([again.tokenizer.encode("The with statement 가온")])
    assert torch.equal(first.model(ids).logits, again.model(ids).logits)
    assert not again.model.training
    assert again.facts["recipe"] == asdict(TINY)
    assert again.facts["parameters"] == sum(p.numel() for p in again.model.parameters())


def test_the_facts_are_those_of_the_model_and_the_compressors(tiny):
    model, tokenizer, facts = public()
    corpus = small_corpus(TINY)
    assert exam_bits_per_byte(model, tokenizer, corpus.exam, TINY.context) == pytest.approx(
        facts["bits_per_byte"]
    )
    for language, text in corpus.exam.items():
        assert facts["compressors"][language] == compressed_bits_per_byte(text, corpus.taught[language])
    sizes = {language: len(text.encode()) for language, text in corpus.exam.items()}
    both = sum(sizes[language] * facts["bits_per_byte"][language] for language in sizes) / sum(sizes.values())
    assert facts["bits_per_byte"]["all"] == pytest.approx(both)


def test_it_generates_and_stops_at_the_end_of_a_text(tiny):
    model, tokenizer, _ = public()
    assert tokenizer.special_tokens == {"<|endoftext|>": tokenizer.token_to_id("<|endoftext|>")}
    out = generate(model, tokenizer.encode("가온골은"), SamplingParams(max_tokens=5, temperature=0.0))
    assert len(out) <= 5


def test_the_command_line_says_what_it_is(tiny, capsys):
    assert main([]) == 0
    said = capsys.readouterr().out
    assert "bits per byte" in said
    assert "none in the training text" in said
    assert str(tiny) in said
    assert main(["--rebuild"]) == 0


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), recipe.one_thread():
        raise KeyError
    assert torch.get_num_threads() == before
