"""From a model to text: the KV cache, sampling, generation, streaming and pipelines.

Read first: loop.py (prefill, decode, and the loop of both), then sampling.py, then generate.py.
"""

from typing import Any

from minillm.inference.chat import ChatModel, LocalChat, Reply, ScriptedChat
from minillm.inference.chat_openai import OpenAIChat
from minillm.inference.conditioned import is_encoder_decoder
from minillm.inference.diffusion import ddim_sample, ddim_step, ddpm_sample, ddpm_step, guided, mix_noise
from minillm.inference.drafting import PromptLookup
from minillm.inference.engine import BlockManager, Engine, PagedKVCache, StepOutput
from minillm.inference.generate import Completion, generate, generate_batch, stream
from minillm.inference.loop import next_logits
from minillm.inference.params import SamplingParams
from minillm.inference.pipelines import Pipeline, pipeline
from minillm.inference.rollout import rollout
from minillm.inference.sampling import (
    apply_frequency_penalty,
    apply_logit_bias,
    apply_min_p,
    apply_no_repeat_ngrams,
    apply_presence_penalty,
    apply_repetition_penalty,
    apply_temperature,
    apply_top_k,
    apply_top_p,
    process_logits,
    sample,
)
from minillm.inference.speculative import (
    Speculation,
    accept_draft,
    expected_speed_up,
    expected_tokens,
    speculative_generate,
)
from minillm.inference.streaming import TextStream, stream_text
from minillm.inference.unclip import (
    blend_embeddings,
    draw_embeddings,
    edit_embeddings,
    prior_schedule,
    regress_embeddings,
)
from minillm.models.noise_schedule import NoiseSchedule
from minillm.nn.cache import KVCache, kv_cache_bytes
from minillm.tokenizer.chat import apply_chat_template

__all__ = [
    "BlockManager",
    "ChatModel",
    "Completion",
    "Engine",
    "KVCache",
    "LocalChat",
    "NoiseSchedule",
    "OpenAIChat",
    "PagedKVCache",
    "Pipeline",
    "PromptLookup",
    "Reply",
    "SamplingParams",
    "ScriptedChat",
    "Speculation",
    "StepOutput",
    "TextStream",
    "accept_draft",
    "apply_chat_template",
    "apply_frequency_penalty",
    "apply_logit_bias",
    "apply_min_p",
    "apply_no_repeat_ngrams",
    "apply_presence_penalty",
    "apply_repetition_penalty",
    "apply_temperature",
    "apply_top_k",
    "apply_top_p",
    "blend_embeddings",
    "ddim_sample",
    "ddim_step",
    "ddpm_sample",
    "ddpm_step",
    "draw_embeddings",
    "edit_embeddings",
    "expected_speed_up",
    "expected_tokens",
    "generate",
    "generate_batch",
    "guided",
    "is_encoder_decoder",
    "kv_cache_bytes",
    "mix_noise",
    "next_logits",
    "pipeline",
    "prior_schedule",
    "process_logits",
    "regress_embeddings",
    "rollout",
    "sample",
    "serve",
    "speculative_generate",
    "stream",
    "stream_text",
]


def __getattr__(name: str) -> Any:
    """`serve` needs the extra of that name: it is read when it is asked for."""
    if name == "serve":
        from minillm.inference.server import serve

        return serve
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
