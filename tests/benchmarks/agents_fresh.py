"""The policies on 20 one-tool tasks whose wordings were written after the policies were finished.

    python -m tests.benchmarks.agents_fresh

Seeds 0, 1, 2 give other names and numbers to the same wordings. Needs `minillm fetch e5`.
"""

from __future__ import annotations

from minillm.apps.agents.examination import examine, summed_up
from minillm.apps.agents.policies import RoutedPolicy
from minillm.data.tool_tasks import fresh_tool_tasks
from tests.benchmarks.agents_quality import BOTH, LETTERS, ROUTED, encoder, trained


def main() -> None:
    """Print what each policy does of them."""
    for name, policy in (
        (LETTERS, trained(False)), (BOTH, trained(True)), (ROUTED, RoutedPolicy(encoder())),
    ):  # fmt: skip
        for seed in (0, 1, 2):
            result = summed_up(examine(policy, fresh_tool_tasks(seed)))
            print(f"{name}, seed {seed}: {result}; {result.forbidden} tried what is forbidden", flush=True)


if __name__ == "__main__":
    main()
