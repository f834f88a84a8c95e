"""Rails that ask a model: the prompt, the pieces of a long text, perplexity by the formula."""

import math

import pytest
import torch

from minillm.apps.guardrails import AskRail, Guard, PerplexityRail, RailError
from minillm.inference import ChatModel, ScriptedChat
from tests.inference.server.tiny import tiny_model


class Says(ScriptedChat):
    """p(yes) is high where the text holds a word."""

    def choose(self, messages, options):
        self.asked.append(list(messages))
        p = 0.8 if "lemon" in messages[0]["content"] else 0.3
        return int(p < 0.5), [p, 1 - p]


def test_a_threshold_on_the_probability_of_yes():
    rail = AskRail(Says([]), "Does it speak of fruit?", 0.5)
    assert isinstance(rail.model, ChatModel)
    assert rail("a lemon").reason == "ask: probability 0.80"
    assert rail("a car").allowed
    assert AskRail(rail.model, "q", 0.2)("a car").allowed is False
    prompt = rail.model.asked[0][0]["content"]
    assert prompt.startswith("Does it speak of fruit?")
    assert "Text: a lemon" in prompt
    assert prompt.endswith("Answer with Yes or No.")


def test_a_long_text_is_asked_about_in_pieces_that_fit():
    rail = AskRail(Says([]), "q", 0.5, most=100)
    text = "x" * 950 + " lemon " + "y" * 300
    assert rail.probability(text) == 0.8
    prompts = [one[0]["content"] for one in rail.model.asked]
    assert max(map(len, prompts)) < 160
    assert sum(one.count("x") for one in prompts) >= 950
    assert AskRail(Says([]), "q", 0.5)("\ud800{text}").allowed


def test_a_model_that_fails_stops_everything():
    with pytest.raises(RailError, match="ask: the model gave no probabilities"):
        Guard([AskRail(ScriptedChat([]), "q", 0.5)]).check("x")
    for options, said in (
        ({"model": 1}, "ChatModel"),
        ({"options": ["Yes"]}, "two texts"),
        ({"threshold": 2}, "threshold"),
    ):
        with pytest.raises(ValueError, match=said):
            AskRail(**{"model": Says([]), "question": "q", "threshold": 0.5, **options})


def test_perplexity_is_the_highest_of_the_windows():
    model, tokenizer = tiny_model()
    rail = PerplexityRail(model, tokenizer, 1000, window=8)
    text = "hello, 안녕하세요 and so on: user and assistant"
    ids = tokenizer.encode(text)
    expected = []
    for start in range(0, max(1, len(ids) - 8 + 4), 4):
        part = torch.tensor([ids[start : start + 8]])
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(model(part[:, :-1]).logits[0], part[0, 1:])
        expected.append(math.exp(loss))
    assert rail.highest(text) == pytest.approx(max(expected), rel=1e-4)
    assert PerplexityRail(model, tokenizer, max(expected) * 0.99, window=8)(text).allowed is False
    assert rail.highest("") == rail.highest("a") == 1.0
    assert rail("\ud800<|im_start|>").allowed in (True, False)
    with pytest.raises(ValueError, match="a model and its tokenizer"):
        PerplexityRail(model, None, 10)
