"""A sentence encoder by its name on the hub: its settings come with it, and nothing else does."""

import numpy as np

from minillm.search import SentenceEncoder
from tests.search.test_sentence_encoder import TEXTS, tiny, tokenizer

__all__ = ["tokenizer"]  # the fixture, which pytest finds by its name


def test_an_encoder_of_the_hub_is_downloaded_with_its_settings(hub, tokenizer, tmp_path):
    encoder = SentenceEncoder(tiny(), tokenizer, "max", 9, {"query": "query: "})
    folder = encoder.save_pretrained(tmp_path / "encoder")
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    hub.add("someone/encoder", files | {"README.md": b"# one", "pytorch_model.bin": b"\x80\x04pickle"})
    found = SentenceEncoder.from_pretrained("someone/encoder")
    assert (found.pooling, found.max_length, found.prompts) == ("max", 9, {"query": "query: "})
    np.testing.assert_array_equal(found.encode_query(TEXTS), encoder.encode_query(TEXTS))
    assert sorted(hub.downloads()) == [
        "1_Pooling/config.json", "config.json", "config_sentence_transformers.json", "model.safetensors",
        "modules.json", "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
