"""Adapters behind the server: asked for by name, listed with their base, each what it says alone."""

import pytest
from openai import NotFoundError

from minillm.inference import Engine, SamplingParams, generate_batch
from minillm.inference.server import Server
from minillm.training import apply_lora, set_adapter
from tests.inference.server.tiny import client_of, tiny_model

pytestmark = pytest.mark.timeout(120)
PROMPT = "안녕 hello"


@pytest.fixture(scope="module")
def engine():
    model, tokenizer = tiny_model()
    for seed, name in enumerate(("법률", "medical")):
        apply_lora(model, 4, 64, "all-linear", init="random", seed=seed, name=name)
    set_adapter(model, None)
    return Engine(model, tokenizer, block_size=8, num_blocks=200, max_batch_size=16)


@pytest.fixture(scope="module")
def client(engine):
    with Server(engine, port=0, model_name="tiny") as server, client_of(server) as client:
        yield client


def test_they_are_listed_with_their_base(client):
    listed = client.models.list().data
    assert [one.id for one in listed] == ["tiny", "법률", "medical"]
    assert [getattr(one, "parent", None) for one in listed] == [None, "tiny", "tiny"]
    assert client.models.retrieve("medical").parent == "tiny"


def test_each_answers_as_it_does_alone(engine, client):
    params, texts = SamplingParams(max_tokens=10, temperature=0), []
    for name in ("tiny", "법률", "medical"):
        answer = client.completions.create(model=name, prompt=PROMPT, max_tokens=10, temperature=0)
        assert answer.model == name
        texts.append(answer.choices[0].text)
    assert len(set(texts)) == 3
    streamed = client.completions.create(
        model="법률", prompt=PROMPT, max_tokens=10, temperature=0, stream=True
    )
    assert "".join(piece.choices[0].text for piece in streamed) == texts[1]
    chat = client.chat.completions.create(
        model="medical", messages=[{"role": "user", "content": "hi"}], max_tokens=4, temperature=0
    )
    assert chat.model == "medical"
    with pytest.raises(NotFoundError, match="medical"):
        client.completions.create(model="other", prompt=PROMPT)
    ids = engine.tokenizer.encode(PROMPT)
    for name, text in zip((None, "법률", "medical"), texts):
        set_adapter(engine.model, name)  # the server has nothing to do
        assert generate_batch(engine.model, [ids], params, engine.tokenizer)[0].text == text
    set_adapter(engine.model, None)


def test_names_do_not_collide(engine):
    with pytest.raises(ValueError, match="must not be that of an adapter"):
        Server(engine, port=0, model_name="medical")
