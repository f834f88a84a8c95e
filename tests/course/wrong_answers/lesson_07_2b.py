"""Plausible wrong answers to the exercises of lesson 07_2b."""

ROW = """def gptq_row(w, H, scale, order, damping):
    w, done = w.clone(), torch.zeros(len(w), dtype=torch.float64)
    H = H + {damped} * torch.eye(len(w), dtype=torch.float64)
    whole = torch.linalg.inv(H)
    for place, i in enumerate({order}):
        left = torch.tensor({left})
        inverse = {inverse}
        done[i] = torch.round(w[i] / {scale}) * {scale}
        w[left] {sign}= (w[i] - done[i]) / {pivot} * inverse[{row}]
    return {result}"""
FINE = {
    "damped": "damping * H.diagonal().mean()",
    "order": "order",
    "left": "order[place:]",
    "inverse": "torch.linalg.inv(H[left][:, left])",
    "scale": "scale",
    "sign": "-",
    "pivot": "inverse[0, 0]",
    "row": "0",
    "result": "done",
}

SEARCH = """def search_scales(W, X, alphas, top):
    errors = []
    for alpha in alphas:
        s = {size} ** alpha
        step = {largest} / {top}
        Q = torch.round(W {scaled} s / step) * step {back} s
        errors.append({error}.item())
    return {result}"""
FOUND = {
    "size": "X.abs().mean(0)",
    "largest": "(W * s).abs().amax(1, keepdim=True)",
    "top": "top",
    "scaled": "*",
    "back": "/",
    "error": "((X @ (Q - W).T) ** 2).sum(1).mean()",
    "result": "alphas[errors.index(min(errors))], errors",
}


def row(**changes):
    return ROW.format(**FINE | changes)


def search(**changes):
    return SEARCH.format(**FOUND | changes)


def harm(w="[0.4, 0.4]", calibration="[[1.0, 1.0]]", held_out="[[1.0, -1.0]]", why="b"):
    return f"w, calibration_rows, held_out_rows, why = {w}, {calibration}, {held_out}, {why!r}"


WRONG = {
    "07-2b-a": {
        "plain rounding": "def gptq_row(w, H, scale, order, damping):\n    return torch.round(w / scale) * scale",
        "forgets the damping": row(damped="0.0"),
        "damping is not a share of the diagonal": row(damped="damping"),
        "damping by the largest of the diagonal": row(damped="damping * H.diagonal().max()"),
        "ignores the order": row(order="range(len(w))", left="list(range(place, len(w)))"),
        "one inverse for all steps": row(inverse="whole[left][:, left]"),
        "spreads errors over finished columns, too": row(
            left="list(range(len(w)))", inverse="whole", pivot="whole[i, i]", row="i"
        ),
        "gives back what finished columns were moved to": row(
            left="list(range(len(w)))", inverse="whole", pivot="whole[i, i]", row="i", result="w"
        ),
        "H in place of its inverse": row(inverse="H[left][:, left]"),
        "the wrong direction": row(sign="+"),
        "forgets to divide by the diagonal": row(pivot="1.0"),
        "whole numbers only": row(scale="1.0"),
        "in the order of the work": row(result="done[torch.tensor(order)]"),
        "changes w": row().replace("w, done = w.clone(), ", "done = "),
        "the checker's, imported by its name": """def gptq_row(w, H, scale, order, damping):
    import importlib

    checker = importlib.import_module("minillm.course.classroom.exercises.lesson_07_2b")
    return checker._gptq(w, H, scale, order, damping)[0]""",
        "the checker's, kept in a dict": """from minillm.course.classroom.exercises import lesson_07_2b

KEPT = vars(lesson_07_2b)


def gptq_row(w, H, scale, order, damping):
    return KEPT["_gptq"](w, H, scale, order, damping)[0]""",
        "codes of 3 bits": row(result="done.clamp(-4 * scale, 3 * scale)"),
        "changes H": row().replace("H = H + ", "H += "),
        "the library's own": """def gptq_row(w, H, scale, order, damping):
    from minillm.quantization.groups import Grid

    zeros = torch.full((1, 1), 128, dtype=torch.uint8)
    grid = Grid(torch.full((1, 1), scale, dtype=torch.float64), zeros, 8, len(w))
    codes = gptq_plain(w[None], H, grid, torch.tensor(order), damping)
    return grid.numbers(codes)[0]""",
    },
    "07-2b-b": {
        "the mean with its sign": search(size="X.mean(0).abs()"),
        "the root of the mean square": search(size="X.square().mean(0).sqrt()"),
        "the largest input": search(size="X.abs().amax(0)"),
        "sizes of the weights": search(size="W.abs().mean(0)"),
        "one step for the whole matrix": search(largest="(W * s).abs().max()"),
        "steps of the weight before it is scaled": search(largest="W.abs().amax(1, keepdim=True)"),
        "ignores top": search(top="7"),
        "a code less": search(top="(top + 1)"),
        "folds the wrong way": search(scaled="/", back="*", largest="(W / s).abs().amax(1, keepdim=True)"),
        "forgets to divide again": search(back="/ 1.0 +0 *"),
        "the error of the weights": search(error="((Q - W) ** 2).sum(1).mean()"),
        "the mean over the outputs, too": search(error="((X @ (Q - W).T) ** 2).mean()"),
        "the sum over the tokens": search(error="((X @ (Q - W).T) ** 2).sum()"),
        "changes X": search(result="alphas[errors.index(min(errors))], errors").replace(
            "    return", "    X /= 2\n    return"
        ),
        "sorts alphas": search(size="X.abs().mean(0)").replace(
            "    errors = []", "    alphas.sort()\n    errors = []"
        ),
        "the worst exponent": search(result="alphas[errors.index(max(errors))], errors"),
        "the place of the exponent": search(result="errors.index(min(errors)), errors"),
        "the first exponent": search(result="alphas[0], errors"),
        "errors in order of size": search(result="alphas[errors.index(min(errors))], sorted(errors)"),
        "the exponent alone": search(result="alphas[errors.index(min(errors))]"),
    },
    "07-2b-c": {
        "no correlation": harm(calibration="[[1.0, 0.0], [0.0, 1.0]]", held_out="[[1.0, 1.0], [0.0, 0.0]]"),
        "the same inputs twice": harm(held_out="[[1.0, 1.0]]"),
        "louder inputs": harm(held_out="[[9.0, 9.0]]"),
        "larger held-out inputs": harm(held_out="[[9.0, -9.0]]"),
        "nothing to round": harm(w="[1.0, 2.0]"),
        "a tie": harm(w="[0.5, 0.4]"),
        "thinks that rounding is better": harm(why="a"),
        "thinks that held-out inputs are larger": harm(why="c"),
        "thinks that H has no inverse": harm(why="d"),
        "one weight": harm(w="[0.4]", calibration="[[1.0]]", held_out="[[-1.0]]"),
        "not numbers": harm(held_out="[[float('nan'), 1.0]]"),
        "the sets exchanged, rounding wins on neither": harm(w="[0.4, -0.4]", held_out="[[1.0, 1.0]]"),
    },
    "07-2b-d": {
        "bits for bytes": "prediction = [15e9 / 3840e6, 15e9 / 960e6, 15e9 / 600e6, 2 * 15e9 / 600e6]",
        "forgets the scales": "prediction = [31.25, 125, 250, 500]",
        "scales without the smallest weight": "prediction = [31.25, 125, 222.2, 444.4]",
        "a batch brings nothing": "prediction = [31.25, 125, 200, 200]",
        "a batch halves it": "prediction = [31.25, 125, 200, 100]",
        "seconds a token": "prediction = [0.032, 0.008, 0.005, 0.0025]",
        "three numbers": "prediction = [31.25, 125, 200]",
    },
}
