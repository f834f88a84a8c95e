"""The frame of every model: made from a config, opened from and saved to a Hugging Face folder.

A model class names its parts as the house does and translates to Hugging Face's names in two functions,
`to_hugging_face` and `from_hugging_face`; everything else is here.

Book 3.3.1 모델 활용하기. Held against transformers' PreTrainedModel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from minillm._checks import check_int, describe
from minillm._files import BadFileError
from minillm.models.config import ModelConfig
from minillm.models.weights import read_config, read_weights, write_folder

M = TypeVar("M", bound="PretrainedModel")


class PretrainedModel(nn.Module):
    """A network with a config and a folder format. Weights are float32 from `seed` until a folder says otherwise."""

    config_class: ClassVar[type[ModelConfig]]

    def __init__(self, config: ModelConfig, seed: int = 0):
        super().__init__()
        if not isinstance(config, self.config_class):
            raise ValueError(
                f"{type(self).__name__} needs a {self.config_class.__name__}, got {describe(config)}"
            )
        self.config = config
        with torch.random.fork_rng(
            devices=[]
        ):  # torch's layers draw weights of their own; leave its state alone
            self.build(config)
        self.initialise(torch.Generator().manual_seed(check_int("seed", seed)))

    # What a model class supplies

    def build(self, config: Any) -> None:
        """Make the layers."""
        raise NotImplementedError

    def residual_scale(self) -> float:
        """Factor on the first weights of layers that write to the residual path."""
        return 1.0

    def architecture(self) -> str:
        """The class name transformers knows the model by."""
        raise NotImplementedError

    def to_hugging_face(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our tensors under Hugging Face's names and layouts."""
        raise NotImplementedError

    def from_hugging_face(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Hugging Face's tensors under our names and layouts; KeyError with the name of one that is missing."""
        raise NotImplementedError

    # What it gets

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """First weights: N(0, initializer_range), biases 0, norms 1; scaled on the residual path."""
        std = self.config.initializer_range
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                residual = name.endswith(("o_proj", "down_proj"))
                module.weight.normal_(
                    0.0, std * (self.residual_scale() if residual else 1.0), generator=generator
                )
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.Embedding):
                module.weight.normal_(0.0, std, generator=generator)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype."""
        return next(self.parameters()).dtype

    def num_parameters(self) -> int:
        """Trainable numbers, tied ones counted once."""
        return sum(math.prod(parameter.shape) for parameter in self.parameters())

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write config.json and model.safetensors, which transformers opens too; each whole or not at all."""
        tensors = self.to_hugging_face(self.state_dict())
        values = {
            "architectures": [self.architecture()],
            **self.config.to_dict(),
            "dtype": str(self.dtype).removeprefix("torch."),
        }
        return write_folder(folder, values, tensors)

    @classmethod
    def from_pretrained(cls: type[M], folder: str | Path) -> M:
        """Open a folder that we or transformers wrote, in the dtype it was saved in and in evaluation mode.

        Raises BadFileError (a ValueError) naming the file if one is missing, cut, damaged, or its tensors do
        not fit the config.
        """
        values = read_config(folder)
        try:
            config = cls.config_class.from_dict(values)
        except ValueError as error:
            raise BadFileError(f"model config in {str(folder)!r} is refused: {error}") from None
        return cls.from_tensors(config, read_weights(folder), f"model folder {str(folder)!r}")

    @classmethod
    def from_tensors(cls: type[M], config: Any, tensors: Mapping[str, Tensor], what: str = "weights") -> M:
        """A model from tensors under Hugging Face's names; BadFileError, naming `what`, if they do not fit."""
        with torch.device("meta"):  # shapes only: weights are not drawn twice
            model = cls.__new__(cls)
            nn.Module.__init__(model)
            model.config = config
            try:
                model.build(config)
            except ValueError as error:
                raise BadFileError(f"{what}: no model has this config: {error}") from None
        try:
            state = model.from_hugging_face(tensors)
        except KeyError as error:
            raise BadFileError(f"{what} lacks the tensor {error.args[0]!r}") from None
        for name, parameter in model.state_dict().items():
            if name not in state:
                raise BadFileError(f"{what} lacks {name!r}")
            if state[name].shape != parameter.shape:
                found, expected = tuple(state[name].shape), tuple(parameter.shape)
                raise BadFileError(f"{what}: {name!r} has shape {found}, the config says {expected}")
            if not state[name].is_floating_point():
                raise BadFileError(f"{what}: {name!r} has dtype {state[name].dtype}, expected floats")
        extra = sorted(set(state) - set(model.state_dict()))
        if extra:
            raise BadFileError(f"{what} holds tensors the model has no place for: {', '.join(extra[:3])}")
        model.load_state_dict(state, assign=True)
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        model.tie()
        return model.eval()

    def tie(self) -> None:
        """Make tied weights one tensor again after loading."""
