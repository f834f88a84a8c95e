"""A paged optimiser (페이지 옵티마이저): averages on disk, and only as many of them in memory as a budget allows.

    parameter    [ page 0 | page 1 | page 2 ]          a page: m and v of some of its numbers
    memory         page 2   page 7   page 8            the most recently used; the oldest goes to the file when
    file           0   1   2   3   4   5   6   7 ...   another one is wanted

A step walks through all n pages. In one direction each time, the page that is wanted next is always one that has just
left, and all n are read. So every second step walks back: of the k pages in memory none is read, n - k are. An update
of the whole is one piece by piece: the weights are the same, bit for bit, whatever the budget. The file has no name: it
is gone when it is closed, after a kill, too. It is read and written, not mapped: the pages of a mapped file count as
the process's memory for as long as the system likes.

Book: 5.5.2 페이지 옵티마이저. Paper: Dettmers et al. 2023 (QLoRA), whose pages move between GPU and CPU by CUDA's
unified memory. Held against the unpaged optimisers.
"""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minillm._checks import check_choice, check_int, check_path
from minillm.training.adamw import best_update
from minillm.training.adamw8bit import BLOCK, SMALL, AdamW8bit, Coded, FlatWeights, adamw_8bit

PAGE = 2**16  # numbers of a page, whole blocks
BUDGET = 2**26  # bytes


class _Known(dict[int, int]):
    """Bytes of each page. ValueError for a number that is no page's: after `close`, none is."""

    def __missing__(self, number: int) -> int:
        raise ValueError(f"there is no page {number!r}, there are {len(self)}")


class Pages:
    """Memory by the piece, of which at most `budget` bytes are resident. `pages[number]` is a page, uint8 (n,).

    What is written to a page is kept until the next page is asked for, and then in the file. folder: where the file
    lies; None is the system's folder for temporary files. ValueError for a page larger than the budget.
    """

    def __init__(self, budget: int = BUDGET, folder: str | Path | None = None) -> None:
        self.budget = check_int("budget", budget, 1)
        self.folder = None if folder is None else check_path("folder", folder)
        self._file = tempfile.TemporaryFile(dir=self.folder, buffering=0)  # noqa: SIM115 - open as long as the pages are
        self._sizes = _Known()
        self._places: dict[int, int] = {}  # where each begins in the file
        self._written: set[int] = set()
        self._resident: OrderedDict[int, np.ndarray] = OrderedDict()  # the least recently used comes first
        self.resident_bytes = self.total_bytes = self.most_resident = self.reads = self.writes = 0

    def new(self, size: int) -> int:
        """The number of a new page of zeros, `size` bytes."""
        if check_int("size", size, 1) > self.budget:
            raise ValueError(f"a page has {size:,} bytes, the budget is {self.budget:,}")
        number = len(self._sizes)
        self._sizes[number], self._places[number] = size, self.total_bytes
        self.total_bytes += size
        return number

    @property
    def resident(self) -> tuple[int, ...]:
        """The pages in memory, the least recently used first."""
        return tuple(self._resident)

    def __getitem__(self, number: int) -> np.ndarray:
        """The page, in memory; others may have had to leave."""
        if number not in self._resident:
            self._make_room(self._sizes[number])
            page = np.zeros(self._sizes[number], np.uint8)
            if number in self._written:
                self._read(number, page)
            self._resident[number] = page
            self.resident_bytes += page.nbytes
            self.most_resident = max(self.most_resident, self.resident_bytes)
        self._resident.move_to_end(number)
        return self._resident[number]

    def _make_room(self, size: int) -> None:
        while self.resident_bytes + size > self.budget:
            number = next(iter(self._resident))
            self._write(number)  # a full disk: the page is still here
            self.resident_bytes -= self._resident.pop(number).nbytes

    def _write(self, number: int) -> None:
        self._file.seek(self._places[number])
        left = memoryview(self._resident[number])
        while left:
            left = left[self._file.write(left) :]
        self._written.add(number)
        self.writes += 1

    def _read(self, number: int, page: np.ndarray) -> None:
        self._file.seek(self._places[number])
        left = memoryview(page)
        while left:
            count = self._file.readinto(left)
            if not count:
                raise OSError("the file of an optimiser's pages is shorter than what was written to it")
            left = left[count:]
        self.reads += 1

    def __del__(self) -> None:  # nobody has to call `close`
        if "_file" in vars(self):
            self._file.close()

    def close(self) -> None:
        """Give the file and the memory back."""
        self._file.close()
        self._resident.clear(), self._sizes.clear()
        self.resident_bytes = 0


class PagedAdamW(AdamW8bit):
    """AdamW whose averages are pages: the weights of `AdamW` (bits=32) or of `AdamW8bit` (bits=8), bit for bit.

    budget: bytes of averages in memory at most. folder: of the file. Other arguments and what is raised: AdamW's.
    state_dict() reads all of it, and is the unpaged optimiser's.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        bits: int = 32,
        budget: int = BUDGET,
        folder: str | Path | None = None,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
        self.bits = check_choice("bits", bits, (32, 8))
        every = [parameter for group in self.param_groups for parameter in group["params"]]
        largest = max(sum(self._sizes(one, min(PAGE, one.numel()))) for one in every)
        if check_int("budget", budget, 1) < largest:
            raise ValueError(f"budget must hold at least one page, {largest:,} bytes, got {budget:,}")
        self.pages, self._back = Pages(budget, folder), True

    def _walk(self) -> list[tuple[dict[str, Any], Tensor]]:
        """There in one step and back in the next: the pages that were used last are the first that are wanted."""
        self._back = not self._back
        return super()._walk()[:: -1 if self._back else 1]

    def state_dict(self) -> dict[str, Any]:
        """As that of `AdamW` or `AdamW8bit`, with copies of the averages."""
        found = super().state_dict()
        every = [parameter for group in self.param_groups for parameter in group["params"]]
        for index, state in found["state"].items():
            parameter = every[index]
            parts: dict[str, list[Tensor]] = {}
            for _, held in self._pieces(parameter, state.pop("pages")):
                for name, part in held.items():
                    parts.setdefault(name, []).append(part.clone())
            state |= {name: torch.cat(part) for name, part in parts.items()}
            state |= {name: state[name].view(parameter.shape) for name in "mv" if name in state}
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As that of `AdamW` or `AdamW8bit`, of a paged optimiser or not; the old pages are given back."""
        old, self.pages = self.pages, Pages(self.pages.budget, self.pages.folder)
        try:
            super().load_state_dict(state_dict)
        except BaseException:
            self.pages.close()
            self.pages = old
            raise
        old.close()

    def _coded(self, parameter: Tensor) -> bool:
        return self.bits == 8 and parameter.numel() >= SMALL

    def _sizes(self, parameter: Tensor, n: int) -> list[int]:
        """Bytes of the parts of a page of n numbers, those first that must stand at a multiple of 4."""
        if self._coded(parameter):
            return [4 * -(-n // BLOCK)] * 2 + [n] * 2
        return [n * parameter.element_size()] * 2

    def _new_averages(self, parameter: Tensor) -> dict[str, Any]:
        pieces = range(0, parameter.numel(), PAGE)
        sizes = (sum(self._sizes(parameter, min(PAGE, parameter.numel() - start))) for start in pieces)
        return {"pages": [self.pages.new(size) for size in sizes if size]}

    def _pieces(
        self, parameter: Tensor, pages: list[int], back: bool = False
    ) -> Iterator[tuple[slice, dict[str, Tensor]]]:
        """(which numbers of the parameter, their averages) page by page; written to, they are kept."""
        coded = self._coded(parameter)
        names = ("m_scales", "v_scales", "m_codes", "v_codes") if coded else ("m", "v")
        kinds = (torch.float32,) * 2 + (torch.uint8,) * 2 if coded else (parameter.dtype,) * 2
        for place, number in list(enumerate(pages))[:: -1 if back else 1]:
            piece = slice(PAGE * place, min(PAGE * (place + 1), parameter.numel()))
            parts = torch.from_numpy(self.pages[number]).split(
                self._sizes(parameter, piece.stop - piece.start)
            )
            yield piece, {name: part.view(kind) for name, part, kind in zip(names, parts, kinds)}

    def _update(self, parameter: Tensor, state: dict[str, Any], settings: dict[str, Any]) -> None:
        gradient, update = (
            parameter.grad.reshape(-1),
            best_update((parameter, parameter.grad)),
        )  # as of the whole
        with FlatWeights(parameter) as w:
            for piece, held in self._pieces(parameter, state["pages"], self._back):
                here = {name: part.to(parameter.device) for name, part in held.items()}
                if "m" in here:
                    tensors = (w[piece], gradient[piece], here["m"], here["v"])
                    update(*([one] for one in tensors), **settings)
                else:
                    m, v = (Coded(here[f"{name}_codes"], here[f"{name}_scales"]) for name in "mv")
                    adamw_8bit(w[piece], gradient[piece], m, v, **settings)
                if parameter.device.type != "cpu":
                    for name, part in held.items():
                        part.copy_(here[name])

    def _averages_of(self, index: int, parameter: Tensor, state: dict[str, Any]) -> dict[str, Any]:
        """New pages with the averages of a loaded state; ValueError for those of other bits or sizes."""
        made = self._new_averages(parameter)
        for piece, held in self._pieces(parameter, made["pages"]):
            for name, part in held.items():
                theirs = state.get(name)
                wanted = -(-parameter.numel() // BLOCK) if name.endswith("scales") else parameter.numel()
                if not isinstance(theirs, Tensor) or theirs.numel() != wanted:
                    raise ValueError(
                        f"parameter {index} needs {name} of {wanted} numbers: is it of other bits?"
                    )
                blocks = slice(piece.start // BLOCK, -(-piece.stop // BLOCK))
                part.copy_(theirs.reshape(-1)[blocks if name.endswith("scales") else piece])
        return made
