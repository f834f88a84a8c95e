"""SmolLM2 learns GeoQuery by LoRA, the schema in its prompt: two rows of the table of text2sql_quality.

The recipe is lora_quality's: rank 8 in the last 15 blocks. All prompts begin with the schema, 166 ids of 212 on
average: it is run once a row of about 11 questions (`SharedPromptSet`), so that 20 minutes hold four and a half passes
over the questions. A run that was stopped goes on from its last checkpoint, in the folder of kept models. The adapter
that it leaves there, float16, is below 3 MB.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from minillm.apps.text2sql import SQLSandbox
from minillm.data import cache_folder, sql_in
from minillm.data.geoquery import GeoTask, geo_chat, geo_schema
from minillm.data.real_models import fetch
from minillm.inference import SamplingParams, generate_batch
from minillm.models import load_model
from minillm.tokenizer import apply_chat_template, load_tokenizer
from minillm.tokenizer.chat_ends import turn_ends
from minillm.training import SharedPromptObjective, SharedPromptSet, chat_examples, load_adapter, save_adapter
from tests.benchmarks import lora_quality, text2sql_quality

STEPS, ROW = 250, 672


class GeoWorld:
    """What lora_quality.teach learns from, and the exam."""

    def __init__(self, seed: int, asked: int | None = None) -> None:
        self.seed, self.path = seed, fetch("smollm2")
        self.tokenizer = load_tokenizer(self.path)
        self.taught, self.exam, self.database = text2sql_quality.geo()
        self.exam = self.exam[:asked]
        with SQLSandbox(self.database) as box:
            self.schema = geo_schema(box)
        self.ends = turn_ends(self.tokenizer)

    def examples(self, part: list[GeoTask]) -> list[Any]:
        """The short query alone carries loss."""
        chats = [
            [*geo_chat(self.schema, one.question), {"role": "assistant", "content": one.short}]
            for one in part
        ]
        return list(chat_examples(self.tokenizer, chats)[0])

    def lesson(self) -> tuple[SharedPromptSet, int, SharedPromptObjective]:
        """What lora_quality.teach learns, rows of it a step, and how."""
        return SharedPromptSet(self.examples(self.taught), ROW), 1, SharedPromptObjective()

    def answers(self, model: torch.nn.Module) -> list[str]:
        """The query to each question of the exam."""
        prompts = [
            self.tokenizer.encode(
                apply_chat_template(self.tokenizer, geo_chat(self.schema, one.question)),
                allowed_special="all",
            )
            for one in self.exam
        ]
        params = SamplingParams(max_tokens=110, temperature=0, stop_token_ids=tuple(self.ends))
        found: list[Any] = []
        for start in range(0, len(prompts), 25):
            found += generate_batch(model, prompts[start : start + 25], params, self.tokenizer)
        return [sql_in(one.text) for one in found]


def smollm2(seed: int, taught: bool, steps: int = STEPS, asked: int | None = None) -> dict[str, Any]:
    """SmolLM2 as it is, or after LoRA, on GeoQuery's exam."""
    world, seconds, rows, learned = GeoWorld(seed, asked), 0.0, 0, 0
    model = load_model(world.path, dtype=torch.float32)
    if taught:
        folder = cache_folder() / "models" / f"geoquery_lora-{seed}-{steps}-{ROW}"
        start = time.process_time()
        facts = lora_quality.teach(world, model, folder, steps)
        seconds, learned, rows = (
            facts.get("seconds", time.process_time() - start),
            facts["learned"],
            len(world.taught),
        )
        adapter = save_adapter(model, folder / "adapter", base_model="smollm2", dtype=torch.float16)
        model = load_adapter(load_model(world.path, dtype=torch.float32), adapter)
    scores = text2sql_quality.geo_scores(world.exam, world.answers(model.eval()), world.database)
    return {"rows": rows, "seconds": seconds, "parameters": learned, **scores}
