"""The frame of every model: made from a config, opened from and saved to a Hugging Face folder.

A model class names its parts as the house does, and says in one table (`weights`) what Hugging Face calls each of
them; both directions are read off that table here.

    Weight("blocks.{i}.norm1.weight", "layers.{i}.input_layernorm.weight")
    Weight(("...q_proj.weight", "...k_proj.weight", "...v_proj.weight"), "...c_attn.weight", transposed=True)

Book 3.3.1 모델 활용하기. Held against transformers' PreTrainedModel.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from minillm._checks import check_flag, check_int, describe
from minillm._files import BadFileError
from minillm._tensors import FLOATS, check_place
from minillm.data.hub import Pushed
from minillm.models.config import ModelConfig, as_ids, check_ids_field
from minillm.models.weights import read_config, read_generation_config, read_weights, write_folder
from minillm.nn.blocks import LayerNorm, RMSNorm
from minillm.nn.cache import Cache, KVCache

M = TypeVar("M", bound="PretrainedModel")
# what transformers' models are called with and ours are not: what to write instead
INSTEAD = {
    "labels": "it gives logits; an objective of minillm.training makes the loss, CausalLMObjective()(model, batch)",
    "return_loss": "it gives logits and vectors; minillm.training.clip_loss makes the loss of the vectors",
    "cache_params": "its name is cache: model.new_cache(batch_size, max_length)",
    "past_key_values": "its name is cache: model.new_cache(batch_size, max_length)",
    "use_cache": "give cache=model.new_cache(batch_size, max_length), or leave it out",
    "return_dict": "leave it out: the output has its fields by name",
    "output_attentions": "call it inside `with minillm.course.watch_attention() as maps`, which keeps them",
}


WHAT_WE_DO = {"use_cache": False, "return_dict": True, "output_attentions": False}  # no need to refuse these


class Weight(NamedTuple):
    """One row of a model's table: our tensor (or several that theirs holds one below the other) and theirs.

    `{i}` stands for the number of each layer. transposed: theirs is (in, out), ours (out, in).
    """

    ours: str | tuple[str, ...]
    theirs: str
    transposed: bool = False


class Folder(NamedTuple):
    """What a model folder holds. what: its name in messages. dtype: that of the weights, None for the stored one."""

    what: str
    architectures: Any
    config: Any
    tensors: Mapping[str, Tensor]
    generation: dict[str, Any]
    dtype: torch.dtype | None


class PretrainedModel(Pushed, nn.Module):
    """A network with a config and a folder format. Weights are float32 from `seed` until a folder says otherwise."""

    config_class: ClassVar[type[ModelConfig]]
    weights: ClassVar[tuple[Weight, ...]]  # of this class; parts that a config leaves out are skipped
    stored_buffers: ClassVar[tuple[str, ...]] = ()  # endings of tensors in older files that are computed here
    older_names: ClassVar[Mapping[str, str]] = {}  # endings of names in older files -> what they are now
    generates: ClassVar[bool] = True  # whether it scores the next token, so that text can be drawn from it
    saves_by: ClassVar[str] = "save_pretrained"
    prefix: ClassVar[str] = ""  # what stands in front of the body's names in a folder of the body with a head

    def __init__(self, config: ModelConfig, seed: int = 0):
        check_int("seed", seed)
        self._prepare(config)
        self.initialise(torch.Generator().manual_seed(seed))

    def _prepare(self, config: ModelConfig) -> None:
        """Everything but the values of the weights."""
        nn.Module.__init__(self)
        if not isinstance(config, self.config_class):
            raise ValueError(
                f"{type(self).__name__} needs a {self.config_class.__name__}, got {describe(config)}"
            )
        self.config = config
        self.generation_config: dict[str, Any] = {}
        self.new_parts: tuple[str, ...] = ()  # our names of tensors that a folder lacked: they were drawn
        self.left_out: tuple[str, ...] = ()  # the folder's names of tensors that this model has no use for
        with torch.random.fork_rng(
            devices=[]
        ):  # torch's layers draw weights of their own: its state is given back
            self.build(config)

    @classmethod
    def unfilled(cls: type[M], config: ModelConfig) -> M:
        """The model before its weights have values: for `from_pretrained`, and for a head around a body."""
        model = cls.__new__(cls)
        model._prepare(config)
        return model

    def __call__(self, *args: Any, **inputs: Any) -> Any:
        """`forward`, which takes what a tokenizer gives as it comes: `model(**tokenizer(text, return_tensors="pt"))`.

        token_type_ids end here where a model does not tell texts apart. ValueError for an argument of transformers'
        models that ours do not have, with what to write instead; one that asks for what we do anyway is left out.
        """
        if "token_type_ids" in inputs or not INSTEAD.keys().isdisjoint(inputs):
            inputs = self._taken(inputs)
        return super().__call__(*args, **inputs)

    def _taken(self, inputs: dict[str, Any]) -> dict[str, Any]:
        parameters = signature(self.forward).parameters
        if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            return inputs
        for name, instead in INSTEAD.items():
            value = inputs.get(name)
            if name not in parameters and value is not None and value is not WHAT_WE_DO.get(name):
                raise ValueError(f"{type(self).__name__} takes no {name}: {instead}")
        left_out = {"token_type_ids", *INSTEAD} - parameters.keys()
        return {name: value for name, value in inputs.items() if name not in left_out}

    def __getattr__(self, name: str) -> Any:
        """Torch's look-up; for transformers' `generate` an AttributeError that says how: ours only score."""
        if name == "generate":
            raise AttributeError(
                f"{type(self).__name__} has no generate: write minillm.inference.generate(model, ids, "
                "SamplingParams(max_tokens=20)), or pipeline('text-generation', model, tokenizer) for texts"
            )
        return super().__getattr__(name)

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

    # What it gets

    @torch.no_grad()
    def initialise(self, generator: torch.Generator, only: Collection[str] | None = None) -> None:
        """First weights: N(0, initializer_range), biases and padding 0, norms 1; scaled on the residual path.

        only: the names of the layers that get some; by default all.
        """
        std = self.config.initializer_range
        for name, module in self.named_modules():
            if only is not None and name not in only:
                continue
            if isinstance(module, nn.Linear):
                residual = name.endswith(("o_proj", "down_proj"))
                module.weight.normal_(
                    0.0, std * (self.residual_scale() if residual else 1.0), generator=generator
                )
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.Embedding):
                module.weight.normal_(0.0, std, generator=generator)
            elif isinstance(module, (LayerNorm, RMSNorm, nn.RMSNorm)):
                module.weight.fill_(1.0)
                if getattr(module, "bias", None) is not None:
                    module.bias.zero_()
        for (
            name,
            module,
        ) in self.named_modules():  # last: an output matrix that is the table was drawn over it
            if only is not None and name not in only:
                continue
            if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
            if hasattr(module, "draw"):  # a layer with first weights of its own: recurrences, state spaces
                module.draw(generator)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype."""
        return next(self.parameters()).dtype

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The ids that end a text: those of generation_config.json where it names some, else the config's."""
        value = self.generation_config.get("eos_token_id")
        return self.config.eos_token_ids if value is None else as_ids(value)

    def num_parameters(self, only_trainable: bool = False) -> int:
        """How many numbers the weights are, tied ones counted once; only_trainable: without those that are frozen."""
        check_flag("only_trainable", only_trainable)
        counted = (one for one in self.parameters() if one.requires_grad or not only_trainable)
        return sum(math.prod(parameter.shape) for parameter in counted)

    def new_cache(self, batch_size: int, max_length: int) -> Cache:
        """The kind of cache this model needs, in its dtype and on its device, for so many texts and tokens."""
        return KVCache(self.config, batch_size, max_length, self.dtype, self.device)

    # Our names and theirs

    def weight_rows(self) -> Iterator[tuple[tuple[str, ...], str, bool]]:
        """(our names, their name, transposed) of every row that this model's config has, layers written out."""
        have = self.state_dict().keys()
        for ours, theirs, transposed in self.weights:
            names = (ours,) if isinstance(ours, str) else ours
            for i in range(self.config.most_layers) if "{i}" in theirs else (0,):
                row = tuple(name.replace("{i}", str(i)) for name in names)
                if row[0] in have:
                    yield row, theirs.replace("{i}", str(i)), transposed

    def to_hugging_face(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our tensors under Hugging Face's names and layouts; ValueError for one that has no name there."""
        out, rest = {}, dict(state)
        for ours, theirs, transposed in self.weight_rows():
            parts = [rest.pop(name) for name in ours]
            tensor = torch.cat(parts) if len(parts) > 1 else parts[0]
            out[theirs] = tensor.T if transposed else tensor
        if rest:
            raise ValueError(
                f"{type(self).__name__} has tensors that a Hugging Face folder has no place for: "
                f"{', '.join(sorted(rest)[:3])} (a quantized model is saved by save_quantized)"
            )
        return out

    def from_hugging_face(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Hugging Face's tensors under our names and layouts; KeyError with the name of one that is missing.

        What has no place stays under its own name. A folder of body and head opens as a body, too: `left_out` then
        names the tensors of the head.
        """
        rest = {name: t for name, t in tensors.items() if not name.endswith(self.stored_buffers or "\0")}
        if self.prefix and any(name.startswith(self.prefix) for name in rest):
            self.left_out = tuple(name for name in rest if not name.startswith(self.prefix))
            rest = {
                name.removeprefix(self.prefix): t for name, t in rest.items() if name.startswith(self.prefix)
            }
        shapes, state = {name: t.shape for name, t in self.state_dict().items()}, {}
        for ours, theirs, transposed in self.weight_rows():
            tensor = rest.pop(theirs)
            tensor = tensor.T if transposed and tensor.dim() == 2 else tensor
            rows = [shapes[name][0] for name in ours] if len(ours) > 1 else []  # a scalar has no rows
            if rows and tensor.dim() and tensor.shape[0] == sum(rows):
                parts = tensor.split(rows)
            else:
                parts = (tensor,) * len(ours)  # one to one, or of a wrong size, which `from_tensors` will say
            state |= {name: part.contiguous() for name, part in zip(ours, parts)}
        return state | rest

    # Folders

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write config.json, model.safetensors, checksums.json and, if the model has one, generation_config.json.

        transformers opens them, too. Each file is written whole or not at all. ValueError for a model with adapters.
        """
        if getattr(self, "adapters", None) is not None:
            raise ValueError(
                "the model has LoRA adapters beside its weights: save_adapter writes one of them, merge_lora makes a "
                "plain model of it, delete_adapter of its base"
            )
        values = {
            "architectures": [self.architecture()],
            **self.config.to_dict(),
            "dtype": str(self.dtype).removeprefix("torch."),
        }
        return write_folder(folder, values, self.to_hugging_face(self.state_dict()), self.generation_config)

    @classmethod
    def from_pretrained(
        cls: type[M],
        folder: str | Path,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> M:
        """Open a folder that we or transformers wrote, in evaluation mode.

        dtype: of the weights; None takes what config.json says, else the dtype they were saved in. device: None is
        the CPU. Raises BadFileError (a ValueError) naming the file if one is missing, cut, damaged, or its tensors
        do not fit the config; ValueError for a dtype or device that cannot be.
        """
        found = cls.read_folder(folder, dtype, device)
        return cls.from_tensors(
            found.config, found.tensors, found.what, found.dtype, device, found.generation
        )

    @classmethod
    def read_folder(
        cls, folder: str | Path, dtype: torch.dtype | None, device: torch.device | str | None
    ) -> Folder:
        """What a folder holds for a model of this class. The arguments and what they raise are from_pretrained's."""
        check_place(dtype, device)
        values = read_config(folder)
        try:
            config = cls.config_class.from_dict(values)
            dtype = _dtype_of(values) if dtype is None else dtype
        except ValueError as error:
            raise BadFileError(f"model config in {str(folder)!r} is refused: {error}") from None
        generation = read_generation_config(folder)
        try:
            check_ids_field("eos_token_id", generation.get("eos_token_id"), several=True)
        except ValueError as error:
            raise BadFileError(f"generation_config.json in {str(folder)!r} is refused: {error}") from None
        what = f"model folder {str(folder)!r}"
        return Folder(what, values.get("architectures"), config, read_weights(folder), generation, dtype)

    @classmethod
    def from_tensors(
        cls: type[M],
        config: Any,
        tensors: Mapping[str, Tensor],
        what: str = "weights",
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generation_config: Mapping[str, Any] | None = None,
    ) -> M:
        """A model from tensors under Hugging Face's names; BadFileError, naming `what`, if they do not fit.

        dtype: of the weights, None for that of the first tensor. device: None is the CPU.
        """
        model = cls.skeleton(config, tensors, what)
        try:
            state = model.from_hugging_face(cls.renamed(tensors))
        except KeyError as error:
            raise BadFileError(f"{what} lacks the tensor {error.args[0]!r}") from None
        expected = model.state_dict()
        for name, parameter in expected.items():
            if name not in state:
                raise BadFileError(f"{what} lacks {name!r}")
            if state[name].shape != parameter.shape:
                found, wanted = tuple(state[name].shape), tuple(parameter.shape)
                raise BadFileError(f"{what}: {name!r} has shape {found}, the config says {wanted}")
            if state[name].dtype not in FLOATS:
                raise BadFileError(f"{what}: {name!r} has dtype {state[name].dtype}, expected floats")
        extra = sorted(set(state) - set(expected))
        if extra:
            raise BadFileError(f"{what} holds tensors the model has no place for: {', '.join(extra[:3])}")
        dtype = next(iter(state.values())).dtype if dtype is None else dtype
        model.load_state_dict(
            {name: t.to(device=device, dtype=dtype) for name, t in state.items()}, assign=True
        )
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        model.tie()
        model.generation_config = dict(generation_config or {})
        for name, buffer in model.named_buffers():  # those no file stores were computed on the CPU when built
            if buffer.is_meta:
                raise RuntimeError(
                    f"{cls.__name__}: buffer {name!r} is not saved and was not computed in build"
                )
        return (model if device is None else model.to(device)).eval()

    @classmethod
    def skeleton(cls: type[M], config: Any, tensors: Mapping[str, Tensor], what: str) -> M:
        """The model for these tensors, of shapes only; BadFileError if there is none."""
        if config.most_layers > len(tensors):  # said before a million layers are built
            raise BadFileError(
                f"{what} holds {len(tensors)} tensors, its config says {config.most_layers:,} layers"
            )
        width, largest = (
            getattr(config, "head_dim", None) or 0,
            max(map(Tensor.numel, tensors.values()), default=0),
        )
        if width > largest:  # said before angles are worked out for so wide a head
            raise BadFileError(f"{what}: its config says heads of width {width:,}, no tensor is so large")
        try:
            with torch.device("meta"), _NothingDrawn():  # shapes only: no weight is drawn, no memory taken
                return cls.unfilled(config)
        except (
            ValueError,
            RuntimeError,
            OverflowError,
        ) as error:  # sizes that no computer can count are torch's to refuse
            raise BadFileError(f"{what}: no model has this config: {error}") from None

    @classmethod
    def renamed(cls, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors under the names of today, where an older file has others."""
        out = {}
        for name, tensor in tensors.items():
            old = next((old for old in cls.older_names if name.endswith(old)), None)
            out[name if old is None else name.removesuffix(old) + cls.older_names[old]] = tensor
        return out

    def tie(self) -> None:
        """Make tied weights one tensor again after loading."""


class _NothingDrawn(TorchFunctionMode):
    """Leaves weights undrawn while layers are made: on tensors without memory torch would load its compiler for it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_):
            return (kwargs or {}).get("tensor", args[0] if args else None)
        return func(*args, **(kwargs or {}))


def _dtype_of(values: Mapping[str, Any]) -> torch.dtype | None:
    """The dtype that a parsed config.json names, or None; ValueError for one that weights cannot have."""
    name = values.get("dtype", values.get("torch_dtype"))
    if name is None or name == "auto":
        return None
    dtype = getattr(torch, name.removeprefix("torch."), None) if isinstance(name, str) else None
    if dtype not in FLOATS:
        raise ValueError(f"dtype must be one of float32, float16, bfloat16, float64, got {describe(name)}")
    return dtype
