"""Our spans as OTLP/JSON, read back by the opentelemetry-proto package: every id, time, attribute and event."""

import base64
import json
import math
import random

import pytest

from minillm.apps.tracing import Tracer, as_otlp

trace_service = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
    reason="needs the extra otlp: pip install -e '.[otlp]'",
)


def with_base64_ids(value):
    """The one rule in which OTLP/JSON differs from proto3's JSON, which json_format reads."""
    if isinstance(value, list):
        return [with_base64_ids(one) for one in value]
    if not isinstance(value, dict):
        return value
    ids = ("traceId", "spanId", "parentSpanId")
    return {
        key: base64.b64encode(bytes.fromhex(one)).decode() if key in ids else with_base64_ids(one)
        for key, one in value.items()
    }


def read_back(records, service="shop"):
    from google.protobuf import json_format

    text = json.dumps(as_otlp(records, service))  # as it is sent
    return json_format.ParseDict(with_base64_ids(json.loads(text)), trace_service.ExportTraceServiceRequest())


def value_of(found):
    """A protobuf AnyValue as a plain value."""
    kind = found.WhichOneof("value")
    if kind is None:
        return None
    value = getattr(found, kind)
    if kind == "array_value":
        return [value_of(one) for one in value.values]
    if kind == "kvlist_value":
        return attributes_of(value.values)
    return value


def attributes_of(pairs):
    return {one.key: value_of(one.value) for one in pairs}


def test_every_span_comes_back():
    rng, tracer = random.Random(0), Tracer()
    values = ["글 \x00 <&>", "", 0, -(2**63), 2**63 - 1, 0.1, -0.0, 1e300, True, False, None, [], {}]
    values += [[1, "a", None, [2.5]], {"x": {"y": [True, "z"]}, "길": 1}]

    def grow(depth):
        chosen = rng.sample(values, 4)
        with tracer.trace(
            f"스텝{depth}", rng.choice(["internal", "client"]), a=chosen[0], b=chosen[1]
        ) as span:
            span.set("gen_ai.usage.input_tokens", rng.randrange(10**12))
            if rng.random() < 0.5:
                span.event("told", c=chosen[2], d=chosen[3])
            for _ in range(rng.randrange(3) if depth < 4 else 0):
                grow(depth + 1)
            if rng.random() < 0.3:
                span.fail(ValueError("안 됨"))

    for _ in range(40):
        grow(0)
    got = read_back(tracer.kept)
    assert attributes_of(got.resource_spans[0].resource.attributes) == {"service.name": "shop"}
    spans = got.resource_spans[0].scope_spans[0].spans
    assert len(spans) == len(tracer.kept) > 100
    kinds = {"internal": 1, "client": 3}
    for found, record in zip(spans, tracer.kept):
        assert found.trace_id.hex() == record.trace_id
        assert found.span_id.hex() == record.span_id
        assert found.parent_span_id.hex() == (record.parent_id or "")
        assert (found.name, found.kind) == (record.name, kinds[record.kind])
        assert (found.start_time_unix_nano, found.end_time_unix_nano) == (record.start, record.end)
        assert attributes_of(found.attributes) == record.attributes
        assert found.status.code == {"ok": 1, "error": 2}[record.status]
        assert found.status.message == record.message
        assert [(e.name, e.time_unix_nano, attributes_of(e.attributes)) for e in found.events] == [
            (e["name"], e["time"], e["attributes"]) for e in record.events
        ]


def test_what_json_and_utf8_cannot_hold_still_comes_back_as_text():
    tracer = Tracer()
    with tracer.trace("one", nan=math.nan, half="a\ud800b", large=2**70):
        pass
    found = attributes_of(read_back(tracer.kept).resource_spans[0].scope_spans[0].spans[0].attributes)
    assert found == {"nan": "nan", "half": "a\\ud800b", "large": hex(2**70)}
