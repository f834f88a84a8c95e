"""The models of chapter 4, each from the one before: a language, then instructions, then what readers like.

    pretrained    commented programs and sheets of exercises           ->  a model that goes on with a text
    instructed    3,000 instructions and their answers                 ->  a model that answers
    judging       which of two of its answers a noisy judge preferred  ->  a model that scores

This file is the recipe; program_models.py makes each once and keeps it. Everything is seeded; another processor's model
differs a little. The world is data/small_programs.py: what is right is found out by running it. What is learned comes
from its part "train"; no function of "test" stands there, by construction.

Book: 4.1 코딩 테스트 통과하기, 4.2.1 선호 데이터셋을 사용한 채점 모델 만들기. Paper: Ouyang et al. 2022.
Left out: what would take longer; a second judge.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from minillm.course.small.program_scores import (
    PARAMS,
    answer_texts,
    chat_prompts,
)
from minillm.course.small.recipe import one_thread
from minillm.data import (
    instruction_rows,
    preference_pairs,
    program_rows,
    program_texts,
    small_tasks,
)
from minillm.evaluation import readability
from minillm.inference import rollout
from minillm.models import Llama, LlamaConfig
from minillm.tokenizer import BPETokenizer
from minillm.training import (
    PackedSet,
    PreferenceSet,
    RewardModel,
    RewardObjective,
    SFTObjective,
    Trainer,
    TrainerConfig,
    chat_examples,
)
from minillm.training.alignment.reward import pair_rewards

END, USER, ASSISTANT = "<|endoftext|>", "<|user|>", "<|assistant|>"
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
# Words with the space before them, as GPT-2's pattern has it; a digit is a piece of its own, whatever stands before it,
# so that the 3 of "add 3", "x+3" and "3을" is one token: what an answer copies from its instruction.
PATTERN = r" ?\p{L}+(?: (?=\d))?|\d| ?[^\s\p{L}\d]+(?: (?=\d))?|\s+"
ROWS, PAIRS = 1, 2  # seeds of the instructions, beside the recipe's, that rows and pairs are of


@dataclass(frozen=True)
class ProgramRecipe:
    """Everything that decides the three models."""

    vocab_size: int = 576
    layers: int = 2
    width: int = 64  # model width C
    inner: int = 128
    heads: int = 4
    longest: int = 128  # tokens of an instruction and its answer
    spread: float = 0.1  # of the first weights; at the usual .02 the loss falls more slowly here
    texts: int = 20_000  # to learn a language from
    batch_size: int = 4  # packed rows of `longest` tokens; few, so that the same tokens make more steps
    steps: int = 2800
    learning_rate: float = 6e-3
    rows: int = 3000  # instructions with an answer
    sft_steps: int = 250
    sft_batch_size: int = 32
    sft_learning_rate: float = 3e-3
    pairs: int = 1000
    reward_steps: int = 120
    reward_batch_size: int = 32
    reward_learning_rate: float = 2e-3
    seed: int = 0


class ProgramModel(NamedTuple):
    """A language model in evaluation mode, its tokenizer, and the facts that were measured when it was made."""

    model: Llama
    tokenizer: BPETokenizer
    facts: dict[str, Any]


class ProgramJudge(NamedTuple):
    """A reward model in evaluation mode, the tokenizer, and the facts that were measured when it was made."""

    model: RewardModel
    tokenizer: BPETokenizer
    facts: dict[str, Any]


# --- a language ---


def program_tokenizer(texts: Sequence[str], vocab_size: int) -> BPETokenizer:
    """A tokenizer of programs, English and Korean, with the chat template of this world."""
    tokenizer = BPETokenizer.train(texts, vocab_size, (END, USER, ASSISTANT), PATTERN)
    tokenizer.chat_template, tokenizer.roles = TEMPLATE, {"eos_token": END}
    return tokenizer


def new_program_model(tokenizer: BPETokenizer, recipe: Any) -> Llama:
    """A Llama of the recipe's size with random weights; recipe: a ProgramRecipe, or one with the same sizes."""
    config = LlamaConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=recipe.width, intermediate_size=recipe.inner,
        num_hidden_layers=recipe.layers, num_attention_heads=recipe.heads, max_position_embeddings=recipe.longest,
        tie_word_embeddings=True, initializer_range=recipe.spread, eos_token_id=tokenizer.token_to_id(END),
    )  # fmt: skip
    return Llama(config, seed=recipe.seed)


def pretrained(recipe: ProgramRecipe = ProgramRecipe(), progress: bool = False) -> ProgramModel:
    """Texts, packed side by side so that none sees another, from random weights."""
    start = time.process_time()
    texts = program_texts(recipe.texts, seed=recipe.seed)
    tokenizer = program_tokenizer(texts, recipe.vocab_size)
    model = new_program_model(tokenizer, recipe)
    (end,) = tokenizer.encode(END, allowed_special="all")
    data = PackedSet([[end, *ids, end] for ids in map(tokenizer.encode, texts)], recipe.longest)
    settings = training_settings(recipe, recipe.steps, recipe.batch_size, recipe.learning_rate, progress)
    history = _train(model, settings, data, SFTObjective())
    facts = _facts(recipe, model, history, start) | {"texts": len(texts)}
    return ProgramModel(model, tokenizer, facts)


def training_settings(
    recipe: ProgramRecipe, steps: int, batch_size: int, learning_rate: float, progress: bool = False
) -> TrainerConfig:
    """What the trainer is told in all three: AdamW, a warm-up of a twentieth of the steps, then a cosine."""
    return TrainerConfig(
        max_steps=steps, batch_size=batch_size, context_length=recipe.longest, learning_rate=learning_rate,
        warmup_steps=steps // 20, betas=(0.9, 0.99), weight_decay=0.1, precision="fp32", seed=recipe.seed,
        log_every=max(1, steps // 10), progress=progress,
    )  # fmt: skip


# --- instructions ---


def taught_rows(recipe: ProgramRecipe = ProgramRecipe()) -> list[dict[str, Any]]:
    """The instructions and answers of the recipe, {"messages": [user, assistant]} each."""
    return program_rows(small_tasks(recipe.rows, "train", seed=recipe.seed + ROWS), seed=recipe.seed)


def instructed(
    base: ProgramModel,
    recipe: ProgramRecipe = ProgramRecipe(),
    progress: bool = False,
    rows: Sequence[dict[str, Any]] | None = None,
) -> ProgramModel:
    """A copy of the base model that has learned answers to instructions; the loss is that of the answers alone.

    rows: of any form that instruction_rows reads, in place of the recipe's own; ValueError as there.
    facts["losses"]: ten of the run, nats a token.
    """
    start = time.process_time()
    model = copy.deepcopy(base.model)
    rows = taught_rows(recipe) if rows is None else instruction_rows(rows)
    conversations = [row["messages"] for row in rows]
    data = chat_examples(base.tokenizer, conversations).examples
    settings = training_settings(
        recipe, recipe.sft_steps, recipe.sft_batch_size, recipe.sft_learning_rate, progress
    )
    history = _train(model, settings, data, SFTObjective())
    return ProgramModel(model, base.tokenizer, _facts(recipe, model, history, start) | {"rows": len(data)})


# --- what readers like ---


def judged_pairs(
    sft: ProgramModel, n: int, part: str = "train", seed: int = 0
) -> tuple[list[dict[str, Any]], PreferenceSet]:
    """(what the judge says of two answers of the model to each of `n` instructions, the same to learn from).

    Two equal answers are left out, so fewer may come back.
    """
    tasks = small_tasks(n, part, seed=seed + PAIRS)
    prompts = [ids for ids in chat_prompts(sft.tokenizer, tasks) for _ in range(2)]
    with one_thread():
        answers = rollout(sft.model, prompts, replace(PARAMS, seed=seed))
    texts = [text or "" for text in answer_texts(sft.tokenizer, answers)]
    asked = [(task.prompt, *texts[2 * i : 2 * i + 2]) for i, task in enumerate(tasks)]
    rows = preference_pairs([one for one in asked if all(one)], readability, seed=seed)
    # the very ids that were written: the same text may have other ids, too
    asks = {task.prompt: ids for task, ids in zip(tasks, prompts[::2])}
    ids_of = {(tasks[i // 2].prompt, text): ids for i, (text, ids) in enumerate(zip(texts, answers))}
    pairs = []
    for row in rows:
        prompt = row["prompt"][0]["content"]
        sides = {f"{side}_ids": ids_of[prompt, row[side]] for side in ("chosen", "rejected")}
        pairs.append({"prompt_ids": asks[prompt], **sides})
    return rows, PreferenceSet(pairs)


def judging(
    sft: ProgramModel, recipe: ProgramRecipe = ProgramRecipe(), progress: bool = False
) -> ProgramJudge:
    """A reward model on a copy of the SFT model's body, learned from pairs that a noisy judge of style chose."""
    start = time.process_time()
    _, pairs = judged_pairs(sft, recipe.pairs, "train", recipe.seed)
    model = RewardModel(copy.deepcopy(sft.model.body), seed=recipe.seed)
    settings = training_settings(
        recipe, recipe.reward_steps, recipe.reward_batch_size, recipe.reward_learning_rate, progress
    )
    history = _train(model, settings, pairs, RewardObjective())
    with one_thread(), torch.no_grad():  # a reward has no zero and no unit: these two give it one
        rewards = torch.cat(pair_rewards(model)(pairs.rows(range(len(pairs)))))
    scale = {"mean": round(float(rewards.mean()), 6), "deviation": round(float(rewards.std()), 6)}
    return ProgramJudge(
        model, sft.tokenizer, _facts(recipe, model, history, start) | {"pairs": len(pairs)} | scale
    )


def proxy_reward(
    judge: ProgramJudge,
) -> Callable[[Sequence[Sequence[int]], Sequence[Sequence[int]]], np.ndarray]:
    """The rewards of answers to prompts (ids) with mean 0 and deviation 1 over what the SFT model writes, (N,).

    What PPOTrainer, GRPOTrainer and best_of_n take as `reward`; so a beta means the same for every judge.
    """
    mean, deviation = judge.facts["mean"], judge.facts["deviation"]
    return lambda prompts, answers: (np.array(judge.model.reward(prompts, answers)) - mean) / deviation


# --- pieces ---


def _train(model: Any, settings: TrainerConfig, data: Any, objective: Any) -> list[dict[str, Any]]:
    with one_thread():  # a model this small gains nothing by a second one, and repeats itself on any machine
        history = Trainer(model, settings, data, objective=objective).train()
    model.eval()
    return history


def _facts(
    recipe: ProgramRecipe, model: Any, history: Sequence[dict[str, Any]], start: float
) -> dict[str, Any]:
    """What is kept beside each of the three."""
    return {
        "losses": [round(record["train_loss"], 4) for record in history],
        "cpu_seconds": round(time.process_time() - start, 1),
        "parameters": sum(parameter.numel() for parameter in model.parameters()), "recipe": asdict(recipe),
        "python": ".".join(map(str, sys.version_info[:3])), "torch": torch.__version__,
    }  # fmt: skip
