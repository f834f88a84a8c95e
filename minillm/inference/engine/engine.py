"""The engine: many requests share a model, a step at a time.

    add_request -> the line;   step: schedule, one forward pass over tokens of many texts, choose, hand out;   abort

A step takes one token of every text that is being written (and what is drafted behind it, drafts.py) and pieces of
prompts that are being read, side by side in one pass (runner.py), so that the weights are read once for all of them.
Every text is what it would be alone. Book 8.1 배치 전략, 8.3.2 페이지어텐션, 8.4 LLM 서빙 프레임워크. Papers: Yu et al.
2022, Kwon et al. 2023. Held against `generate` and `generate_batch`. Leaves out: CUDA graphs, several GPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from hashlib import blake2b
from typing import Any

import numpy as np
from torch import Tensor, nn

from minillm._checks import check_choice, check_flag, check_int, check_text, describe
from minillm.inference.conditioned import is_encoder_decoder
from minillm.inference.drafting import Drafter
from minillm.inference.engine.batching import BATCHING
from minillm.inference.engine.block_manager import BlockManager
from minillm.inference.engine.choosing import check_tokens, choose, reported
from minillm.inference.engine.drafts import new_drafts
from minillm.inference.engine.forward import forward
from minillm.inference.engine.request import Request, StepOutput, new_request
from minillm.inference.engine.runner import PagedRunner, Runner
from minillm.inference.engine.scheduler import Scheduler
from minillm.inference.engine.slots import SlotRunner
from minillm.inference.engine.waste import Waste
from minillm.inference.engine.writing import apply
from minillm.inference.generate import Completion, check_prompt, steady_window
from minillm.inference.params import SamplingParams
from minillm.models.decoder import CausalLM
from minillm.nn.cache import kv_cache_bytes
from minillm.nn.fast_cpu import fast_layers
from minillm.nn.lora import BASE, adapters_of
from minillm.nn.state_cache import has_states

MEMORY = 2**30  # bytes of keys and values unless num_blocks is given; memory is taken as it is written to


class Engine:
    """Serves a decoder-only model: `generate` for a list of prompts, or `add_request` and `step` for a stream of them.

    tokenizer: of the model; None serves token ids only. block_size: tokens a block. num_blocks: None for as many as
    `max_batch_size` texts as long as the window take, 1 GiB of them at most (and one such text at least).
    max_batch_size: texts at work at a time. max_batch_tokens: tokens computed in a step. batching: "continuous",
    "dynamic" or "static" (batching.py). prefix_caching: whether texts with the same beginning share it.
    draft: what guesses the next tokens, a smaller model of the same vocabulary or a drafter (PromptLookup()), None for
    nothing; k: drafts of a text in a step at most (drafts.py). The texts are the same, with drafts and without.
    A model whose state has a fixed size takes num_blocks slots, max_batch_size unless given; block_size and
    prefix_caching are of no use there (slots.py).
    A model with LoRA adapters (training/lora.py) serves all of them side by side, each request with one of its own.
    One thread at a time may use it. A model that changes needs `blocks.clear_prefixes()`. Raises ValueError for an
    encoder-decoder, for a model that scores no next token, and for settings that do not fit each other.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any = None,
        block_size: int = 16,
        num_blocks: int | None = None,
        max_batch_size: int = 64,
        max_batch_tokens: int = 2048,
        batching: str = "continuous",
        prefix_caching: bool = True,
        draft: nn.Module | Drafter | None = None,
        k: int = 4,
    ):
        if not isinstance(model, CausalLM) or is_encoder_decoder(model):
            raise ValueError(f"model must be a decoder-only language model, got {type(model).__name__}")
        if tokenizer is not None and not callable(getattr(tokenizer, "decode", None)):
            raise ValueError(f"tokenizer must be a tokenizer or None, got {describe(tokenizer)}")
        self.model, self.tokenizer = model, tokenizer
        check_int("block_size", block_size, 1)
        check_int("max_batch_size", max_batch_size, 1)
        check_int("max_batch_tokens", max_batch_tokens, 1)
        if max_batch_tokens < max_batch_size:
            raise ValueError(
                "max_batch_tokens must be at least max_batch_size, so that every text gets its token, "
                f"got {max_batch_tokens} < {max_batch_size}"
            )
        policy = BATCHING[check_choice("batching", batching, tuple(BATCHING))]()
        check_flag("prefix_caching", prefix_caching), check_int("k", k, 1)
        if has_states(model):
            block_size, prefix_caching = steady_window(model), False
            num_blocks = max_batch_size if num_blocks is None else check_int("num_blocks", num_blocks, 1)
            self.runner: Runner = SlotRunner(model, num_blocks)
        else:
            num_blocks = (
                _blocks_for(model, draft, max_batch_size, block_size) if num_blocks is None else num_blocks
            )
            self.runner = PagedRunner(model, num_blocks, block_size)
        self.blocks = BlockManager(num_blocks, block_size, prefix_caching)
        self.drafts = new_drafts(draft, model, num_blocks, block_size)
        self._models = (model,) if self.drafts is None else (model, *self.drafts.models)
        ahead = 0 if self.drafts is None else k
        self.scheduler = Scheduler(self.blocks, policy, max_batch_size, max_batch_tokens, ahead)
        self.waste = Waste()
        self.slots: list[str | None] = [None] * max_batch_size  # whose each place was in the last step
        self._requests: dict[str, Request] = {}
        self._named = 0
        self._fast: ExitStack | None = None  # the model's faster layers, while there are requests
        self._later: list[StepOutput] = []  # of others, made while `generate` ran

    @property
    def window(self) -> int:
        """Tokens of prompt and text together at most.

        With "dynamic" scaling of rotary positions the trained window: beyond it the turns of one text would depend on
        the texts beside it. With a draft model the shorter window of the two.
        """
        return min(map(steady_window, self._models))

    # Requests come and go

    def add_request(
        self,
        prompt: str | Sequence[int],
        params: SamplingParams | None = None,
        request_id: str | None = None,
        adapter: str | None = None,
    ) -> str:
        """Put a request in line; its id, a new one unless given.

        prompt: a text (special tokens in it are seen as such), or token ids. adapter: the name of one of the model's,
        "__base__" for none of them; None is the one that is active now. ValueError, and nothing changed, for what
        `generate_batch` refuses, for an id in use, an adapter that is not there, and for a request that could never
        run: more texts (n, best_of, beams) than max_batch_size, more tokens than all blocks hold.
        """
        if request_id is not None and check_text("request_id", request_id) in self._requests:
            raise ValueError(f"request_id must be new, {describe(request_id)} is in use")
        request = self._new(prompt, params, request_id, adapter)
        self._requests[request.id] = request
        self.scheduler.add(request)
        return request.id

    def check_request(self, prompt: str | Sequence[int], params: SamplingParams | None = None) -> None:
        """ValueError for what `add_request` would refuse; nothing is put in line."""
        self._new(prompt, params, "")

    def _new(
        self,
        prompt: str | Sequence[int],
        params: SamplingParams | None,
        name: str | None = None,
        adapter: str | None = None,
    ) -> Request:
        """A request, checked; not in line yet."""
        adapter, salt = self._adapter(adapter)
        params = SamplingParams() if params is None else params
        if isinstance(prompt, str):
            if self.tokenizer is None:
                raise ValueError("a prompt must be token ids: this engine has no tokenizer")
            prompt = self.tokenizer.encode(prompt)
        ids = check_prompt(self.model, prompt, params, "prompt")
        if len(ids) + params.max_tokens > self.window:
            raise ValueError(
                f"prompt has {len(ids)} tokens and max_tokens is {params.max_tokens}, but the engine serves "
                f"{self.window} (the draft model's window, or with dynamic rotary scaling the trained one)"
            )
        if (width := params.width) > self.scheduler.max_batch_size:  # before so many rows are made
            raise ValueError(
                f"the request asks for {width} texts at a time (n, best_of or beams), "
                f"max_batch_size is {self.scheduler.max_batch_size}"
            )
        while name is None or (name in self._requests and name.isdigit()):
            name, self._named = str(self._named), self._named + 1
        request = new_request(self.model, self.tokenizer, name, ids, params)
        request.adapter, request.salt = adapter, salt
        if (asked := request.most_blocks(self.blocks)) > self.blocks.num_blocks:
            raise ValueError(
                f"the request may need {asked} blocks of {self.blocks.block_size} tokens, "
                f"the engine has {self.blocks.num_blocks}"
            )
        return request

    def _adapter(self, name: str | None) -> tuple[str, bytes]:
        """(the adapter that is meant, what its texts' blocks are salted with); ValueError for one not there."""
        shared = adapters_of(self.model)
        if shared is None:
            if name not in (None, BASE):
                raise ValueError(f"adapter must be None: the model has no adapters, got {describe(name)}")
            return BASE, b""
        name = shared.active if name is None else shared.check(name, BASE)
        if shared.merged not in (None, name):
            raise ValueError(f"the adapter {shared.merged!r} lies in the weights: no other can be served")
        return name, _salt(shared.identity(name))

    def _check_adapters(self) -> None:
        """ValueError while a request's adapter is not the one any more that it came for."""
        shared, salts = adapters_of(self.model), {BASE: b""}
        if shared is not None:
            salts |= {name: _salt(shared.identity(name)) for name in shared.serials}
        for request in self._requests.values():
            if salts.get(request.adapter) != request.salt:
                raise ValueError(
                    f"the adapter {request.adapter!r} of request {request.id!r} is gone or another by now: abort it"
                )

    def abort(self, request_id: str) -> bool:
        """Drop a request and free its blocks; False if there is none of this id (any more)."""
        request = self._requests.pop(check_text("request_id", request_id), None)
        if request is None:
            return False
        self.scheduler.abort(request)
        if not self._requests:
            self._plain_layers()
        return True

    @property
    def unfinished(self) -> int:
        """Requests that wait or run."""
        return len(self._requests)

    def generate(
        self,
        prompts: Any,
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        adapters: str | Sequence[str | None] | None = None,
    ) -> list[Completion]:
        """Completions of all prompts, params.n for each, in order, as `generate_batch` gives them.

        prompts: a list of texts or of lists of ids (or a single one). params, adapters: one for all, or one for each
        (see `add_request`). Requests that were there before go on meanwhile; what they get comes with the next `step`.
        ValueError as `add_request`, before anything starts; a call that fails or is interrupted takes its requests
        along.
        """
        if not isinstance(prompts, (str, Sequence)):
            raise ValueError(
                f"prompts must be a list of texts or of lists of token ids, got {describe(prompts)}"
            )
        if isinstance(prompts, str) or (
            len(prompts) and not isinstance(prompts[0], (str, Sequence, Tensor, np.ndarray))
        ):
            prompts = [prompts]
        if not isinstance(params, (list, tuple)):
            params = [params] * len(prompts)
        if len(params) != len(prompts):
            raise ValueError(f"params must be one or {len(prompts)}, one a prompt, got {len(params)}")
        if not isinstance(adapters, (list, tuple)):
            adapters = [adapters] * len(prompts)
        if len(adapters) != len(prompts):
            raise ValueError(f"adapters must be one or {len(prompts)}, one a prompt, got {len(adapters)}")
        each = zip(prompts, params, adapters)
        requests = [self._new(prompt, one, None, adapter) for prompt, one, adapter in each]
        mine = {request.id for request in requests}
        kept = list(self._later)
        try:
            for request in requests:
                self._requests[request.id] = request
                self.scheduler.add(request)
            self.scheduler.no_more_come = True
            while any(name in self._requests for name in mine):
                kept += [out for out in self.step() if out.request_id not in mine]
        finally:
            self.scheduler.no_more_come = False
            self._later = kept
            for name in mine:
                self.abort(name)
        return [completion for request in requests for completion in request.completions()]

    # A step

    def step(self) -> list[StepOutput]:
        """One forward pass; what it added to the texts. [] where nothing is to do, or nobody got a token.

        Whatever is raised inside leaves every request where its text was; those that ran wait again. ValueError for a
        request whose adapter was deleted meanwhile, until it is aborted.
        """
        self._check_adapters()
        outputs, self._later = self._later, []
        try:
            plan = self.scheduler.schedule()
            if plan.pieces:
                self._fast_layers()
                self.runner.copy(plan.copies)
                if self.drafts is not None:
                    self.drafts.copy(plan.copies)
                    plan.drafts = self.drafts(plan)
                logits, said = forward(self.runner, plan)
                choices = choose(logits, plan.drafts)
                check_tokens(choices, getattr(self.tokenizer, "vocab_size", None))
                scores = reported(choices, logits)
        except BaseException:
            self.scheduler.rollback()
            self._later = outputs
            raise
        if plan.pieces:
            self.blocks.commit()
            for request, new in said.items():
                request.prompt_scores += new
            self.slots = self._slots()
            self.waste.count(plan, self.scheduler, choices)
            for request, choice in choices.items():
                outputs += apply(self.scheduler, request, choice, scores.get(request))
                if not request.sequences:
                    del self._requests[request.id]
        if not self._requests:
            self._plain_layers()
        return outputs

    def _fast_layers(self) -> None:
        """The model's layers in their faster ways; asked for once, not for every step: it goes through all modules."""
        if self._fast is None:
            self._fast = ExitStack()
            for model in self._models:
                self._fast.enter_context(fast_layers(model, copies=True))

    def _plain_layers(self) -> None:
        """Nothing is to do: the model's layers are torch's own again."""
        if self._fast is not None:
            self._fast.close()
            self._fast = None

    # What is going on

    def _slots(self) -> list[str | None]:
        slots: list[str | None] = [None] * self.scheduler.max_batch_size
        for request, seats in self.scheduler.seats.items():
            for seat in seats:
                slots[seat] = request.id
        return slots

    def stats(self) -> dict[str, Any]:
        """Counts of now (free_blocks, num_blocks, running, waiting) and the sums of `Waste` since the start."""
        return {
            "free_blocks": self.blocks.free_blocks,
            "num_blocks": self.blocks.num_blocks,
            "running": len(self.scheduler.running),
            "waiting": len(self.scheduler.waiting),
            "prompt_tokens": self.blocks.asked_tokens,
            "prefix_hit_tokens": self.blocks.hit_tokens,
            **vars(self.waste),
        }


def _blocks_for(model: CausalLM, draft: Any, texts: int, block_size: int) -> int:
    """As many as `texts` texts of the window's length take, but MEMORY at most, and one such text at least."""
    a_text = -(-steady_window(model) // block_size)
    a_block = sum(
        kv_cache_bytes(one.config, 1, block_size, one.dtype)
        for one in (model, draft)
        if isinstance(one, CausalLM)
    )
    return max(a_text, min(texts * a_text, MEMORY // a_block))


def _salt(identity: str) -> bytes:
    """What the blocks of an adapter's texts are salted with; nothing for the base's."""
    return blake2b(identity.encode(), digest_size=16).digest() if identity else b""
