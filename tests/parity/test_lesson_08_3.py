"""The steps of Hugging Face's RMS norm that lesson 08_3 counts: those of transformers, with the same bits."""

import torch
import torch.nn.functional as F

from minillm.course import watch
from minillm.course.lessons import notebooks
from tests.course.lessons import LESSONS, read
from tests.parity.folders import transformers


def test_the_steps_are_those_of_transformers():
    path = next(path for path in LESSONS if path.name.startswith("08_3_"))
    [cell] = [cell for cell in read(path)["cells"] if "def hugging_face" in notebooks.source(cell)]
    names = {
        "torch": torch,
        "F": F,
        "watch": watch,
        "widths": [],
        "published": {"Hugging Face": [], "Liger, fused": []},
    }
    exec(notebooks.source(cell), names)
    norm = transformers.models.llama.modeling_llama.LlamaRMSNorm(96, eps=1e-6).half()
    x = torch.randn(5, 96, generator=torch.Generator().manual_seed(0)).half()
    norm.weight.data = torch.randn(96, generator=torch.Generator().manual_seed(1)).half()
    with torch.no_grad():
        assert torch.equal(names["hugging_face"](x, norm.weight), norm(x))
        with watch() as ours:
            names["hugging_face"](x, norm.weight)
        with watch() as theirs:
            norm(x)
    assert ours.operations == theirs.operations
    assert round(names["fewer_bytes"], 1) == 9.0
