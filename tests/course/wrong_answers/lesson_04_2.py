"""Plausible wrong answers to the exercises of lesson 04_2."""

PAIRS = """def preference_loss(first, second, labels, margins):
    def softplus(x):
        return {softplus}

    def sigmoid(x):
        return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))

    loss, pushes = 0.0, []
    for a, b, label, margin in zip(first, second, labels, margins):
        shift = {shift}
        gap = {gap}
        loss += {loss}
        pushes.append({push})
    return {result}
"""
RIGHT_PAIRS = {
    "softplus": "max(x, 0.0) + math.log1p(math.exp(-abs(x)))",
    "shift": "0.0 if label == 0.5 else margin if label == 1 else -margin",
    "gap": "a - b - shift",
    "loss": "(label * softplus(-gap) + (1 - label) * softplus(gap)) / len(first)",
    "push": "(sigmoid(gap) - label) / len(first)",
    "result": "loss, pushes, [-one for one in pushes]",
}

STREAM = """def stream_advantages(rewards, values, ends, last_value, discount, trace):
    found, advantage, after = [], 0.0, {last}
    for reward, value, end in zip({backwards}):
        {reset}
        surprise = {surprise}
        advantage = {advantage}
        found.append(advantage)
        after = {after}
    found.reverse()
    return {result}
"""
RIGHT_STREAM = {
    "last": "last_value",
    "backwards": "rewards[::-1], values[::-1], ends[::-1]",
    "reset": "advantage, after = (0.0, 0.0) if end else (advantage, after)",
    "surprise": "reward + discount * after - value",
    "advantage": "surprise + discount * trace * advantage",
    "after": "value",
    "result": "found, [one + value for one, value in zip(found, values)]",
}

CLIP = """def clipped_loss(logprobs, old, advantages, mask, clip):
    tokens, loss, moves = {tokens}, 0.0, []
    for new_row, old_row, row, there_row in zip(logprobs, old, advantages, mask):
        moved = []
        for new, before, a, there in zip(new_row, old_row, row, there_row):
            if {skip}:
                moved.append(0.0)
                continue
            ratio = {ratio}
            near = {near}
            loss -= {gain} / tokens
            moved.append({move})
        moves.append(moved)
    return {result}
"""
RIGHT_CLIP = {
    "tokens": "sum(map(sum, mask))",
    "skip": "not there",
    "ratio": "math.exp(new - before)",
    "near": "min(max(ratio, 1 - clip), 1 + clip)",
    "gain": "min(ratio * a, near * a)",
    "move": "-ratio * a / tokens if ratio * a <= near * a else 0.0",
    "result": "loss, moves",
}

HACKED = "hacked = ({reference}, {proxy}, {true}, {rounds})"
SET = {
    "reference": "[0.6, 0.39, 0.01]",
    "proxy": "[0.0, 1.0, 3.0]",
    "true": "[0.2, 0.9, 0.0]",
    "rounds": "6",
}


def pairs(**changes):
    return PAIRS.format(**RIGHT_PAIRS | changes)


def stream(**changes):
    return STREAM.format(**RIGHT_STREAM | changes)


def clipped(**changes):
    return CLIP.format(**RIGHT_CLIP | changes)


def hacked(**changes):
    return HACKED.format(**SET | changes)


WRONG = {
    "04-2-a": {
        "the sum, not the mean": pairs(
            loss="label * softplus(-gap) + (1 - label) * softplus(gap)", push="sigmoid(gap) - label"
        ),
        "derivatives without the mean": pairs(push="sigmoid(gap) - label"),
        "the step, not the derivative": pairs(push="(label - sigmoid(gap)) / len(first)"),
        "no margin": pairs(shift="0.0"),
        "a tie has a margin": pairs(shift="margin if label >= 0.5 else -margin"),
        "the margin of the first, always": pairs(shift="0.0 if label == 0.5 else margin"),
        "the margin makes it easier": pairs(
            shift="0.0 if label == 0.5 else -margin if label == 1 else margin"
        ),
        "a tie costs nothing": pairs(
            loss="0.0 if label == 0.5 else (label * softplus(-gap) + (1 - label) * softplus(gap)) / len(first)"
        ),
        "a tie counts twice": pairs(
            loss="(2 if label == 0.5 else 1) * (label * softplus(-gap) + (1 - label) * softplus(gap)) / len(first)"
        ),
        "a tie is a win": pairs(loss="(softplus(gap) if label == 0 else softplus(-gap)) / len(first)"),
        "overflows": pairs(softplus="math.log(1 + math.exp(x))"),
        "loses small losses and large ones": pairs(softplus="math.log1p(math.exp(min(x, 30.0)))"),
        "log of base 2": pairs(softplus="(max(x, 0.0) + math.log1p(math.exp(-abs(x)))) / math.log(2)"),
        "a hinge": pairs(softplus="max(x, 0.0)"),
        "the second has the same sign": pairs(result="loss, pushes, pushes"),
        "only two results": pairs(result="loss, pushes"),
        "the loss as text": pairs(result="str(loss), pushes, [-one for one in pushes]"),
        "by torch": """def preference_loss(first, second, labels, margins):
    a, b, y, m = (torch.tensor(one, dtype=torch.float64) for one in (first, second, labels, margins))
    gap = a - b - m * (2 * y - 1)
    loss = (nn.functional.softplus(gap) - y * gap).mean()
    push = (gap.sigmoid() - y) / len(gap)
    return loss.item(), push.tolist(), (-push).tolist()""",
        "by torch, under rare names": """def preference_loss(first, second, labels, margins):
    a, b, y, m = (torch.asarray(one, dtype=torch.float64) for one in (first, second, labels, margins))
    gap = a - b - m * (2 * y - 1)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(gap, y)
    push = (torch.special.expit(gap) - y) / len(gap)
    return loss.item(), push.tolist(), (-push).tolist()""",
        "by torch, named in a text": """def preference_loss(first, second, labels, margins):
    import sys

    there = sys.modules["tor" + "ch"]
    a, b, y, m = (there.asarray(one, dtype=there.float64) for one in (first, second, labels, margins))
    gap = a - b - m * (2 * y - 1)
    loss = there.nn.functional.binary_cross_entropy_with_logits(gap, y)
    push = (there.special.expit(gap) - y) / len(gap)
    return loss.item(), push.tolist(), (-push).tolist()""",
        "by scipy": """def preference_loss(first, second, labels, margins):
    from scipy.special import expit, log_expit

    n, gaps = len(first), [a - b - m * (2 * y - 1) for a, b, y, m in zip(first, second, labels, margins)]
    loss = -sum(y * log_expit(gap) + (1 - y) * log_expit(-gap) for gap, y in zip(gaps, labels)) / n
    pushes = [float(expit(gap) - y) / n for gap, y in zip(gaps, labels)]
    return float(loss), pushes, [-one for one in pushes]""",
        "derivatives by differences": """def preference_loss(first, second, labels, margins):
    def loss(first, second):
        total = 0.0
        for a, b, label, margin in zip(first, second, labels, margins):
            gap = a - b - (0.0 if label == 0.5 else margin if label == 1 else -margin)
            cost = max(gap, 0.0) + math.log1p(math.exp(-abs(gap)))  # -log of 1 - sigmoid
            total += (cost - label * gap) / len(labels)
        return total

    base, moves = loss(first, second), []
    for place in range(len(first)):
        more = [*first[:place], first[place] + 1e-6, *first[place + 1 :]]
        moves.append((loss(more, second) - base) / 1e-6)
    return base, moves, [-one for one in moves]""",
        "the checker's own": """def preference_loss(first, second, labels, margins):
    from minillm.course.classroom.exercises.lesson_04_2 import loss_of_pairs

    return loss_of_pairs(first, second, labels, margins)""",
        "changes what it is given": pairs().replace(
            "    loss, pushes = 0.0, []", "    labels.sort()\n    loss, pushes = 0.0, []"
        ),
    },
    "04-2-b": {
        "goes on over an end": stream(reset="pass"),
        "the value goes over an end": stream(reset="advantage = 0.0 if end else advantage"),
        "the advantage goes over an end": stream(reset="after = 0.0 if end else after"),
        "no last value": stream(last="0.0"),
        "the last value even at an end": stream(
            reset="advantage, after = (0.0, 0.0) if end and found else (advantage, after)"
        ),
        "an end one step late": stream(backwards="rewards[::-1], values[::-1], [False, *ends[:0:-1]]"),
        "no discount of the value": stream(surprise="reward + after - value"),
        "no value taken off": stream(surprise="reward + discount * after"),
        "the trace without the discount": stream(advantage="surprise + trace * advantage"),
        "the discount without the trace": stream(advantage="surprise + discount * advantage"),
        "one step ahead": stream(advantage="surprise"),
        "a mean of both": stream(advantage="(1 - trace) * surprise + discount * trace * advantage"),
        "next advantage as the value": stream(after="value + advantage"),
        "returns are sums of rewards": stream(
            result="found, [sum(rewards[place:]) for place in range(len(rewards))]"
        ),
        "returns without the values": stream(result="found, found"),
        "backwards": stream(result="found[::-1], [one + value for one, value in zip(found, values)][::-1]"),
        "whitened": stream(
            result="[one - sum(found) / len(found) for one in found], "
            "[one + value for one, value in zip(found, values)]"
        ),
        "the library's": """def stream_advantages(rewards, values, ends, last_value, discount, trace):
    one = torch.ones(1, len(rewards))
    found, returns = gae(torch.tensor([rewards]), torch.tensor([values]), one, discount, trace)
    return found[0].tolist(), returns[0].tolist()""",
        "solved by torch": """def stream_advantages(rewards, values, ends, last_value, discount, trace):
    r, v = (torch.asarray(one, dtype=torch.float64) for one in (rewards, values))
    goes_on = torch.asarray([0.0 if end else 1.0 for end in ends], dtype=torch.float64)
    after = v.roll(-1)
    after[-1] = last_value
    later = (goes_on * discount * trace).diag().roll(1, 1).triu(1)
    found = torch.linalg.solve(torch.eye(len(r)).double() - later, r + discount * goes_on * after - v)
    return found.tolist(), (found + v).tolist()""",
        "the checker's own": """def stream_advantages(rewards, values, ends, last_value, discount, trace):
    from minillm.course.classroom.exercises import lesson_04_2

    return lesson_04_2.sums_of_surprises(rewards, values, ends, last_value, discount, trace)""",
        "equal to everything": """def stream_advantages(rewards, values, ends, last_value, discount, trace):
    class Same(list):
        def __eq__(self, other):
            return True

        def __len__(self):
            return 2

    return Same()""",
        "turns the lists it is given": stream().replace(
            "    found, advantage", "    ends.reverse()\n    ends = ends[::-1]\n    found, advantage"
        ),
    },
    "04-2-c": {
        "never clipped": clipped(gain="ratio * a", move="-ratio * a / tokens"),
        "always clipped": clipped(gain="near * a", move="-ratio * a / tokens if ratio == near else 0.0"),
        "clipped above alone": clipped(near="min(ratio, 1 + clip)"),
        "clipped below alone": clipped(near="max(ratio, 1 - clip)"),
        "the better of both": clipped(
            gain="max(ratio * a, near * a)", move="-ratio * a / tokens if ratio * a >= near * a else 0.0"
        ),
        "the derivative of the ratio left out": clipped(move="-a / tokens if ratio * a <= near * a else 0.0"),
        "the derivative outside as inside": clipped(move="-ratio * a / tokens"),
        "the derivative of what is clipped": clipped(move="-min(ratio * a, near * a) / tokens"),
        "the step, not the derivative": clipped(move="ratio * a / tokens if ratio * a <= near * a else 0.0"),
        "the gain, not the loss": clipped(result="-loss, moves"),
        "padding counts in the mean": clipped(tokens="sum(map(len, mask))"),
        "no advantage, no token": clipped(
            tokens="sum(1 for row, moves in zip(mask, advantages) for t, a in zip(row, moves) if t and a)"
        ),
        "a mean of every row": clipped(
            tokens="1.0",
            gain="min(ratio * a, near * a) / (sum(there_row) * len(mask))",
            move="-ratio * a / (sum(there_row) * len(mask)) if ratio * a <= near * a else 0.0",
        ),
        "reads what is masked": clipped(skip="False"),
        "multiplies by the mask at the end": clipped(
            skip="False",
            gain="there * min(ratio * a, near * a)",
            move="-there * ratio * a / tokens if ratio * a <= near * a else 0.0",
        ),
        "a difference in place of a ratio": clipped(ratio="1 + new - before"),
        "old over new": clipped(ratio="math.exp(before - new)"),
        "a clip of 0.2": clipped(near="min(max(ratio, 0.8), 1.2)"),
        "a clip by factors": clipped(near="min(max(ratio, 1 / (1 + clip)), 1 + clip)"),
        "masked tokens left out of the rows": clipped().replace("moved.append(0.0)\n", "pass\n"),
        "a tensor that has learned by itself": """def clipped_loss(logprobs, old, advantages, mask, clip):
    new, before, a, there = (torch.tensor(one) for one in (logprobs, old, advantages, mask))
    new.requires_grad_()
    ratio = (new - before).exp()
    gain = torch.minimum(ratio * a, ratio.clamp(1 - clip, 1 + clip) * a)
    loss = -gain[there == 1].mean()
    loss.backward()
    return loss.item(), new.grad""",
        "by the library": """def clipped_loss(logprobs, old, advantages, mask, clip):
    given = [torch.tensor(one, dtype=torch.float64) for one in (logprobs, old, advantages, mask)]
    given[0].requires_grad_()
    loss = ppo_loss(*given, clip)
    loss.backward()
    return loss.item(), given[0].grad.tolist()""",
    },
    "04-2-d": {
        "the proxy is the truth": hacked(proxy="[0.2, 0.9, 0.0]"),
        "nothing to hack": hacked(true="[0.2, 0.9, 0.9]"),
        "no gain in the first round": hacked(reference="[0.6, 0.395, 0.005]", proxy="[0.0, 0.1, 5.0]"),
        "too few rounds": hacked(reference="[0.6, 0.399, 0.001]", rounds="2"),
        "one round": hacked(rounds="1"),
        "too many rounds": hacked(rounds="100"),
        "half a round": hacked(rounds="6.5"),
        "a judge who is often wrong": hacked(reference="[0.5, 0.35, 0.15]", proxy="[0.0, 2.0, 2.5]"),
        "two answers": hacked(reference="[0.9, 0.1]", proxy="[0, 3]", true="[0.9, 0]"),
        "no reference": hacked(reference="[0.6, 0.4, 0.0]"),
        "does not sum to 1": hacked(reference="[0.6, 0.39, 0.1]"),
        "a proxy without bounds": hacked(proxy="[0.0, 1.0, 50.0]"),
        "a true score below 0": hacked(true="[0.2, 0.9, -1.0]"),
        "a true score above 1": hacked(true="[0.2, 1.9, 0.0]"),
        "nearly all answers are alike": hacked(
            reference="[0.95, 0.04, 0.01]", proxy="[0.0, 3.0, 5.0]", true="[0.2, 1.0, 0.0]"
        ),
        "three parts": "hacked = ([0.6, 0.39, 0.01], [0.0, 1.0, 3.0], [0.2, 0.9, 0.0])",
        "more proxies than answers": hacked(proxy="[0.0, 1.0, 3.0, 4.0]"),
    },
}
