"""What torchrun runs: under_torchrun.py FILE STRATEGY KIND; rank 0 writes its losses, a killed rank 1 the time."""

import os
import signal
import sys
import time
from pathlib import Path

from minillm.training import TrainerCallback
from tests.training.parallel.trainers import make

RANK = int(os.environ["RANK"])


class Killed(TrainerCallback):
    """Rank 1 is killed before step 3."""

    def on_step_begin(self, args, state, control, **parts):
        if RANK == 1 and state.global_step == 2:
            Path(sys.argv[1]).write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    run = make("stream", sys.argv[2], processes=int(os.environ["WORLD_SIZE"]), seed=RANK)
    if sys.argv[3] == "killed":
        run.add_callback(Killed())
    run.train()
    if RANK == 0:
        Path(sys.argv[1]).write_text("\n".join(str(one["train_loss"]) for one in run.history))
