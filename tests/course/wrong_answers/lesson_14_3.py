"""Plausible wrong answers to the exercises of lesson 14_3."""

SAMPLE = """def sample(network, alpha_bar, path, x, wish, w):
    {before}
    for t, s in zip({path}, {targets}):
        left = {left}
        left_s = 1.0 if s is None else {left_s}
        without = network(x, {t}, {none})
        v = network(x, {t}, {wish})
        v = {guided}
        x0 = {x0}
        noise = {noise}
        x = {move}
        {after}
    return {result}"""
RULE = {
    "before": "pass",
    "path": "path",
    "targets": "[*path[1:], None]",
    "left": "alpha_bar[t]",
    "left_s": "alpha_bar[s]",
    "t": "t",
    "none": "None",
    "wish": "wish",
    "guided": "v + w * (v - without)",
    "x0": "left**0.5 * x - (1 - left) ** 0.5 * v",
    "noise": "left**0.5 * v + (1 - left) ** 0.5 * x",
    "move": "left_s**0.5 * x0 + (1 - left_s) ** 0.5 * noise",
    "after": "pass",
    "result": "x",
}


def sample(**change):
    return SAMPLE.format(**RULE | change)


LEAK = """def snr(betas):
    left, ratios = {start}, []
    for beta in {betas}:
        left {step}
        ratios.append({ratio})
    return {result}


leaky = {leaky}
why = "{why}" """
SOUND = {
    "start": "1.0",
    "betas": "betas",
    "step": "*= 1 - beta",
    "ratio": "left / (1 - left)",
    "result": "ratios",
    "leaky": "[0.12] * 10",
    "why": "b",
}


def leak(**change):
    return LEAK.format(**SOUND | change)


BETWEEN = """def between(a_t, a_s, x_t, x0):
    kept = {kept}
    mean = {of_x0} * x0 + {of_xt} * x_t
    return {result}"""
BAYES = {
    "kept": "a_t / a_s",
    "of_x0": "math.sqrt(a_s) * (1 - kept) / (1 - a_t)",
    "of_xt": "math.sqrt(kept) * (1 - a_s) / (1 - a_t)",
    "result": "mean, (1 - a_s) / (1 - a_t) * (1 - kept)",
}


def between(**change):
    return BETWEEN.format(**BAYES | change)


WRONG = {
    "14-3-a": {
        "roots forgotten in 1": "prediction = [-0.46, -1.0, 0.875, 1.1, 0.8, 0.36]",
        "noise with a plus in 2": "prediction = [-0.5, -0.2, 0.875, 1.1, 0.8, 0.36]",
        "no division in 3": "prediction = [-0.5, -1.0, 0.7, 1.1, 0.8, 0.36]",
        "the roots changed in 4": "prediction = [-0.5, -1.0, 0.875, 1.0, 0.8, 0.36]",
        "from the answer without the wish in 5": "prediction = [-0.5, -1.0, 0.875, 1.1, 0.5, 0.36]",
        "product of the betas in 6": "prediction = [-0.5, -1.0, 0.875, 1.1, 0.8, 0.01]",
        "sum of the betas in 6": "prediction = [-0.5, -1.0, 0.875, 1.1, 0.8, 0.2]",
        "five numbers": "prediction = [-0.5, -1.0, 0.875, 1.1, 0.8]",
    },
    "14-3-b": {
        "no guidance": sample(guided="v"),
        "guidance of diffusers": sample(guided="without + w * (v - without)"),
        "guidance away from the wish": sample(guided="v - w * (v - without)"),
        "without the wish": sample(guided="without"),
        "guidance of 1 at most": sample(guided="v + min(w, 1) * (v - without)"),
        "wish 0 for no wish": sample(none="0"),
        "wish and none changed": sample(none="wish", wish="None"),
        "wish 0 always": sample(wish="0"),
        "step 0 always": sample(t="0"),
        "the network says x0": sample(x0="v"),
        "the network says e": sample(noise="v", x0="(x - (1 - left) ** 0.5 * v) / left**0.5"),
        "sign of v in x0": sample(x0="left**0.5 * x + (1 - left) ** 0.5 * v"),
        "sign of v in the noise": sample(noise="(1 - left) ** 0.5 * x - left**0.5 * v"),
        "no roots": sample(x0="left * x - (1 - left) * v"),
        "clipped": sample(x0="(left**0.5 * x - (1 - left) ** 0.5 * v).clamp(-1, 1)"),
        "the path backwards": sample(path="path[::-1]", targets="[*path[::-1][1:], None]"),
        "last move left out": sample(path="path[:-1]", targets="path[1:]"),
        "last move to step 0": sample(left_s="alpha_bar[s]", targets="[*path[1:], 0]"),
        "each neighbour step": sample(left_s="alpha_bar[max(t - 1, 0)]"),
        "old noise level": sample(move="left**0.5 * x0 + (1 - left) ** 0.5 * noise"),
        "jumps to x0": sample(after="return x0"),
        "fresh noise": sample(noise="torch.randn_like(x)"),
        "changes x": sample(before="given = x", after="given.copy_(x)"),
        "changes the path": sample(after="pass", before="path.append(path[-1])"),
        "both halves in one batch": sample(before="network(torch.cat([x, x]), path[0], wish)"),
        "the library's step": sample(
            before="from minillm.inference.diffusion import step_back",
            move="step_back(x0, noise, left, left_s, 0.0, None)",
        ),
    },
    "14-3-c": {
        "noise to signal": leak(ratio="(1 - left) / left"),
        "share, not ratio": leak(ratio="left"),
        "roots": leak(ratio="(left / (1 - left)) ** 0.5"),
        "sum of the betas": leak(start="1.0", step="-= beta / 100"),
        "one step each": leak(step="= 1 - beta"),
        "product of the betas": leak(step="*= beta"),
        "only the last": leak(result="ratios[-1:]"),
        "backwards": leak(result="ratios[::-1]"),
        "changes the betas": leak(result="(betas.clear(), ratios)[1]"),
        "does not leak": leak(leaky="[0.3] * 10"),
        "little noise": leak(leaky="[0.05] * 10"),
        "a falling schedule": leak(leaky="[0.2, 0.2] + [0.1] * 8"),
        "nine values": leak(leaky="[0.12] * 9"),
        "zeros": leak(leaky="[0.0] * 8 + [0.5, 0.5]"),
        "reason a": leak(why="a"),
        "reason c": leak(why="c"),
    },
    "14-3-d": {
        "levels changed": between(kept="a_s / a_t"),
        "no root of kept": between(of_xt="kept * (1 - a_s) / (1 - a_t)"),
        "root of a_t": between(of_x0="math.sqrt(a_t) * (1 - kept) / (1 - a_t)"),
        "deviation for variance": between(result="mean, ((1 - a_s) / (1 - a_t) * (1 - kept)) ** 0.5"),
        "variance of the step": between(result="mean, 1 - kept"),
        "variance of x0 alone": between(result="mean, 1 - a_s"),
        "DDIM's point": between(
            of_x0="(math.sqrt(a_s) - math.sqrt(a_t * (1 - a_s) / (1 - a_t)))",
            of_xt="math.sqrt((1 - a_s) / (1 - a_t))",
        ),
        "x_t is forgotten": between(of_x0="math.sqrt(a_s)", of_xt="0"),
        "mean alone": between(result="mean"),
        "the library's step": """def between(a_t, a_s, x_t, x0):
    import importlib
    library = importlib.import_module("minillm.inference." + "diffusion")
    schedule = importlib.import_module("minillm.models." + "noise_schedule").NoiseSchedule(prediction="x0")
    schedule.alpha_bar, schedule.steps = torch.tensor([a_s, a_t], dtype=torch.float64), 2
    x, clean, z = (torch.tensor([one], dtype=torch.float64) for one in (x_t, x0, 0.0))
    mean, other = (library.ddpm_step(schedule, x, clean, 1, 0, one, False) for one in (z, z + 1))
    return float(mean), float(other - mean) ** 2""",
        "rounded": between(result="mean, round((1 - a_s) / (1 - a_t) * (1 - kept), 6)"),
    },
}
