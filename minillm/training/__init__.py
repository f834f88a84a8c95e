"""Training by hand: AdamW, schedules, clipping, collators, objectives, and a loop that resumes bit for bit."""

from minillm.training.adamw import AdamW
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
from minillm.training.distillation import distillation_loss, forward_kl, hidden_state_loss, reverse_kl
from minillm.training.distillation_objective import DistillationObjective, ProjectedStudent
from minillm.training.distillation_student import student_from_layers, teacher_examples
from minillm.training.evaluate import EvalPrediction, PredictionOutput
from minillm.training.gradient_cache import cached_loss
from minillm.training.groups import decay_groups
from minillm.training.labelled import LabelledSet, PairSet
from minillm.training.linear_cross_entropy import linear_cross_entropy, linear_cross_entropy_plain
from minillm.training.loop import TrainingDiverged
from minillm.training.masking import MaskedLMNoise
from minillm.training.noise import NoisySet
from minillm.training.objectives import (
    CausalLMObjective,
    ClassificationObjective,
    MaskedLMObjective,
    Objective,
    Outcome,
    OwnLossObjective,
    QuestionAnsweringObjective,
    Seq2SeqObjective,
    shift_right,
)
from minillm.training.open_loop import open_loop
from minillm.training.saved_memory import SavedMemory
from minillm.training.schedule import cosine_schedule, schedule
from minillm.training.spans import SpanCorruption
from minillm.training.trainer import Trainer

__all__ = [
    "AdamW",
    "BARTNoise",
    "CausalLMObjective",
    "ClassificationObjective",
    "DataCollatorForLanguageModeling",
    "DataCollatorForSeq2Seq",
    "DataCollatorForTokenClassification",
    "DataCollatorWithPadding",
    "DistillationObjective",
    "EarlyStoppingCallback",
    "EvalPrediction",
    "ExampleSet",
    "LabelledSet",
    "MaskedLMNoise",
    "MaskedLMObjective",
    "NoisySet",
    "Objective",
    "Outcome",
    "OwnLossObjective",
    "PairSet",
    "PredictionOutput",
    "PrinterCallback",
    "ProjectedStudent",
    "QuestionAnsweringObjective",
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
    "best_checkpoint",
    "cached_loss",
    "checkpoints",
    "clip_gradients",
    "cosine_schedule",
    "cross_entropy",
    "cross_entropy_plain",
    "decay_groups",
    "default_data_collator",
    "distillation_loss",
    "forward_kl",
    "gradient_norm",
    "hidden_state_loss",
    "latest_checkpoint",
    "linear_cross_entropy",
    "linear_cross_entropy_plain",
    "open_loop",
    "pick_device",
    "pick_precision",
    "reverse_kl",
    "schedule",
    "shift_right",
    "student_from_layers",
    "teacher_examples",
]
