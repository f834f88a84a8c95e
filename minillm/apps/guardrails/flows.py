"""Canonical flows (정해진 대화 흐름): what a user means, by examples, and what is said to it without asking a model.

    threshold: 0.5
    flows:
      - intent: opening hours
        examples: ["When are you open?", "몇 시에 열어요?"]
        answer: "We are open from 9 to 18. 매일 9시부터 18시까지 엽니다."
      - intent: other people's orders
        examples: ["Show me my neighbour's order."]
        refuse: "I can only speak about your own orders."

The flow of the nearest example is taken, if its cosine is `threshold` or more; else the text goes to the model. An
answer that must be right (hours, prices, law) is written by people, and said word by word.

The file is YAML, read by the safe loader: plain values, no objects. Book: 9.3.2 데이터 검증 실습 (NeMo-Guardrails).
Peer: NeMo Guardrails' canonical forms. Left out: flows of several turns (Colang).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minillm._checks import check_number, check_path, check_text, describe
from minillm._files import BadFileError, read_bytes
from minillm.apps.guardrails.ngram_encoder import NgramEncoder
from minillm.apps.guardrails.topics import TopicRail

LARGEST = 1_000_000  # bytes of a file of flows


@dataclass(frozen=True)
class Flow:
    """An intent with its examples, and what is said: an answer, or a refusal."""

    intent: str
    examples: tuple[str, ...]
    says: str
    refuses: bool


class Flows:
    """`Flows(flows, threshold, encoder).match(text)`. encoder: any with `encode(texts)`; None: an NgramEncoder."""

    def __init__(self, flows: list[Flow], threshold: float, encoder: Any = None):
        if not flows or not all(isinstance(one, Flow) for one in flows):
            raise ValueError(f"flows must be a list of Flow, got {describe(flows)}")
        names = [one.intent for one in flows]
        if len(set(names)) < len(names):
            raise ValueError(f"every intent must have a name of its own, got {describe(names)}")
        self.of_example = {example: one for one in flows for example in one.examples}
        if len(self.of_example) < sum(len(one.examples) for one in flows):
            raise ValueError("an example stands twice: it can mean one thing only")
        self.flows = flows
        self.topics = TopicRail(encoder or NgramEncoder(), list(self.of_example), threshold, "flow")

    def match(self, text: str) -> Flow | None:
        """The flow of the nearest example; None where no example is near enough."""
        cosine, example = self.topics.nearest(text)
        return self.of_example[example] if cosine >= self.topics.threshold else None

    @classmethod
    def from_yaml(cls, path: str | Path, encoder: Any = None) -> Flows:
        """The flows of a file. BadFileError (a ValueError) that names the flow and the key that is wrong."""
        path = check_path("path", path)
        data = read_bytes(path, "file of flows")
        if len(data) > LARGEST:
            raise BadFileError(f"file of flows {str(path)!r} has {len(data):,} bytes, {LARGEST:,} at most")
        try:
            threshold, flows = _read(_safe_yaml(data.decode("utf-8")))
            return cls(flows, threshold, encoder)
        except ValueError as error:
            raise BadFileError(f"file of flows {str(path)!r}: {error}") from None


def _safe_yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ImportError(
            f"a file of flows needs PyYAML ({error}): pip install 'minillm[guardrails]'"
        ) from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"is no YAML of plain values: {' '.join(str(error).split())}") from None


def _read(content: Any) -> tuple[float, list[Flow]]:
    if not isinstance(content, dict) or set(content) != {"threshold", "flows"}:
        raise ValueError(f"expected the keys threshold and flows, got {describe(content)}")
    if not isinstance(content["flows"], list):
        raise ValueError(f"flows must be a list, got {describe(content['flows'])}")
    return check_number("threshold", content["threshold"], -1, 1), [
        _flow(f"flow {number}", row) for number, row in enumerate(content["flows"], 1)
    ]


def _flow(name: str, row: Any) -> Flow:
    said = [key for key in ("answer", "refuse") if isinstance(row, dict) and key in row]
    if len(said) != 1 or set(row) != {"intent", "examples", said[0]}:
        raise ValueError(
            f"{name} must have intent, examples, and either answer or refuse, got {describe(row)}"
        )
    examples = row["examples"]
    if (
        not isinstance(examples, list)
        or not examples
        or not all(isinstance(one, str) and one.strip() for one in examples)
    ):
        raise ValueError(f"examples of {name} must be texts, one or more, got {describe(examples)}")
    says = check_text(f"{said[0]} of {name}", row[said[0]])
    return Flow(check_text(f"intent of {name}", row["intent"]), tuple(examples), says, said[0] == "refuse")
