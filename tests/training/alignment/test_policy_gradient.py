"""The parts of PPO against sums written out, and against what their formulas say at the ends of their range."""

import numpy as np
import pytest
import torch

from minillm.training import (
    AdaptiveKL,
    gae,
    group_advantages,
    k3,
    ppo_loss,
    token_rewards,
    value_loss,
    whiten,
)
from minillm.training.alignment.grpo import LOSS_TYPES, grpo_loss, grpo_token_losses, token_mean
from minillm.training.alignment.policy_gradient import clip_fraction, policy_gradient_loss


def drawn(seed=0, rows=4, width=7):
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, rows, width, generator=generator, dtype=torch.float64)
    mask = torch.zeros(rows, width, dtype=torch.float64)
    for row in range(rows):  # a prompt, an answer, padding
        mask[row, row % 3 : width - (row % 2)] = 1
    return rewards * mask, values * mask, mask


@pytest.mark.parametrize(("discount", "trace"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.9, 0.0)])
def test_gae_is_its_sum_written_out(discount, trace):
    rewards, values, mask = drawn()
    advantages, returns = gae(rewards, values, mask, discount, trace)
    for row in range(len(mask)):
        there = mask[row].nonzero()[:, 0].tolist()
        r, v = rewards[row, there].numpy(), np.append(values[row, there].numpy(), 0.0)
        deltas = r + discount * v[1:] - v[:-1]
        for place, t in enumerate(there):
            expected = sum((discount * trace) ** k * one for k, one in enumerate(deltas[place:]))
            assert advantages[row, t] == pytest.approx(expected, abs=1e-12)
            assert returns[row, t] == pytest.approx(expected + v[place], abs=1e-12)
    assert (advantages[mask == 0] == 0).all()
    assert (returns[mask == 0] == 0).all()


def test_with_lambda_one_a_return_is_what_really_came():
    rewards, values, mask = drawn()
    _, returns = gae(rewards, values, mask, 1.0, 1.0)
    expected = rewards.flip(1).cumsum(1).flip(1) * mask
    torch.testing.assert_close(returns, expected)


def test_a_perfect_critic_leaves_no_advantage():
    rewards, _, mask = drawn()
    values = rewards.flip(1).cumsum(1).flip(1) * mask
    advantages, _ = gae(rewards, values, mask, 1.0, 0.95)
    torch.testing.assert_close(advantages, torch.zeros_like(mask))


def test_token_rewards_sum_to_the_score_less_the_price():
    _, logprobs, mask = drawn(1)
    reference, scores = (
        torch.randn(mask.shape, dtype=torch.float64) * mask,
        torch.randn(4, dtype=torch.float64),
    )
    found = token_rewards(scores, logprobs, reference, mask, 0.3)
    torch.testing.assert_close(found.sum(1), scores - 0.3 * ((logprobs - reference) * mask).sum(1))
    last = [int(row.nonzero()[-1]) for row in mask]
    without = token_rewards(torch.zeros_like(scores), logprobs, reference, mask, 0.3)
    torch.testing.assert_close((found - without)[range(4), last], scores)
    assert (found[mask == 0] == 0).all()


def test_whitened_numbers_have_mean_zero_and_variance_one():
    x, _, mask = drawn(2)
    found = whiten(5 + 3 * x, mask)[mask > 0]
    assert found.mean() == pytest.approx(0, abs=1e-12)
    assert found.var(unbiased=False) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("baseline", [0.0, 0.7, 5.0])
def test_answers_drawn_in_their_shares_give_the_exact_gradient(baseline):
    """Eight answers in the shares that the policy gives them: the gradient by the scores is p (r - E[r]), whatever
    number is taken off all rewards."""
    chances, reward = (
        torch.tensor([1.0, 3.0, 4.0], dtype=torch.float64) / 8,
        torch.tensor([2.0, -1.0, 0.5]).double(),
    )
    drawn = torch.tensor([0, 1, 1, 1, 2, 2, 2, 2])
    scores = chances.log().requires_grad_()
    logprobs = scores.log_softmax(dim=0)[drawn][:, None]
    policy_gradient_loss(logprobs, reward[drawn][:, None] - baseline, torch.ones_like(logprobs)).backward()
    torch.testing.assert_close(scores.grad, -chances * (reward - chances @ reward))


def test_the_first_step_of_ppo_is_the_policy_gradient_and_far_steps_have_none():
    advantages, old, mask = drawn(3)
    logprobs = old.clone().requires_grad_()
    ppo_loss(logprobs, old, advantages, mask).backward()
    torch.testing.assert_close(logprobs.grad, -advantages * mask / mask.sum())
    plain = old.clone().requires_grad_()
    policy_gradient_loss(plain, advantages, mask).backward()
    torch.testing.assert_close(plain.grad, logprobs.grad)
    far = (
        old + advantages.sign() * 0.5
    ).requires_grad_()  # further than the clip, where the advantage points
    loss = ppo_loss(far, old, advantages, mask, 0.2)
    loss.backward()
    assert (far.grad == 0).all()
    gain = torch.where(advantages > 0, 1.2 * advantages, 0.8 * advantages)
    torch.testing.assert_close(loss.detach(), -(gain * mask).sum() / mask.sum())
    assert clip_fraction(far, old, advantages, mask, 0.2) == (advantages * mask != 0).sum() / mask.sum()
    back = (old - advantages.sign() * 0.5).requires_grad_()  # the wrong way: nothing is clipped
    ppo_loss(back, old, advantages, mask, 0.2).backward()
    assert (back.grad[(mask > 0) & (advantages != 0)] != 0).all()


def test_value_loss_is_half_the_squared_error_near_the_old_values():
    returns, old, mask = drawn(4)
    near = old + 0.1 * mask
    torch.testing.assert_close(
        value_loss(near, old, returns, mask, 0.2), 0.5 * ((near - returns) ** 2 * mask).sum() / mask.sum()
    )
    far = (returns * mask).requires_grad_()  # a perfect value that was reached too fast still costs
    held = old + (returns - old).clamp(-0.01, 0.01)
    torch.testing.assert_close(
        value_loss(far, old, returns, mask, 0.01).detach(),
        0.5 * ((held - returns) ** 2 * mask).sum() / mask.sum(),
    )


def test_beta_follows_ziegler():
    control = AdaptiveKL(0.1, target=2.0, horizon=1000)
    assert control.update(2.0, 100) == pytest.approx(0.1)
    assert control.update(2.2, 100) == pytest.approx(0.1 * (1 + 0.1 * 0.1))
    assert control.update(50.0, 100) == pytest.approx(0.1 * 1.01 * (1 + 0.2 * 0.1))
    for _ in range(300):
        control.update(0.0, 1000)
    assert 0 < control.beta < 1e-6
    assert AdaptiveKL(0.1, 1.0, 10).update(0.0, 10_000) > 0


def test_k3_is_the_divergence_on_average_and_never_negative():
    p, q = (
        torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(i)).softmax(0)
        for i in (0, 1)
    )
    found = k3(p.log(), q.log())
    assert (found >= 0).all()
    assert (p * found).sum() == pytest.approx(float((p * (p / q).log()).sum()))


def test_a_group_that_agrees_teaches_nothing():
    found = group_advantages(torch.tensor([1.0, 1.0, 1.0, 0.0, 2.0, 4.0]), 3)
    assert found[:3].tolist() == [0, 0, 0]
    assert found[3:].sum() == pytest.approx(0, abs=1e-6)
    assert found[3:].std() == pytest.approx(1, abs=1e-3)
    assert group_advantages(torch.tensor([0.0, 2.0, 4.0]), 3, scale=False).tolist() == [-2, 0, 2]


def test_other_shapes_are_refused():
    x = torch.ones(2, 3)
    for call in (
        lambda: ppo_loss(x, x, x[0], x), lambda: policy_gradient_loss(x, x[0], x),
        lambda: gae(x, x[:, :2], x), lambda: value_loss(x, x.long(), x, x),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"expected float tensors \(B, T\) of one shape"):
            call()
    with pytest.raises(ValueError, match="mask must have a token"):
        ppo_loss(x, x, x, torch.zeros_like(x))
    with pytest.raises(ValueError, match=r"scores must be a tensor \(N \* 3,\)"):
        group_advantages(torch.ones(4), 3)
    with pytest.raises(ValueError, match="beta must be above 0"):
        AdaptiveKL(0, 1)


def test_rewards_and_whitening_take_no_other_shapes_and_no_answer_without_a_token():
    x, scores = torch.ones(2, 3), torch.ones(2)
    for call, message in (
        (lambda: token_rewards(torch.ones(3), x, x, x, 0.1), r"expected scores \(B,\) of answers \(B, T\)"),
        (
            lambda: token_rewards(torch.ones(2, 1), x, x, x, 0.1),
            r"expected scores \(B,\) of answers \(B, T\)",
        ),
        (lambda: token_rewards(scores, x, x[:1], x, 0.1), "expected tensors of one shape"),
        (lambda: token_rewards(scores, x, x, x, -1), "beta must be at least 0"),
        (
            lambda: token_rewards(scores, x, x, torch.tensor([[1.0, 1, 1], [0, 0, 0]]), 0.1),
            "every row of mask",
        ),
        (lambda: whiten(x, x[:1]), "expected tensors of one shape"),
        (lambda: whiten(x, 0 * x), "mask must have a token"),
        (lambda: whiten(x.numpy(), x.numpy()), "expected tensors of one shape"),
        (lambda: value_loss(x, x, x, x, -0.2), "clip must be at least 1e-06"),
        (lambda: value_loss(x, x, x, x, "a"), "clip must be a finite number"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_the_controller_stays_as_it_is_where_there_is_no_divergence():
    control = AdaptiveKL(0.1, target=2.0, horizon=1000)
    for kl, answers in ((float("nan"), 5), (float("inf"), 5), ("x", 5), (2.0, -5), (2.0, 0), (2.0, 2.5)):
        with pytest.raises(ValueError, match=r"kl must be a finite number|answers must be"):
            control.update(kl, answers)
    assert control.beta == 0.1


def test_the_parts_of_grpo_refuse_what_they_would_broadcast_or_guess():
    x = torch.ones(2, 3)
    for call, message in (
        (lambda: group_advantages(torch.tensor([0, 1, 1, 0]), 2), "scores must be a float tensor"),
        (lambda: group_advantages(torch.ones(4), 2, "no"), "scale must be True or False"),
        (lambda: k3(x, x[:1]), "expected tensors of one shape"),
        (lambda: grpo_token_losses(x, x, x), r"advantages must be a tensor \(B,\)"),
        (lambda: token_mean(x, x, "dapo"), "loss_type must be one of"),
        (lambda: token_mean(x, x[:1]), "expected tensors of one shape"),
        (lambda: token_mean(x, x, "dr_grpo", 0), "max_length must be at least 1"),
        (lambda: grpo_loss(x, x, torch.ones(2), None), "expected float tensors"),
        (lambda: grpo_loss(x, x, torch.ones(3), x), r"advantages must be a tensor \(B,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64])
def test_a_mask_may_be_of_any_dtype(dtype):
    rewards, values, mask = drawn()
    given = mask.to(dtype)
    for loss in (ppo_loss, value_loss):
        assert torch.equal(loss(values, rewards, rewards, given), loss(values, rewards, rewards, mask))
    assert torch.equal(gae(rewards, values, given)[0], gae(rewards, values, mask)[0])
    for kind in LOSS_TYPES:
        wanted = grpo_loss(values, rewards, rewards[:, 0], mask, loss_type=kind)
        assert torch.equal(grpo_loss(values, rewards, rewards[:, 0], given, loss_type=kind), wanted)
