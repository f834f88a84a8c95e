"""Training by hand: AdamW, schedules, clipping, collators, objectives, and a loop that resumes bit for bit."""

from minillm.training.adamw import AdamW
from minillm.training.adamw8bit import AdamW8bit
from minillm.training.adapters import load_adapter, save_adapter
from minillm.training.alignment import (
    AdaptiveKL,
    BanditPolicy,
    DPOObjective,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    PackedSet,
    PPOConfig,
    PPOTrainer,
    PreferenceSet,
    RewardModel,
    RewardObjective,
    SFTObjective,
    answer_spans,
    best_fit,
    best_of_n,
    best_of_n_kl,
    best_of_n_probabilities,
    bradley_terry_loss,
    chat_example,
    chat_examples,
    critic_of,
    document_mask,
    dpo_loss,
    expert_iteration,
    gae,
    group_advantages,
    grpo_loss,
    hinge_loss,
    ipo_loss,
    k3,
    k3_policy,
    optimal_policy,
    ppo_loss,
    preference_pair,
    reward_report,
    sequence_logprobs,
    token_logprobs,
    token_rewards,
    value_loss,
    whiten,
)
from minillm.training.arguments import TrainingArguments
from minillm.training.batches import ExampleSet, TokenStream
from minillm.training.callbacks import (
    EarlyStoppingCallback,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
)
from minillm.training.checkpoint import best_checkpoint, checkpoints, latest_checkpoint
from minillm.training.checkpointing import checkpointed_plain
from minillm.training.checkpointing_blocks import checkpointed_blocks
from minillm.training.checkpointing_hooks import checkpointed
from minillm.training.clipping import clip_gradients, gradient_norm
from minillm.training.collators import (
    DataCollatorForLanguageModeling,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    default_data_collator,
)
from minillm.training.config import TrainerConfig, pick_device, pick_precision
from minillm.training.cross_entropy import cross_entropy, cross_entropy_plain
from minillm.training.denoising import BARTNoise
from minillm.training.diffusion import EMA, DiffusionTrainer, diffusion_loss
from minillm.training.distillation import distillation_loss, forward_kl, hidden_state_loss, reverse_kl
from minillm.training.distillation_objective import DistillationObjective, ProjectedStudent
from minillm.training.distillation_student import student_from_layers, teacher_examples
from minillm.training.evaluate import EvalPrediction, PredictionOutput
from minillm.training.gradient_cache import cached_loss
from minillm.training.groups import decay_groups
from minillm.training.labelled import LabelledSet, PairSet
from minillm.training.linear_cross_entropy import linear_cross_entropy, linear_cross_entropy_plain
from minillm.training.loop import TrainingDiverged
from minillm.training.lora import (
    adapters_off,
    apply_lora,
    delete_adapter,
    set_adapter,
    trainable_parameters,
)
from minillm.training.lora_merge import merge_lora, unmerge_lora
from minillm.training.masking import MaskedLMNoise
from minillm.training.memory import (
    TrainingMemory,
    largest_batch,
    memory_table,
    parameter_memory,
    training_memory,
)
from minillm.training.noise import NoisySet
from minillm.training.objectives import (
    CausalLMObjective,
    ClassificationObjective,
    MaskedLMObjective,
    Objective,
    Outcome,
    OwnLossObjective,
    PictureObjective,
    QuestionAnsweringObjective,
    Seq2SeqObjective,
    shift_right,
)
from minillm.training.open_loop import open_loop
from minillm.training.paged import PagedAdamW
from minillm.training.pictures import PictureCollator, freeze_for, look_once, picture_example
from minillm.training.saved_memory import SavedMemory
from minillm.training.schedule import cosine_schedule, schedule
from minillm.training.spans import SpanCorruption
from minillm.training.trainer import Trainer

__all__ = [
    "EMA",
    "AdamW",
    "AdamW8bit",
    "AdaptiveKL",
    "BARTNoise",
    "BanditPolicy",
    "CausalLMObjective",
    "ClassificationObjective",
    "DPOObjective",
    "DPOTrainer",
    "DataCollatorForLanguageModeling",
    "DataCollatorForSeq2Seq",
    "DataCollatorForTokenClassification",
    "DataCollatorWithPadding",
    "DiffusionTrainer",
    "DistillationObjective",
    "EarlyStoppingCallback",
    "EvalPrediction",
    "ExampleSet",
    "GRPOConfig",
    "GRPOTrainer",
    "LabelledSet",
    "MaskedLMNoise",
    "MaskedLMObjective",
    "NoisySet",
    "Objective",
    "Outcome",
    "OwnLossObjective",
    "PPOConfig",
    "PPOTrainer",
    "PackedSet",
    "PagedAdamW",
    "PairSet",
    "PictureCollator",
    "PictureObjective",
    "PredictionOutput",
    "PreferenceSet",
    "PrinterCallback",
    "ProjectedStudent",
    "QuestionAnsweringObjective",
    "RewardModel",
    "RewardObjective",
    "SFTObjective",
    "SavedMemory",
    "Seq2SeqObjective",
    "SpanCorruption",
    "TokenStream",
    "Trainer",
    "TrainerCallback",
    "TrainerConfig",
    "TrainerControl",
    "TrainerState",
    "TrainingArguments",
    "TrainingDiverged",
    "TrainingMemory",
    "adapters_off",
    "answer_spans",
    "apply_lora",
    "best_checkpoint",
    "best_fit",
    "best_of_n",
    "best_of_n_kl",
    "best_of_n_probabilities",
    "bradley_terry_loss",
    "cached_loss",
    "chat_example",
    "chat_examples",
    "checkpointed",
    "checkpointed_blocks",
    "checkpointed_plain",
    "checkpoints",
    "clip_gradients",
    "cosine_schedule",
    "critic_of",
    "cross_entropy",
    "cross_entropy_plain",
    "decay_groups",
    "default_data_collator",
    "delete_adapter",
    "diffusion_loss",
    "distillation_loss",
    "document_mask",
    "dpo_loss",
    "expert_iteration",
    "forward_kl",
    "freeze_for",
    "gae",
    "gradient_norm",
    "group_advantages",
    "grpo_loss",
    "hidden_state_loss",
    "hinge_loss",
    "ipo_loss",
    "k3",
    "k3_policy",
    "largest_batch",
    "latest_checkpoint",
    "linear_cross_entropy",
    "linear_cross_entropy_plain",
    "load_adapter",
    "look_once",
    "memory_table",
    "merge_lora",
    "open_loop",
    "optimal_policy",
    "parameter_memory",
    "pick_device",
    "pick_precision",
    "picture_example",
    "ppo_loss",
    "preference_pair",
    "reverse_kl",
    "reward_report",
    "save_adapter",
    "schedule",
    "sequence_logprobs",
    "set_adapter",
    "shift_right",
    "student_from_layers",
    "teacher_examples",
    "token_logprobs",
    "token_rewards",
    "trainable_parameters",
    "training_memory",
    "unmerge_lora",
    "value_loss",
    "whiten",
]
