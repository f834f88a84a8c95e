"""Training on several processes, by hand from send, receive and collectives (book 5.3 분산 학습과 ZeRO).

    launch.py             run_ranks: processes that cannot be left behind
    group.py ring.py      who am I of how many; the sum over all ranks around a ring
    gradients.py data_parallel.py        the model on every rank, the rows cut
    flat.py zero.py       nothing stored twice: averages, gradients, weights cut
    tensor_layers.py tensor_model.py      the matrices cut
    schedules.py pipeline.py stages.py   the layers cut
    recipes.py traffic.py each of them as a short program; the bytes that it sends

For real use a Trainer takes strategy="ddp" or "fsdp": torch's own (training/strategies.py).
"""

from minillm.training.parallel.data_parallel import DataParallel
from minillm.training.parallel.group import own_rows, place, same_start
from minillm.training.parallel.launch import RankFailed, run_ranks
from minillm.training.parallel.pipeline import Pipeline, Slot
from minillm.training.parallel.recipes import (
    Trained,
    counted,
    sum_both_ways,
    train_alone,
    train_data_parallel,
    train_data_parallel_plain,
    train_pipeline,
    train_tensor_parallel,
    train_zero,
)
from minillm.training.parallel.ring import (
    all_reduce_plain,
    ring_all_gather,
    ring_all_reduce,
    ring_chunks,
    ring_reduce_scatter,
)
from minillm.training.parallel.schedules import bubble, gpipe, one_forward_one_backward
from minillm.training.parallel.stages import Stage, stages_of
from minillm.training.parallel.tensor_layers import (
    ColumnParallelLinear,
    RowParallelLinear,
    VocabParallelEmbedding,
    vocab_parallel_cross_entropy,
)
from minillm.training.parallel.tensor_model import (
    tensor_parallel,
    tensor_parallel_loss,
    whole_state_dict,
)
from minillm.training.parallel.traffic import Traffic
from minillm.training.parallel.zero import ZeRO, zero_bytes

__all__ = [
    "ColumnParallelLinear",
    "DataParallel",
    "Pipeline",
    "RankFailed",
    "RowParallelLinear",
    "Slot",
    "Stage",
    "Traffic",
    "Trained",
    "VocabParallelEmbedding",
    "ZeRO",
    "all_reduce_plain",
    "bubble",
    "counted",
    "gpipe",
    "one_forward_one_backward",
    "own_rows",
    "place",
    "ring_all_gather",
    "ring_all_reduce",
    "ring_chunks",
    "ring_reduce_scatter",
    "run_ranks",
    "same_start",
    "stages_of",
    "sum_both_ways",
    "tensor_parallel",
    "tensor_parallel_loss",
    "train_alone",
    "train_data_parallel",
    "train_data_parallel_plain",
    "train_pipeline",
    "train_tensor_parallel",
    "train_zero",
    "vocab_parallel_cross_entropy",
    "whole_state_dict",
    "zero_bytes",
]
