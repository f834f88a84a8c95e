"""Whole applications on top of the stack: questions to a database (text2sql/), answers from documents (rag/), a cache of
answers (llm_cache/), guardrails/, tracing/, people and models as judges (judging/)."""
