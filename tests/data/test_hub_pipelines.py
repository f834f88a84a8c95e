"""pipeline(...) on names of the hub, on a local server."""

import pytest

from minillm.inference import pipeline
from tests.inference.pipelines.tiny import TEXTS, encoder, wordpiece


def test_a_name_of_the_hub(hub, tmp_path):
    model = encoder()
    model.save_pretrained(tmp_path / "folder")
    wordpiece().save(tmp_path / "folder")
    files = {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
    repository = hub.add("some/classifier", files)
    repository.revisions["v1"] = repository.revisions["main"]
    expected = pipeline("text-classification", model, wordpiece())(TEXTS)
    assert pipeline("text-classification", "some/classifier")(TEXTS) == expected
    assert pipeline(model="some/classifier", revision="v1")(TEXTS) == expected
    assert hub.downloads().count("model.safetensors") == 1
    asked = len(hub.asked)
    assert pipeline(model="some/classifier", local_files_only=True)(TEXTS) == expected
    assert len(hub.asked) == asked
    with pytest.raises(ValueError, match="'some/classifier' holds a BERTForSequenceClassification"):
        pipeline("fill-mask", "some/classifier")
    with pytest.raises(OSError, match="some/other"):
        pipeline("fill-mask", "some/other")
    assert pipeline("text-classification", model, "some/classifier")(TEXTS) == expected
