"""Commercial or open model (상업용 모델과 오픈소스 모델 선택하기): what a request costs, and which options are beaten.

    by the token     cost = (prompt tokens * price in + output tokens * price out) / 1,000,000
    on own machines  cost = price of an hour / (3,600 * tokens a second * share of the time in use) * tokens
    break even       requests an hour = price of an hour / cost of a request by the token

Prices and speeds are passed in: they change every month. An option is beaten when another is at least as good in
quality, cost and seconds, and better in one; the ones that are left (the Pareto front) are a matter of what you need.

Book: 13.2.1 상업용 모델과 오픈소스 모델 선택하기. Left out: people's time, privacy, contracts, what no formula has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from minillm._checks import check_int, check_number, describe, is_listing


class Option(NamedTuple):
    """A model as it can be bought or run: quality (more is better), cost and seconds of a request (less is better)."""

    name: str
    quality: float
    cost: float
    seconds: float


def token_cost(prompt_tokens: int, output_tokens: int, price_in: float, price_out: float) -> float:
    """What a request costs where tokens are sold; prices of a million tokens."""
    check_int("prompt_tokens", prompt_tokens, 0), check_int("output_tokens", output_tokens, 0)
    check_number("price_in", price_in, 0), check_number("price_out", price_out, 0)
    return (prompt_tokens * price_in + output_tokens * price_out) / 1_000_000


def own_cost(output_tokens: int, price_of_hour: float, tokens_per_second: float, in_use: float) -> float:
    """What a request costs on a machine that is paid by the hour; in_use: the share of it that has work, above 0."""
    check_int("output_tokens", output_tokens, 0), check_number("price_of_hour", price_of_hour, 0)
    check_number("tokens_per_second", tokens_per_second, 1e-9), check_number("in_use", in_use, 1e-9, 1)
    return output_tokens * price_of_hour / (3600 * tokens_per_second * in_use)


def break_even_requests(price_of_hour: float, cost_by_token: float) -> float:
    """Requests an hour above which the own machine is cheaper, as long as it can serve so many."""
    check_number("price_of_hour", price_of_hour, 0), check_number("cost_by_token", cost_by_token, 1e-12)
    return price_of_hour / cost_by_token


def pareto(options: Sequence[Option]) -> list[Option]:
    """The options that no other beats, in the order given."""
    if not is_listing(options) or not all(isinstance(one, Option) for one in options):
        raise ValueError(f"options must be a list of Option, got {describe(options)}")
    for one in options:
        for name in ("quality", "cost", "seconds"):
            check_number(name, getattr(one, name))

    def beats(a: Option, b: Option) -> bool:
        mine, others = (a.quality, -a.cost, -a.seconds), (b.quality, -b.cost, -b.seconds)
        return mine != others and all(x >= y for x, y in zip(mine, others))

    return [one for one in options if not any(beats(other, one) for other in options)]
