"""Plausible wrong answers to the exercises of lesson 14_3b."""

DRAW = """def draw(network, alpha_bar, path, noises, text, w):
    {before}
    found = []
    for x in {noises}:
        for t, s in zip({path}, {targets}):
            left = {left}
            left_s = 1.0 if s is None else {left_s}
            without = network(x, {t}, {none})
            told = network(x, {t}, {text})
            x0 = {guided}
            noise = {noise}
            x = {move}
        found.append({made})
    return {result}"""
RULE = {
    "before": "pass",
    "noises": "noises",
    "path": "path",
    "targets": "[*path[1:], None]",
    "left": "alpha_bar[t]",
    "left_s": "alpha_bar[s]",
    "t": "t",
    "none": "None",
    "text": "text",
    "guided": "told + w * (told - without)",
    "noise": "(x - left**0.5 * x0) / (1 - left) ** 0.5",
    "move": "left_s**0.5 * x0 + (1 - left_s) ** 0.5 * noise",
    "made": "x / x.norm()",
    "result": "max(found, key=lambda z: float(z @ text))",
}


def draw(**change):
    return DRAW.format(**RULE | change)


EDIT = """def edit(image, new, old, share):
    {before}
    start = {start}
    way = {way}
    goal = {goal}
    angle = {angle}
    return {result}"""
TURN = {
    "before": "pass",
    "start": "image / image.norm()",
    "way": "new / new.norm() - old / old.norm()",
    "goal": "way / way.norm()",
    "angle": "torch.arccos((start @ goal).clamp(-1, 1))",
    "result": "(torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * goal) / torch.sin(angle)",
}


def edit(**change):
    return EDIT.format(**TURN | change)


CROWD = """def scores(vectors):
    mean = [sum(column) / {count} for column in zip(*vectors)]
    square = sum(x * x for x in mean)
    {after}
    return {result}


crowd = {crowd}
why = "{why}" """
SOUND = {
    "count": "len(vectors)",
    "after": "pass",
    "result": "square**0.5, square",
    "crowd": "[[float(i == j) for j in range(12)] for i in range(12)]",
    "why": "b",
}


def crowd(**change):
    return CROWD.format(**SOUND | change)


WRONG = {
    "14-3b-a": {
        "side of the grid in 1": "prediction = [32, 1280, 4.25, 0.9, 0.81, 15]",
        "pixels in 1": "prediction = [65536, 1280, 4.25, 0.9, 0.81, 15]",
        "text forgotten in 2": "prediction = [1024, 1024, 4.25, 0.9, 0.81, 15]",
        "equal weights in 3": "prediction = [1024, 1280, 5.0, 0.9, 0.81, 15]",
        "weights changed in 3": "prediction = [1024, 1280, 5.75, 0.9, 0.81, 15]",
        "square in 4": "prediction = [1024, 1280, 4.25, 0.81, 0.81, 15]",
        "no square in 5": "prediction = [1024, 1280, 4.25, 0.9, 0.9, 15]",
        "root in 5": "prediction = [1024, 1280, 4.25, 0.9, 0.949, 15]",
        "angle from the other end in 6": "prediction = [1024, 1280, 4.25, 0.9, 0.81, 45]",
        "share of a cosine in 6": "prediction = [1024, 1280, 4.25, 0.9, 0.81, 28.96]",
        "five numbers": "prediction = [1024, 1280, 4.25, 0.9, 0.81]",
    },
    "14-3b-b": {
        "no guidance": draw(guided="told"),
        "guidance of diffusers": draw(guided="without + w * (told - without)"),
        "guidance away from the text": draw(guided="told - w * (told - without)"),
        "without the text": draw(guided="without"),
        "guidance of 1 at most": draw(guided="told + min(w, 1) * (told - without)"),
        "zeros for no text": draw(none="0 * text"),
        "text and none changed": draw(none="text", text="None"),
        "step 0 always": draw(t="0"),
        "the network says the noise": draw(
            guided="(x - (1 - left) ** 0.5 * (told + w * (told - without))) / left**0.5"
        ),
        "the network says v": draw(
            guided="left**0.5 * x - (1 - left) ** 0.5 * (told + w * (told - without))"
        ),
        "no division in the noise": draw(noise="x - left**0.5 * x0"),
        "no root in the noise": draw(noise="(x - left * x0) / (1 - left)"),
        "levels of the old step": draw(move="left**0.5 * x0 + (1 - left) ** 0.5 * noise"),
        "no roots in the move": draw(move="left_s * x0 + (1 - left_s) * noise"),
        "jumps to x0": draw(move="x0"),
        "fresh noise": draw(noise="torch.randn_like(x)"),
        "the path backwards": draw(path="path[::-1]", targets="[*path[::-1][1:], None]"),
        "last move left out": draw(path="path[:-1]", targets="path[1:]"),
        "last move to step 0": draw(targets="[*path[1:], 0]"),
        "each neighbour step": draw(left_s="alpha_bar[max(t - 1, 0)]"),
        "not made length 1": draw(made="x", result="max(found, key=lambda z: float(z @ text / z.norm()))"),
        "chosen before it has length 1": draw(
            made="x", result="(lambda z: z / z.norm())(max(found, key=lambda z: float(z @ text)))"
        ),
        "made sqrt(D) long": draw(made="x / x.norm() * len(x) ** 0.5"),
        "the farthest": draw(result="min(found, key=lambda z: float(z @ text))"),
        "the first": draw(result="found[0]"),
        "the last": draw(result="found[-1]"),
        "their mean": draw(result="sum(found) / len(found)"),
        "nearest to its noise": draw(result="max(found, key=lambda z: float(z @ noises[0]))"),
        "only two noises": draw(noises="noises[:2]"),
        "changes the noises": draw(before="noises[0].mul_(1.5)"),
        "changes the path": draw(before="path.append(path[-1])"),
        "all noises in one batch": draw(before="network(torch.stack(noises), path[0], text)"),
        "the checker's own chain": """def draw(network, alpha_bar, path, noises, text, w):
    import sys
    theirs = sys.modules["minillm.course.classroom.exercises.lesson_14_3b"]
    found = [theirs._chain(network, alpha_bar, path, x, text, w) for x in noises]
    return max(found, key=lambda z: float(z @ text))""",
        "the library's step": draw(
            before="from minillm.inference.diffusion import step_back",
            move="step_back(x0, noise, left, left_s, 0.0, None)",
        ),
    },
    "14-3b-c": {
        "a straight line": edit(result="(1 - share) * start + share * goal"),
        "a straight line made length 1": edit(
            result="(lambda z: z / z.norm())((1 - share) * start + share * goal)"
        ),
        "the difference is added": edit(result="(lambda z: z / z.norm())(start + share * way)"),
        "from old minus new": edit(way="old / old.norm() - new / new.norm()"),
        "only the new text": edit(way="new"),
        "texts not made length 1": edit(way="new - old"),
        "image not made length 1": edit(start="image"),
        "difference not made length 1": edit(goal="way"),
        "share from the other end": edit(
            result="(torch.sin(share * angle) * start + torch.sin((1 - share) * angle) * goal) / torch.sin(angle)"
        ),
        "no division by the sine": edit(
            result="torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * goal"
        ),
        "cosine for the angle": edit(angle="start @ goal"),
        "the angle between the texts": edit(angle="torch.arccos(new @ old / new.norm() / old.norm())"),
        "degrees": edit(angle="torch.rad2deg(torch.arccos((start @ goal).clamp(-1, 1)))"),
        "half the share": edit(before="share = share / 2"),
        "always there": edit(result="goal"),
        "changes the image": edit(before="image /= image.norm()"),
        "as long as the image": edit(result="image.norm() * " + TURN["result"]),
        "the library's slerp": edit(
            before="from minillm.inference import mix_noise", result="mix_noise(start, goal, share)"
        ),
        "the library's edit": edit(
            before="from minillm.inference import edit_embeddings",
            result="edit_embeddings(image[None], new[None], old[None], share)[0]",
        ),
    },
    "14-3b-d": {
        "the square twice": crowd(result="square, square"),
        "the length twice": crowd(result="square**0.5, square**0.5"),
        "the two changed": crowd(result="square, square**0.5"),
        "squared errors": crowd(result="1 - square, 2 * (1 - square)"),
        "without couples with itself": crowd(
            after="n = max(2, len(vectors))", result="square**0.5, (n * n * square - n) / (n * n - n)"
        ),
        "one less in the mean": crowd(count="max(1, len(vectors) - 1)"),
        "nearest instead of average": crowd(
            after="near = max(sum(a * b for a, b in zip(mean, v)) for v in vectors) / square**0.5",
            result="near, square",
        ),
        "the first vector": crowd(
            after="first = sum(a * b for a, b in zip(mean, vectors[0]))", result="first / square**0.5, first"
        ),
        "only one number": crowd(result="square"),
        "changes the vectors": crowd(after="vectors.clear()"),
        "the checker's own scores": crowd(
            after="import sys; theirs = sys.modules['minillm.course.classroom.exercises.lesson_14_3b']",
            result="theirs._scores(vectors)",
        ),
        "opposite vectors": crowd(crowd="[[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]"),
        "too near": crowd(crowd="[[float(i == j) for j in range(6)] for i in range(6)]"),
        "all the same": crowd(crowd="[[1.0, 0.0]] * 8"),
        "not of length 1": crowd(crowd="[[0.3 * (i == j) for j in range(12)] for i in range(12)]"),
        "three vectors": crowd(crowd="[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]"),
        "too many": crowd(crowd="[[float(i == j) for j in range(30)] for i in range(30)]"),
        "rows of other lengths": crowd(crowd="[[1.0, 0.0], [0.0, 1.0, 0.0]] * 4"),
        "reason a": crowd(why="a"),
        "reason c": crowd(why="c"),
    },
}
