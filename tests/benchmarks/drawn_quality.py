"""What the course's picture models draw right, for each training seed: two tables made of recorded runs.

    python -m tests.benchmarks.drawn_quality --diffusion FOLDER ... --unclip FOLDER ... [--write]

A FOLDER is one that diffusion_quality or unclip_quality has filled and examined (--final), one a training seed. Right
is a picture of which the analytic oracle reads all four attributes as they were wished. Wishes and noise of the
examination are the same for all seeds. Compared are guidance with none, and the prior with each other way.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import record

HEAD = [
    "what draws",
    "n",
    "known pairs: all four right, 95 %",
    "unseen pairs",
    "wins and losses, known",
    "unseen, too",
    "CPU s",
]
UNET = {"U-Net of 14_3, no guidance": "w=0", "U-Net of 14_3, guidance 1": "w=1"}
WAYS = {
    "prior and decoder": "prior", "regression and decoder": "regression", "text itself and decoder": "text itself",
    "decoder of texts": "direct decoder",
}  # fmt: skip
(_, GUIDED), (PRIOR, *_) = UNET, WAYS


def share(one: Mapping[str, Any]) -> str:
    """ "0.966 [0.946, 0.979]" """
    low, high = one["interval of all"]
    return f"{one['all']:.3f} [{low:.3f}, {high:.3f}]"


def change(one: Mapping[str, Any] | str) -> str:
    """ "17:15, +0.005 [-0.023, +0.033]" of a paired comparison, recorded as numbers or as its text."""
    if isinstance(one, str):
        wins, losses = (part.split()[0] for part in one.split(", ")[:2])
        return f"{wins}:{losses}, {one.split('difference ')[1].split(', n =')[0]}"
    low, high = one["interval"]
    return f"{one['wins']}:{one['losses']}, {one['difference']:+.3f} [{low:+.3f}, {high:+.3f}]"


def unet_lines(curve: Mapping[str, Any]) -> dict[str, list[str]]:
    """The lines of one seed of the U-Net that is wished by attributes."""
    kept = curve["kept"]
    lines = {}
    for name, weight in UNET.items():
        known, unseen = (share(kept[f"{split}, {weight}"]) for split in ("train", "held_out"))
        against = [change(kept[f"{split}, w=1 against w=0"]) for split in ("train", "held_out")]
        lines[name] = [
            str(kept["n"]),
            known,
            unseen,
            *(against if name == GUIDED else ("", "")),
            f"{curve['seconds']:.0f}",
        ]
    return lines


def unclip_lines(curve: Mapping[str, Any]) -> dict[str, list[str]]:
    """The lines of one seed of DALL-E 2 in small."""
    ways, spent = (
        curve["kept"]["ways"],
        {kind: curve[kind]["seconds"] for kind in ("prior", "decoder", "direct")},
    )
    lines = {}
    for name, way in WAYS.items():
        both = [ways[split] for split in ("known pairs", "pairs never seen")]
        against = ["", ""] if name == PRIOR else [change(one[f"prior against {way}"]) for one in both]
        seconds = (
            spent["direct"]
            if way == "direct decoder"
            else spent["decoder"] + spent["prior"] * (way == "prior")
        )
        lines[name] = [
            str(curve["kept"]["n"]),
            *(share(one[way]) for one in both),
            *against,
            f"{seconds:.0f}",
        ]
    return lines


def table(curves: Sequence[Mapping[str, Any]], lines: Any) -> list[list[str]]:
    """One row a way to draw, with the seeds one below the other."""
    of_seed = [lines(curve) for curve in sorted(curves, key=lambda curve: curve["seed"])]
    return [[name, *map("<br>".join, zip(*(one[name] for one in of_seed)))] for name in of_seed[0]]


def main() -> None:
    """Print the table, and put it into BENCHMARKS.md if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--diffusion", nargs="+", type=Path, required=True)
    parser.add_argument("--unclip", nargs="+", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    rows = []
    for folders, lines in ((asked.diffusion, unet_lines), (asked.unclip, unclip_lines)):
        rows += table([json.loads((folder / "curve.json").read_text()) for folder in folders], lines)
    print(record.markdown(HEAD, rows))
    if asked.write:
        record.put_rows("drawn_quality", HEAD, rows, [*UNET, *WAYS])


if __name__ == "__main__":
    main()
