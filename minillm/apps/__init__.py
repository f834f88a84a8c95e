"""Whole applications on top of the stack: questions to a database (text2sql/), answers from documents (rag/), a cache
of answers (llm_cache/), guardrails/, tracing/, people and models as judges (judging/), operations (ops/), agents/."""

from minillm._lazy import lazy

_ROOMS = {
    "agents.agent": ("Agent",),
    "agents.group": ("ChatAgent", "GroupChat"),
    "guardrails": ("Guard", "GuardedChat"),
    "judging": ("Arena",),
    "llm_cache": ("CachedChat", "LLMCache"),
    "ops": ("DataVersions", "ModelRegistry", "Monitor", "Prompts", "Records", "Runs", "log_to_mlflow"),
    "rag": ("VectorStoreIndex",),
    "text2sql": ("SQLSandbox", "exact_match_sql", "execution_match", "run_python"),
    "tracing": ("TracedChat", "Tracer", "read_trace"),
}
__getattr__, __dir__, __all__ = lazy(__name__, _ROOMS)
