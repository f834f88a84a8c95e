"""What makes a picture fit for CLIP, against transformers' image processor: its file read, the same pixels."""

import numpy as np
import pytest

from minillm.models import PictureProcessor

clip = pytest.importorskip(
    "transformers.models.clip.image_processing_pil_clip", reason="held against transformers"
)
SIZES = ((24, 24), (31, 47), (60, 25), (9, 30))


@pytest.mark.parametrize("resample", [2, 3])
def test_the_same_pixels_from_the_same_file(tmp_path, resample):
    from PIL import Image

    theirs = clip.CLIPImageProcessorPil(
        size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}, resample=resample
    )
    theirs.save_pretrained(tmp_path)
    ours = PictureProcessor.from_pretrained(tmp_path)
    step = 1.01 / 255 / min(ours.std)  # one step of a byte
    for height, width in SIZES:
        pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected = theirs(Image.fromarray(pixels), return_tensors="np")["pixel_values"]
        given = pixels.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        gaps = np.abs(ours(given).numpy() - expected)
        assert gaps.max() < step
        Image.fromarray(pixels).save(tmp_path / "a.png")
        for one in (tmp_path / "a.png", Image.open(tmp_path / "a.png")):
            # bicubic: cut to the model's size at once, by Pillow
            assert np.abs(ours([one]).numpy() - expected).max() < (1e-5 if resample == 3 else step)
