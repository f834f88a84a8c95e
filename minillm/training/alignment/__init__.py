"""Models that listen: supervised fine-tuning, reward models, PPO, DPO, GRPO, rejection sampling (book ch. 4).

Read first: logprobs.py, then chat_examples.py (SFT), reward.py, policy_gradient.py and ppo.py, preference_losses.py.
"""

from minillm.training.alignment.bandit import BanditPolicy, k3_policy, optimal_policy
from minillm.training.alignment.best_of_n import (
    best_of_n,
    best_of_n_kl,
    best_of_n_probabilities,
    expert_iteration,
)
from minillm.training.alignment.chat_examples import answer_spans, chat_example, chat_examples
from minillm.training.alignment.dpo import DPOObjective, DPOTrainer
from minillm.training.alignment.grpo import GRPOConfig, GRPOTrainer, group_advantages, grpo_loss, k3
from minillm.training.alignment.logprobs import sequence_logprobs, token_logprobs
from minillm.training.alignment.packing import PackedSet, SFTObjective, best_fit, document_mask
from minillm.training.alignment.pairs import PreferenceSet, preference_pair
from minillm.training.alignment.policy_gradient import (
    AdaptiveKL,
    gae,
    ppo_loss,
    token_rewards,
    value_loss,
    whiten,
)
from minillm.training.alignment.ppo import PPOConfig, PPOTrainer
from minillm.training.alignment.preference_losses import dpo_loss, hinge_loss, ipo_loss
from minillm.training.alignment.reward import (
    RewardModel,
    RewardObjective,
    bradley_terry_loss,
    critic_of,
    reward_report,
)
from minillm.training.alignment.shared_prompt import SharedPromptObjective, SharedPromptSet

__all__ = [
    "AdaptiveKL",
    "BanditPolicy",
    "DPOObjective",
    "DPOTrainer",
    "GRPOConfig",
    "GRPOTrainer",
    "PPOConfig",
    "PPOTrainer",
    "PackedSet",
    "PreferenceSet",
    "RewardModel",
    "RewardObjective",
    "SFTObjective",
    "SharedPromptObjective",
    "SharedPromptSet",
    "answer_spans",
    "best_fit",
    "best_of_n",
    "best_of_n_kl",
    "best_of_n_probabilities",
    "bradley_terry_loss",
    "chat_example",
    "chat_examples",
    "critic_of",
    "document_mask",
    "dpo_loss",
    "expert_iteration",
    "gae",
    "group_advantages",
    "grpo_loss",
    "hinge_loss",
    "ipo_loss",
    "k3",
    "k3_policy",
    "optimal_policy",
    "ppo_loss",
    "preference_pair",
    "reward_report",
    "sequence_logprobs",
    "token_logprobs",
    "token_rewards",
    "value_loss",
    "whiten",
]
