"""Drafts in the engine: what comes next is guessed for many texts, and the step's one pass looks at all of it.

    text A   ... the cat    drafted   sat on the        draws   sat on a         2 drafts right, 3 tokens in one step
    text B   ... 1 2 3      drafted   4 5 6             draws   4 5 6 7          all right, and one more

Every text draws its own token at each place, with its own generator, as if there were no drafts: a draft is right if it
is the token that is drawn, and then the next place's scores, which the pass has given already, are of this very text.
So a text is the same, token by token, with drafts and without, whatever drafts and whoever runs beside it, and its
distribution is the target's.

A draft that could be no other token (prompt lookup, greedy) is right with probability p(token): no less than under the
rule of speculative.py. A draft model draws with a copy of the text's generator, that is with the same noise as the
target will: argmax q / E and argmax p / E are often the same. How often:

    Σ_i 1 / Σ_j max(p_j / p_i, q_j / q_i)   ≥   (1 - D) / (1 + D)      where that rule keeps 1 - D;   D = ½ Σ |p - q|

The draft model's keys lie in the same blocks as the target's, in a memory of its own: one table, two caches. It reads
what the target reads, prompts, too, so that blocks that are shared or found again hold both. Book 8.3.3 추측 디코딩.
Papers: Leviathan et al. 2023, Chen et al. 2023; the coupling: Daliri, Musco and Suresh 2024. Held against
`generate_batch`. Leaves out: beams (which go on without drafts), trees of drafts, a k that adapts.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn

from minillm._checks import check_int, describe
from minillm.inference.drafting import Drafter
from minillm.inference.engine.choosing import Writer, draw
from minillm.inference.engine.paged_cache import Chunk
from minillm.inference.engine.request import Sequence
from minillm.inference.engine.runner import PagedRunner, Part
from minillm.inference.engine.scheduler import Plan
from minillm.inference.loop import Row
from minillm.inference.params import SamplingParams
from minillm.inference.speculative import check_draft_model
from minillm.models.decoder import CausalLM
from minillm.nn.state_cache import has_states


class Drafts(Protocol):
    """What guesses in a step. models: those whose layers it uses."""

    models: tuple[nn.Module, ...]

    def copy(self, pairs: list[tuple[int, int]]) -> None:
        """Blocks (from, to) are copied before the step's pass."""

    def __call__(self, plan: Plan) -> dict[Sequence, list[int]]:
        """Drafts of the texts that plan.ahead has room for, at most so many of each."""


class ModelDrafts:
    """A smaller model guesses, for all texts side by side."""

    def __init__(self, model: CausalLM, num_blocks: int, block_size: int) -> None:
        self.models = (model,)
        self.runner = PagedRunner(model, num_blocks, block_size)
        self.copy = self.runner.copy

    def __call__(self, plan: Plan) -> dict[Sequence, list[int]]:
        """A pass over all that is new, and then one for each draft, over the texts that go on."""
        params = {text: request.alike for request in plan.scored for text in request.sequences}
        rows = {text: _with_the_same_noise(text.row, params[text]) for text in plan.ahead}
        drafts: dict[Sequence, list[int]] = {text: [] for text in rows}
        scores = self._read(plan)  # of each text in plan.ahead: (1, V)
        while rows:
            writers = {text: Writer(row, params[text], scores[text]) for text, row in rows.items()}
            draw([*writers.values()])
            for text, writer in writers.items():
                drafts[text] += writer.tokens
                if rows[text].stop(writer.tokens[0]) or len(drafts[text]) == plan.ahead[text]:
                    del rows[text]
            newest = [(text.table, drafts[text]) for text in rows]
            parts = [Part(Chunk(t.blocks, t.length + len(new) - 1), new[-1:], 1) for t, new in newest]
            scores = dict(zip(rows, self.runner.run(parts))) if parts else {}
        for text, new in drafts.items():
            text.table.drafts_read += len(new) - 1
        return drafts

    def _read(self, plan: Plan) -> dict[Sequence, Any]:
        """The step's certain tokens, and before them the last draft of the step before, which nobody has read yet."""
        parts, texts = [], []
        for piece in (piece for pieces in plan.pieces.values() for piece in pieces):
            text, end = piece.sequence, piece.chunk.start + piece.chunk.count
            start, table = piece.chunk.start, text.table
            if table.drafts_read is not None:
                start = min(start, table.drafts_read)
            ids = text.tokens(start, end - start)
            parts.append(Part(Chunk(table.blocks, start, len(ids)), ids, scored=int(text in plan.ahead)))
            texts.append(text)
            table.drafts_read = end
        return dict(zip(texts, self.runner.run(parts)))


class OtherDrafts:
    """A Drafter guesses (PromptLookup), text by text."""

    models: tuple[nn.Module, ...] = ()

    def __init__(self, drafter: Drafter, vocabulary: int) -> None:
        self.drafter, self.vocabulary = drafter, vocabulary

    def copy(self, pairs: list[tuple[int, int]]) -> None:
        """It remembers nothing."""

    def __call__(self, plan: Plan) -> dict[Sequence, list[int]]:
        """As Drafts'. ValueError for more drafts than were asked for, and for ids that are none."""
        drafts = {}
        for text, room in plan.ahead.items():
            tokens = [token for token, _ in self.drafter.draft(text.row, room)]
            if len(tokens) > room:
                raise ValueError(f"draft must give {room} tokens at most, it gave {len(tokens)}")
            drafts[text] = [check_int("every draft", token, 0, self.vocabulary - 1) for token in tokens]
        return drafts


def new_drafts(draft: Any, model: nn.Module, num_blocks: int, block_size: int) -> Drafts | None:
    """What guesses for an engine; None for draft=None. ValueError for what cannot guess for this model."""
    if draft is None:
        return None
    if has_states(model):
        raise ValueError(
            f"draft must be None for a {type(model).__name__}: its state cannot go back to before a refused draft"
        )
    if not isinstance(draft, nn.Module):
        if not callable(getattr(draft, "draft", None)):
            raise ValueError(f"draft must be a model, a drafter or None, got {describe(draft)}")
        return OtherDrafts(draft, model.config.vocab_size)
    check_draft_model(draft, model)
    if not isinstance(draft, CausalLM) or has_states(draft):
        raise ValueError(f"draft must be a model with a KV cache here, got {type(draft).__name__}")
    if draft.device != model.device:
        raise ValueError(f"draft must be on the model's device {model.device}, it is on {draft.device}")
    return ModelDrafts(draft, num_blocks, block_size)


def _with_the_same_noise(row: Row, params: SamplingParams) -> Row:
    """A row that goes on from here and draws by what the row itself will draw by."""
    fork = row.fork()
    if params.temperature:
        fork.generator = torch.Generator(row.generator.device)
        fork.generator.set_state(row.generator.get_state())
    return fork
