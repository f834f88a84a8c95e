"""What a trace cost: calls, errors, tokens and money, model by model.

    cost = (tokens read * price of reading + tokens written * price of writing) / 1,000,000

A call whose tokens nobody counted, or whose model has no price, is counted as such and not as free.
Book 9.4 데이터 로깅.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minillm._checks import check_number, describe
from minillm.apps.tracing import names
from minillm.apps.tracing.span_file import SpanRecord, check_records


@dataclass
class Usage:
    """Of one model. uncounted: calls without numbers of tokens. cost: of the counted ones; None without a price."""

    calls: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    uncounted: int = 0
    seconds: float = 0.0
    cost: float | None = None


def usage_by_model(
    records: Sequence[SpanRecord], prices: Mapping[str, tuple[float, float]] | None = None
) -> dict[str, Usage]:
    """{model: Usage}. prices: {model: (of a million tokens read, of a million written)}; ValueError for other forms."""
    check_records(records)
    if prices is not None and not isinstance(prices, Mapping):
        raise ValueError(f"prices must be a dict from model to (reading, writing), got {describe(prices)}")
    checked = {model: _price(model, pair) for model, pair in (prices or {}).items()}
    found: dict[str, Usage] = {}
    for record in records:
        attributes = record.attributes
        model = attributes.get(names.MODEL)
        if not isinstance(model, str) or names.OPERATION not in attributes:
            continue
        usage = found.setdefault(model, Usage())
        usage.calls += 1
        usage.seconds += record.seconds
        usage.errors += record.status == "error"
        read, written = (attributes.get(one) for one in (names.INPUT_TOKENS, names.OUTPUT_TOKENS))
        counted = type(read) is int and type(written) is int
        usage.uncounted += not counted
        if counted:
            usage.input_tokens += read
            usage.output_tokens += written
    for model, usage in found.items():
        if model in checked:
            reading, writing = checked[model]
            usage.cost = (usage.input_tokens * reading + usage.output_tokens * writing) / 1e6
    return found


def _price(model: str, pair: tuple[float, float]) -> tuple[float, float]:
    try:
        reading, writing = pair
    except (TypeError, ValueError):
        raise ValueError(f"the price of {model!r} must be (reading, writing), got {describe(pair)}") from None
    return check_number(f"a price of {model!r}", reading, 0), check_number(
        f"a price of {model!r}", writing, 0
    )
