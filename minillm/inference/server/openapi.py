"""What the server takes and answers, as an OpenAPI document: made of the very fields that requests are checked by.

GET /openapi.json. Documentation pages, client makers and testers (schemathesis) read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minillm.inference.server.embeddings import EmbeddingsAsked
from minillm.inference.server.schemas import IGNORED, NOT_YET, ChatAsked, CompletionAsked, Fields

ERRORS = {
    400: "what was asked will not do",
    401: "the API key is missing or wrong",
    404: "there is no such model",
    408: "the request did not arrive in time",
    413: "the body is too large",
    429: "all places are taken: try again",
    500: "a step of the model failed",
    503: "the server is shutting down",
}
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
MODEL = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {
        "id": {"type": "string"}, "object": {"const": "model"}, "created": {"type": "integer"},
        "owned_by": {"type": "string"}, "max_model_len": {"type": "integer"}, "parent": {"type": "string"},
    },
}  # fmt: skip
USAGE = {
    "type": "object",
    "required": ["prompt_tokens", "total_tokens"],
    "properties": {
        **{name: {"type": "integer"} for name in ("prompt_tokens", "completion_tokens", "total_tokens")},
        "prompt_tokens_details": {"type": "object", "properties": {"cached_tokens": {"type": "integer"}}},
    },
}


def _listed(kind: str, item: dict[str, Any], key: str = "data", **more: Any) -> dict[str, Any]:
    properties = {"object": {"const": kind}, key: {"type": "array", "items": item}, **more}
    return {"type": "object", "required": list(properties), "properties": properties}


def _written(kind: str, content: str) -> dict[str, Any]:
    choice = {
        "type": "object",
        "required": ["index", "finish_reason", content],
        "properties": {
            "index": {"type": "integer"},
            "finish_reason": {"enum": ["stop", "length", "tool_calls"]},
        },
    }
    names = {"id": {"type": "string"}, "created": {"type": "integer"}, "model": {"type": "string"}}
    return _listed(kind, choice, "choices", usage=USAGE, **names)


def document(version: str, with_key: bool, models: Sequence[str], encoder: str | None) -> dict[str, Any]:
    """The document. with_key: whether the server asks for an API key. models, encoder: their names."""
    parts: dict[str, Any] = {"Error": ERROR}
    vector = {
        "type": "object",
        "required": ["object", "index", "embedding"],
        "properties": {"object": {"const": "embedding"}, "index": {"type": "integer"}},
    }
    posts = {
        "/v1/completions": (CompletionAsked, _written("text_completion", "text")),
        "/v1/chat/completions": (ChatAsked, _written("chat.completion", "message")),
        "/v1/embeddings": (EmbeddingsAsked, _listed("list", vector, usage=USAGE, model={"type": "string"})),
    }
    paths: dict[str, Any] = {}
    for path, (kind, answer) in posts.items():
        parts[kind.__name__] = _fields_of(kind, parts)
        names = models if kind is not EmbeddingsAsked else [] if encoder is None else [encoder]
        parts[kind.__name__]["properties"]["model"] = {"enum": [*names]} if names else {"type": "string"}
        body = {"$ref": f"#/components/schemas/{kind.__name__}"}
        paths[path] = {
            "post": {
                "operationId": path[4:].replace("/", "_"),
                "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
                "responses": {"200": _answer(answer, stream=kind is not EmbeddingsAsked)} | _errors(*ERRORS),
            }
        }
    every = {"enum": [*models] if encoder is None else [*models, encoder]}
    name = {"name": "model", "in": "path", "required": True, "schema": every}
    state = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
    pages = {
        "/v1/models": ({"200": _answer(_listed("list", MODEL))} | _errors(401), []),
        "/v1/models/{model}": ({"200": _answer(MODEL)} | _errors(401, 404), [name]),
        "/health": ({"200": _answer(state), "503": _answer(state)}, []),
    }
    for path, (responses, parameters) in pages.items():
        paths[path] = {
            "get": {
                "operationId": path.strip("/").replace("/", "_").replace("{", "").replace("}", ""),
                "parameters": parameters,
                "responses": responses,
            }
        }
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "minillm", "version": version},
        "paths": paths,
        "components": {"schemas": parts},
    }
    if with_key:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path, verbs in paths.items():
            for verb in verbs.values():
                verb["security"] = [{"key": []}] if path.startswith("/v1/") else []
    return found


def _fields_of(kind: type[Fields], parts: dict[str, Any]) -> dict[str, Any]:
    """A request's fields; what they refer to goes to `parts`."""
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    parts |= schema.pop("$defs", {})
    known = schema["properties"]
    known |= {name: {} for name in IGNORED}
    known |= {name: {"enum": [*harmless, None]} for name, harmless in NOT_YET.items()}
    return schema


def _answer(schema: dict[str, Any], stream: bool = False) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    if stream:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    return {"description": "the answer", "content": content}


def _errors(*statuses: int) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {str(one): {"description": ERRORS[one], "content": content} for one in statuses}
