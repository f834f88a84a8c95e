"""The names of attributes: OpenTelemetry's semantic conventions for generative AI, so that other tools read our spans.

Status of the conventions: development. Names are those of 2025 and later, where `gen_ai.provider.name` took the place
of `gen_ai.system`. What they have no name for is OpenInference's (input.value, output.value) or begins with `minillm.`.
Book 9.4 데이터 로깅. Source: opentelemetry.io/docs/specs/semconv/gen-ai.
"""

from __future__ import annotations

OPERATION = (
    "gen_ai.operation.name"  # chat, text_completion, embeddings, retrieval, execute_tool, invoke_agent
)
PROVIDER = "gen_ai.provider.name"
MODEL = "gen_ai.request.model"
CHOICES = "gen_ai.request.choice.count"
FINISH = "gen_ai.response.finish_reasons"
FIRST_PIECE = "gen_ai.response.time_to_first_chunk"  # seconds
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
SYSTEM = "gen_ai.system_instructions"
TOOLS = "gen_ai.tool.definitions"
TOOL_NAME = "gen_ai.tool.name"
QUERY_TEXT = "gen_ai.retrieval.query.text"
TOP_K = "gen_ai.retrieval.top_k"
DOCUMENTS = "gen_ai.retrieval.documents"  # [{"id", "score"}, ...]
ERROR = "error.type"
INPUT, OUTPUT = "input.value", "output.value"
PIECES = "minillm.pieces"
CLOSED_EARLY = "minillm.closed_early"
CACHE_HIT = "minillm.cache.hit"

# SamplingParams' field -> the convention's
REQUEST = {
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
}
