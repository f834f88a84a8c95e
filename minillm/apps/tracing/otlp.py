"""Spans as OTLP/JSON, the form in which OpenTelemetry's collectors and viewers (Jaeger, Phoenix, ...) take them.

    {"resourceSpans": [{"resource": {...}, "scopeSpans": [{"scope": {...}, "spans": [...]}]}]}

It is proto3's JSON but for one rule: ids are hexadecimal here, not base64. 64-bit numbers are texts, kinds and states
are numbers, a value says its type: {"stringValue": "..."}, {"intValue": "3"}.
Source: github.com/open-telemetry/opentelemetry-proto. Held against the opentelemetry-proto package.
Book 9.4 데이터 로깅.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minillm import __version__
from minillm._checks import check_text
from minillm.apps.tracing.span_file import SpanRecord, check_records

KINDS = {"internal": 1, "client": 3}
STATES = {"ok": 1, "error": 2}


def as_otlp(records: Sequence[SpanRecord], service: str = "minillm") -> dict[str, Any]:
    """The request that a collector takes at /v1/traces, as a value for json.dumps.

    ValueError for what is no list of SpanRecords, and a service without a name.
    """
    check_records(records), check_text("service", service)
    scope = {"name": "minillm.apps.tracing", "version": __version__}
    spans = [_span(record) for record in records]
    resource = {"attributes": _attributes({"service.name": service})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]}


def _span(record: SpanRecord) -> dict[str, Any]:
    span: dict[str, Any] = {
        "traceId": record.trace_id,
        "spanId": record.span_id,
        "name": record.name,
        "kind": KINDS.get(record.kind, 0),
        "startTimeUnixNano": str(record.start),
        "endTimeUnixNano": str(record.end),
        "attributes": _attributes(record.attributes),
        "status": {"code": STATES.get(record.status, 0)},
    }
    if record.parent_id is not None:
        span["parentSpanId"] = record.parent_id
    if record.message:
        span["status"]["message"] = record.message
    if record.events:
        span["events"] = [
            {
                "timeUnixNano": str(one["time"]),
                "name": one["name"],
                "attributes": _attributes(one["attributes"]),
            }
            for one in record.events
        ]
    return span


def _attributes(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in found.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, str):
        return {
            "stringValue": value.encode("utf-8", "backslashreplace").decode()
        }  # half a surrogate pair is no text
    if isinstance(value, Mapping):
        return {"kvlistValue": {"values": _attributes(value)}}
    if isinstance(value, Sequence):
        return {"arrayValue": {"values": [_value(one) for one in value]}}
    return {}  # null
