"""What a Trainer does with what it has: the model into a folder or onto the hub, figures onto the page and into files.

    trainer.save_model()                          output_dir/config.json, model.safetensors, tokenizer.json
    trainer.push_to_hub()                         the same, uploaded
    trainer.save_metrics("eval", metrics)         output_dir/eval_results.json, and added to all_results.json
    trainer.save_state()                          output_dir/trainer_state.json

Book: 3.4.4 학습한 모델 업로드하기. Held against: the methods of transformers.Trainer of the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minillm._checks import check_path, check_text, describe
from minillm._files import read_json, write_json
from minillm.data.hub import push
from minillm.training.arguments import TrainingArguments
from minillm.training.callbacks import TrainerState
from minillm.training.checkpoint import save_tokenizer
from minillm.training.distributed import Processes
from minillm.training.strategies import Strategy


class Reports:
    """The methods of a Trainer that are not training."""

    model: Any
    tokenizer: Any
    args: TrainingArguments
    state: TrainerState
    processes: Processes
    strategy: Strategy

    def save_model(self, output_dir: str | Path | None = None) -> Path:
        """Write the model, and the tokenizer if there is one, into a folder; returns it.

        `load_model` and `load_tokenizer` open it, and from_pretrained of transformers does.
        """
        folder = self._folder(output_dir)
        if not hasattr(self.model, "save_pretrained"):
            raise ValueError(
                f"the model must have a method save_pretrained(folder), got {describe(self.model)}"
            )
        with self.strategy.whole_model():
            if self.processes.first:
                self._write_model(folder)
        return folder

    def push_to_hub(
        self,
        commit_message: str = "End of training",
        token: str | None = None,
        private: bool | None = None,
        name: str | None = None,
    ) -> str | None:
        """Upload what `save_model` writes to "owner/name" of the hub as one commit; the repository's address.

        name: None takes `hub_model_id` of the arguments. private: None takes `hub_private_repo`. token: None is the one
        that is logged in. Raises as `push_to_hub` of a model does (data/hub.py), and ValueError without a name. Only
        process 0 uploads, the others return None.
        """
        name = self.args.hub_model_id if name is None else name
        if name is None:
            raise ValueError('push_to_hub needs TrainingArguments(hub_model_id="owner/name"), got None')
        if not hasattr(self.model, "save_pretrained"):
            raise ValueError(
                f"the model must have a method save_pretrained(folder), got {describe(self.model)}"
            )
        private = bool(self.args.hub_private_repo) if private is None else private
        with self.strategy.whole_model():
            if not self.processes.first:
                return None
            return push(name, self._write_model, token, private, commit_message)

    def log_metrics(self, split: str, metrics: Mapping[str, Any]) -> None:
        """Print the figures of a split ("train", "eval", "test"), one a line."""
        if not self.processes.first:
            return
        width = max((len(name) for name in metrics), default=0)
        tqdm.write(f"***** {split} metrics *****")
        for name in sorted(metrics):
            value = f"{metrics[name]:.4f}" if isinstance(metrics[name], float) else metrics[name]
            tqdm.write(f"  {name:<{width}} = {value}")

    def save_metrics(self, split: str, metrics: Mapping[str, Any], combined: bool = True) -> None:
        """Write them to output_dir/<split>_results.json; combined: and add them to all_results.json."""
        folder = self._folder(None)
        if not self.processes.first:
            return
        write_json(folder / f"{check_text('split', split)}_results.json", dict(metrics))
        if combined:
            together = folder / "all_results.json"
            before = read_json(together, "metrics") if together.exists() else {}
            write_json(together, {**before, **metrics})

    def save_state(self) -> None:
        """Write the state, with its log_history, to output_dir/trainer_state.json."""
        folder = self._folder(None)
        if self.processes.first:
            folder.mkdir(parents=True, exist_ok=True)
            self.state.save_to_json(folder / "trainer_state.json")

    def is_world_process_zero(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.processes.first

    is_local_process_zero = is_world_process_zero

    def _folder(self, output_dir: str | Path | None) -> Path:
        return check_path("output_dir", self.args.output_dir if output_dir is None else output_dir)

    def _write_model(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        if self.tokenizer is not None:
            save_tokenizer(self.tokenizer, folder)
