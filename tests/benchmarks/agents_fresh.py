"""The policies on one-tool tasks whose wordings were written after the policies were finished: 20, 20 and 40.

    python -m tests.benchmarks.agents_fresh [--rule] [--blocks 3] [--letters]

Seeds 0, 1, 2 give other names and numbers to the same wordings. Needs `minillm fetch e5`.

The rule by which the second block was written, fixed before there was one: each of the ten kinds once in each language;
how it is said is one of the ten ways of `WAYS`, each once a language, drawn by `drawn` (--rule prints it) and not
chosen; only names, files, numbers and quoted texts are left open; the list of dialogues is not looked at meanwhile, and
a wording that `shared_task_shapes` finds there is written anew. Blocks 1 and 2 have been looked at since and are
development tasks. The third block has each kind twice in each language and ten other ways (`WAYS_THIRD`), some of them
near ways of the dialogues. Whoever wrote it had not seen the dialogues' wordings, nor the dialogues' writer the block;
it was run once, after the policy's last change.
"""

from __future__ import annotations

import argparse
import random
from itertools import product

from minillm.apps.agents.examination import examine, summed_up
from minillm.apps.agents.policies import RoutedPolicy
from minillm.data.tool_tasks import fresh_tool_tasks
from tests.benchmarks.agents_quality import BOTH, LETTERS, ROUTED, encoder, trained

KINDS = (
    "calculate:multiply", "calculate:subtract", "look_up:price", "look_up:stock", "find_note", "read_file", "clock",
    "list_files", "write_file", "send_message",
)  # fmt: skip
WAYS = (
    "a need is stated: no question, no imperative", "somebody else wants it, to whom nothing is to be sent",
    "a reason first, then the request", "the question whether one knows", "a telegram: no verb",
    "a long polite preface", "what is going to be done after it is said first", "casual words, as to a friend",
    "two sentences: what has happened, then the request", "a doubt, to be checked",
)  # fmt: skip


WAYS_THIRD = (
    "an answer to a question that somebody else seems to have asked before",
    "a reminder of what the other one was going to do", "an apology for asking again",
    "thanks first, the request after it", "with a time by which it is needed",
    "spoken: a filler word and a correction of oneself", "a hint of what would be nice, no order",
    "who one is first, then the request", "what not to do first, then what to do",
    "a note of keywords, as on a slip of paper",
)  # fmt: skip
LOTS = {
    "second twenty, en": WAYS, "second twenty, ko": WAYS, "third forty, en, 1": WAYS_THIRD,
    "third forty, en, 2": WAYS_THIRD, "third forty, ko, 1": WAYS_THIRD, "third forty, ko, 2": WAYS_THIRD,
}  # fmt: skip


def drawn(lot: str) -> dict[str, str]:
    """kind -> the way in which it has to be said."""
    ways = list(LOTS[lot])
    random.Random(f"fresh tasks, {lot}").shuffle(ways)
    return dict(zip(KINDS, ways))


def main() -> None:
    """Print what each policy does of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rule", action="store_true", help="print how the second and third block have to be said"
    )
    parser.add_argument("--blocks", type=int, nargs="+", default=[1, 2, 3], choices=[1, 2, 3])
    parser.add_argument("--letters", action="store_true", help="without the policies that need e5")
    given = parser.parse_args()
    if given.rule:
        for lot in LOTS:
            print(lot, *(f"{kind}: {way}" for kind, way in drawn(lot).items()), sep="\n  ")
        return
    tasks = {(block, seed): fresh_tool_tasks(seed, block) for block, seed in product(given.blocks, (0, 1, 2))}
    makers = {
        LETTERS: lambda: trained(False),
        BOTH: lambda: trained(True),
        ROUTED: lambda: RoutedPolicy(encoder()),
    }
    for name in [LETTERS] if given.letters else makers:
        policy = makers[name]()
        for (block, seed), asked in tasks.items():
            runs = examine(policy, asked)
            result, once = summed_up(runs), sum(run.mark.done and len(run.called) == 1 for run in runs)
            print(
                f"{name}, block {block}, seed {seed}: {result}, {once} at the first call, "
                f"{result.forbidden} tried what is forbidden",
                flush=True,
            )


if __name__ == "__main__":
    main()
