"""What stands on an encoder (book 3.3.1 모델 활용하기): four questions to its hidden states.

    masked words           what stood here?              logits (B, T, V)     the output matrix is the embedding table
    classes of a text      which kind is this text?      logits (B, labels)
    classes of tokens      which kind is this word?      logits (B, T, labels)
    an answer in a text    where does it start and end?  start_logits, end_logits (B, T)

A head is small and new; the body under it is trained. Papers: Devlin et al. 2019; Liu et al. 2019 (RoBERTa's heads).
Held against transformers' BertForMaskedLM and its sisters. Labels and losses: minillm.training.objectives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from minillm.models.base import Weight
from minillm.models.encoder import EncoderBody, EncoderConfig
from minillm.models.heads import TaskModel
from minillm.models.outputs import BodyOutput, LogitsOutput, PooledOutput, QuestionAnsweringOutput
from minillm.nn.blocks import ACTIVATIONS, LayerNorm


class EncoderWithHead(TaskModel):
    """An encoder and a head: `score` makes of the body's output what the head has to say."""

    body_class: ClassVar[type[EncoderBody]]
    task: ClassVar[str]  # how transformers' names of these models end
    older_names = EncoderBody.older_names
    pools: ClassVar[bool] = False  # whether the head stands on the pooler; if not, the body has none

    def build(self, config: EncoderConfig) -> None:
        """The body, with its pooler only if the head needs it, and the head."""
        super().build(config)
        if not self.pools:
            self.body.pooler = None

    def score(self, out: PooledOutput) -> BodyOutput:
        """The body's output -> the head's."""
        raise NotImplementedError

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        return f"{self.body.family}{self.task}"

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> BodyOutput:
        """What `score` makes of the hidden states. The arguments and what they raise are EncoderBody.forward's."""
        return self.score(
            self.body(
                input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, output_hidden_states
            )
        )

    def new_rows(self) -> Iterator[tuple[str, str]]:
        """The head's tensors, and the pooler's where the head stands on it: a masked language model has none."""
        yield from super().new_rows()
        if self.pools:
            for kind in ("weight", "bias"):
                yield f"body.pooler.{kind}", f"{self.body.prefix}pooler.dense.{kind}"

    def from_hugging_face(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As ModelWithHead's; KeyError for a pooler that is missing, if the head stands on it."""
        state = super().from_hugging_face(tensors)
        if self.pools and self.body.pooler is None:
            raise KeyError(f"{self.body.prefix}pooler.dense.weight")
        return state


class MaskedLMHead(nn.Module):
    """Hidden states (..., C) -> scores (..., V): one more layer, a norm, the embedding table as output matrix."""

    def __init__(self, width: int, vocab_size: int, activation: str, eps: float):
        super().__init__()
        self.transform = nn.Linear(width, width)
        self.activation = ACTIVATIONS[activation]
        self.norm = LayerNorm(width, eps)
        self.output = nn.Linear(width, vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., C) -> (..., V)."""
        # logits = E norm(φ(W x + b)) + c
        return self.output(self.norm(self.activation(self.transform(x))))


class ForMaskedLM(EncoderWithHead):
    """Which word stood under the mask. Folders may hold the output bias twice, under `second_bias` too."""

    task, output = "ForMaskedLM", "head.output"
    second_bias: ClassVar[str]

    def activation(self, config: EncoderConfig) -> str:
        """Of the head's first layer."""
        return config.hidden_act

    def build_head(self, config: EncoderConfig) -> None:
        """The head."""
        self.head = MaskedLMHead(
            config.width, config.vocab_size, self.activation(config), config.layer_norm_eps
        )

    def score(self, out: PooledOutput) -> LogitsOutput:
        """Logits (B, T, V)."""
        return LogitsOutput(out.last_hidden_state, out.hidden_states, logits=self.head(out.last_hidden_state))

    def behind_prefix(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As ModelWithHead's, with one bias: the second where there is one, for that is the one that is used."""
        tensors = dict(tensors)
        if self.second_bias in tensors:
            tensors[self._bias()] = tensors.pop(self.second_bias)
        return super().behind_prefix(tensors)

    def to_hugging_face(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As ModelWithHead's; without a tie transformers wants the bias under both names."""
        out = super().to_hugging_face(state)
        if not self.config.tie_word_embeddings:
            out[self.second_bias] = out[self._bias()].clone()
        return out

    def _bias(self) -> str:
        return next(theirs for ours, theirs, _ in self.weight_rows() if ours == ("head.output.bias",))


class Classifier(EncoderWithHead):
    """One layer from a vector of the body to num_labels scores."""

    labelled = True
    weights = (
        Weight("classifier.weight", "classifier.weight"),
        Weight("classifier.bias", "classifier.bias"),
    )

    def build_head(self, config: EncoderConfig) -> None:
        """The head."""
        own = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if own is None else own)
        self.classifier = nn.Linear(config.width, config.num_labels)


class ForSequenceClassification(Classifier):
    """Which kind of text: the classifier stands on the pooled first token."""

    task, pools = "ForSequenceClassification", True

    def score(self, out: PooledOutput) -> LogitsOutput:
        """Logits (B, labels)."""
        logits = self.classifier(self.dropout(out.pooler_output))
        return LogitsOutput(out.last_hidden_state, out.hidden_states, logits=logits)


class ForTokenClassification(Classifier):
    """Which kind of word, for every token: names, parts of speech."""

    task = "ForTokenClassification"

    def score(self, out: PooledOutput) -> LogitsOutput:
        """Logits (B, T, labels)."""
        logits = self.classifier(self.dropout(out.last_hidden_state))
        return LogitsOutput(out.last_hidden_state, out.hidden_states, logits=logits)


class ForFirstTokenClassification(Classifier):
    """Which kind of text: two layers on the first token, RoBERTa's way, which has no pooler of its own."""

    task = "ForSequenceClassification"
    weights = (
        *(Weight(f"dense.{kind}", f"classifier.dense.{kind}") for kind in ("weight", "bias")),
        *(Weight(f"classifier.{kind}", f"classifier.out_proj.{kind}") for kind in ("weight", "bias")),
    )

    def build_head(self, config: EncoderConfig) -> None:
        """The head."""
        super().build_head(config)
        self.dense = nn.Linear(config.width, config.width)

    def score(self, out: PooledOutput) -> LogitsOutput:
        """Logits (B, labels)."""
        x = torch.tanh(self.dense(self.dropout(out.last_hidden_state[:, 0])))  # (B, C)
        logits = self.classifier(self.dropout(x))
        return LogitsOutput(out.last_hidden_state, out.hidden_states, logits=logits)


class ForQuestionAnswering(EncoderWithHead):
    """Where the answer stands in the text: two scores for every token."""

    task = "ForQuestionAnswering"
    weights = (Weight("spans.weight", "qa_outputs.weight"), Weight("spans.bias", "qa_outputs.bias"))

    def build_head(self, config: EncoderConfig) -> None:
        """The head."""
        self.spans = nn.Linear(config.width, 2)

    def score(self, out: PooledOutput) -> QuestionAnsweringOutput:
        """start_logits and end_logits (B, T)."""
        start, end = self.spans(out.last_hidden_state).unbind(-1)
        return QuestionAnsweringOutput(
            out.last_hidden_state, out.hidden_states, start_logits=start, end_logits=end
        )
