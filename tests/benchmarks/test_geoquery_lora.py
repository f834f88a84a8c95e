"""The adapter that 06_3 asks, against what BENCHMARKS.md records of it."""

import math

import pytest
import torch

from minillm.data.geoquery import ADAPTER
from minillm.models import load_model
from minillm.training import load_adapter
from tests.benchmarks import text2sql_quality
from tests.benchmarks.geoquery_lora import GeoWorld
from tests.helpers import needs_model, soak_count

RECORDED = 115 / 185  # execution accuracy of seed 0


@pytest.mark.soak
@needs_model("smollm2")
def test_the_kept_adapter_is_as_good_as_recorded(real_data):
    real_data("text2sql/geoquery/geoquery.shared.jsonl")
    count = soak_count(185)
    world = GeoWorld(0, asked=count)
    model = load_adapter(load_model(world.path, dtype=torch.float32), ADAPTER).eval()
    right = text2sql_quality.geo_scores(world.exam, world.answers(model), world.database)["right"]
    assert len(right) == count
    spread = math.sqrt(RECORDED * (1 - RECORDED) / count)
    assert abs(sum(right) / count - RECORDED) < 3 * spread, sum(right) / count
