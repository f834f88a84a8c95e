"""Plausible wrong answers to the exercises of lesson 14_4."""

READ = """def read(ids, table, pictures, image):
    rows, place = {start}
    for one in ids:
        if {test}:
            rows.append({picture})
            place += {step}
        else:
            rows.append({word})
    return {result}"""
OF_READ = {
    "start": "[], 0",
    "test": "one == image",
    "picture": "pictures[place]",
    "step": "1",
    "word": "table[one : one + 1]",
    "result": "torch.cat(rows)",
}
TALK = """def conversation(turns, image, count, end):
    inputs, labels = [], []
    for question, answer in turns:
        read = {read}
        inputs += {inputs}
        labels += {labels}
    return {result}"""
OF_TALK = {
    "read": "[one for i in question for one in ([image] * count if i == image else [i])]",
    "inputs": "read + answer + [end]",
    "labels": "[-100] * len(read) + answer + [end]",
    "result": "inputs, labels",
}
BLIND = """def blind_answers(taught, asked):
    everything = Counter({everything})
    by_question = {{}}
    for question, answer in {taught}:
        by_question.setdefault({key}, Counter())[answer] += {weight}
    return {result}"""
OF_BLIND = {
    "everything": "answer for _, answer in taught",
    "taught": "taught",
    "key": "question",
    "weight": "1",
    "result": "[by_question.get(question, everything).most_common(1)[0][0] for question in asked]",
}
TWIN = """def twin(picture, k):
    out = {copy}
    {change}
    return out"""


def other(text: str, parts: dict[str, str], **changed: str) -> str:
    """The right answer with some of its parts changed."""
    return text.format(**(parts | changed))


def twin(change: str, copy: str = "picture.clone()") -> str:
    """A picture that is changed."""
    return TWIN.format(copy=copy, change=change)


WRONG = {
    "14-4-a": {
        "the library's": (
            "from minillm.models import expand_image_tokens, place_pictures\n\n\n"
            "def read(ids, table, pictures, image):\n"
            "    longer = torch.tensor(expand_image_tokens(ids, image, pictures.shape[1]))\n"
            "    return place_pictures(table[longer][None], (longer == image)[None], pictures)[0]"
        ),
        "masked_scatter": (
            "def read(ids, table, pictures, image):\n"
            "    longer = torch.tensor([j for i in ids for j in [i] * (pictures.shape[1] if i == image else 1)])\n"
            "    return table[longer].masked_scatter((longer == image)[:, None], pictures)"
        ),
        "the first picture every time": other(READ, OF_READ, step="0"),
        "the pictures from the last": other(READ, OF_READ, picture="pictures[-1 - place]"),
        "one row a picture": other(READ, OF_READ, picture="pictures[place][:1]"),
        "the rows turned round": other(READ, OF_READ, picture="pictures[place].flip(0)"),
        "two rows at most": other(READ, OF_READ, picture="pictures[place][:2]"),
        "the image token's own row": other(READ, OF_READ, picture="table[one : one + 1]"),
        "the image token's row before it": other(
            READ, OF_READ, picture="torch.cat([table[one : one + 1], pictures[place]])"
        ),
        "the last id is the image": other(
            READ, OF_READ, test="one == len(table) - 1 and place < len(pictures)"
        ),
        "zero is the image": other(READ, OF_READ, test="one == 0 and place < len(pictures)"),
        "all pictures first": (
            "def read(ids, table, pictures, image):\n"
            "    words = [table[one : one + 1] for one in ids if one != image]\n"
            "    return torch.cat([pictures.reshape(-1, table.shape[1]), *words])"
        ),
        "all pictures last": (
            "def read(ids, table, pictures, image):\n"
            "    words = [table[one : one + 1] for one in ids if one != image]\n"
            "    return torch.cat([*words, pictures.reshape(-1, table.shape[1])])"
        ),
        "the text is left out": other(READ, OF_READ, word="table[:0]"),
        "a batch of one": other(READ, OF_READ, result="torch.cat(rows)[None]"),
        "the ids are emptied": other(READ, OF_READ, result="(torch.cat(rows), ids.clear())[0]"),
        "the table is changed": other(READ, OF_READ, result="(torch.cat(rows), table.zero_())[0]"),
        "the pictures are changed": other(READ, OF_READ, result="(torch.cat(rows), pictures.add_(1))[0]"),
    },
    "14-4-b": {
        "the library's": (
            "from minillm.training import picture_example\n\n\n"
            "def conversation(turns, image, count, end):\n"
            "    row = picture_example([(q, [*a, end]) for q, a in turns], image, count)\n"
            "    return row['input_ids'], row['labels']"
        ),
        "everything is learned": other(TALK, OF_TALK, labels="read + answer + [end]"),
        "the words of the question are learned": other(
            TALK, OF_TALK, labels="[-100 if i == image else i for i in read] + answer + [end]"
        ),
        "the end is not learned": other(TALK, OF_TALK, labels="[-100] * len(read) + answer + [-100]"),
        "no end": other(TALK, OF_TALK, inputs="read + answer", labels="[-100] * len(read) + answer"),
        "one end at the end": other(
            TALK,
            OF_TALK,
            inputs="read + answer",
            labels="[-100] * len(read) + answer",
            result="inputs + [end], labels + [end]",
        ),
        "no end behind an empty answer": other(
            TALK,
            OF_TALK,
            inputs="read + answer + [end] * bool(answer)",
            labels="[-100] * len(read) + answer + [end] * bool(answer)",
        ),
        "the image token stays one": other(TALK, OF_TALK, read="list(question)"),
        "the first image only": other(
            TALK,
            OF_TALK,
            read="[o for n, i in enumerate(question) for o in ([image] * count if i == image and n == "
            "question.index(image) else [i])]",
        ),
        "images to the front": other(
            TALK,
            OF_TALK,
            read="[image] * (count * question.count(image)) + [i for i in question if i != image]",
        ),
        "labels one place early": other(TALK, OF_TALK, result="inputs, labels[1:] + [-100]"),
        "the first turn is learned": other(
            TALK,
            OF_TALK,
            labels="[-100] * len(read) + ([-100] * (len(answer) + 1) if labels else answer + [end])",
        ),
        "the last turn is learned": other(
            TALK, OF_TALK, result="inputs, [-100] * (len(inputs) - len(answer) - 1) + answer + [end]"
        ),
        "0 in place of -100": other(TALK, OF_TALK, labels="[0] * len(read) + answer + [end]"),
        "labels as long as the question was": other(
            TALK, OF_TALK, labels="[-100] * len(question) + answer + [end]"
        ),
        "the end of a question is learned": other(
            TALK, OF_TALK, labels="[end if i == end else -100 for i in read] + answer + [end]"
        ),
        "the answers get longer": other(
            TALK,
            OF_TALK,
            inputs="read + answer + [end]",
            labels="[-100] * len(read) + (answer.append(end) or answer)",
        ),
        "answers first": other(
            TALK, OF_TALK, inputs="answer + [end] + read", labels="answer + [end] + [-100] * len(read)"
        ),
    },
    "14-4-c": {
        "one answer for all": other(
            BLIND, OF_BLIND, key="''", result="[everything.most_common(1)[0][0] for _ in asked]"
        ),
        "the first answer": other(
            BLIND,
            OF_BLIND,
            result="[next(iter(by_question.get(question, everything))) for question in asked]",
        ),
        "the last answer": "def blind_answers(taught, asked):\n    last = dict(taught)\n"
        "    common = Counter(a for _, a in taught).most_common(1)[0][0]\n"
        "    return [last.get(question, common) for question in asked]",
        "the rarest": other(
            BLIND,
            OF_BLIND,
            result="[by_question.get(question, everything).most_common()[-1][0] for question in asked]",
        ),
        "equal counts by the alphabet": other(
            BLIND,
            OF_BLIND,
            result="[min(c, key=lambda a: (-c[a], a)) for c in (by_question.get(q, everything) for q in asked)]",
        ),
        "equal counts, the last one": other(
            BLIND,
            OF_BLIND,
            result="[[a for a in c if c[a] == max(c.values())][-1] "
            "for c in (by_question.get(q, everything) for q in asked)]",
        ),
        "the first of all for the unknown": other(
            BLIND,
            OF_BLIND,
            result="[by_question[q].most_common(1)[0][0] if q in by_question else taught[0][1] for q in asked]",
        ),
        "the last of all for the unknown": other(
            BLIND,
            OF_BLIND,
            result="[by_question[q].most_common(1)[0][0] if q in by_question else taught[-1][1] for q in asked]",
        ),
        "nothing for the unknown": other(
            BLIND,
            OF_BLIND,
            result="[by_question[q].most_common(1)[0][0] for q in asked if q in by_question]",
        ),
        "different answers counted once": other(BLIND, OF_BLIND, taught="sorted(set(taught))"),
        "the commonest by questions": other(BLIND, OF_BLIND, everything="dict(taught).values()"),
        "each question once": other(
            BLIND,
            OF_BLIND,
            result="[by_question.get(q, everything).most_common(1)[0][0] for q in dict.fromkeys(asked)]",
        ),
        "taught is sorted": "def blind_answers(taught, asked):\n    taught.sort()\n    out = []\n    for q in asked:\n"
        "        c = Counter(a for k, a in taught if k == q) or Counter(a for _, a in taught)\n"
        "        out.append(c.most_common(1)[0][0])\n    return out",
        "the questions are emptied": other(
            BLIND,
            OF_BLIND,
            result="[by_question.get(asked.pop(0), everything).most_common(1)[0][0] for _ in list(asked)]",
        ),
    },
    "14-4-d": {
        "the same": twin("pass"),
        "hardly changed": twin("out[:, ::k, ::k] += 0.01; out[:, ::k, 1::k] -= 0.01"),
        "brighter": twin("out += 0.1"),
        "one pixel of a square": twin("out[:, ::k, ::k] += 0.1"),
        "upside down": twin("out = out.flip(1)"),
        "the first square only": twin("out[:, 0, 0] += 0.1; out[:, 0, 1] -= 0.1"),
        "the first row of squares": twin("out[:, 0, ::k] += 0.1; out[:, 0, 1::k] -= 0.1"),
        "the first column of squares": twin("out[:, ::k, 0] += 0.1; out[:, ::k, 1] -= 0.1"),
        "the first channel only": twin("out[0, ::k, ::k] += 0.1; out[0, ::k, 1::k] -= 0.1"),
        "squares of two": twin("out[:, ::2, ::2] += 0.1; out[:, 1::2, 1::2] -= 0.1"),
        "squares of k + 1": twin("out[:, :: k + 1, :: k + 1] += 0.1; out[:, :: k + 1, 1 :: k + 1] -= 0.1"),
        "the first and the last pixel": twin("out[:, ::k, ::k] += 0.1; out[:, -1, -1] -= 0.1"),
        "out of range": twin("out[:, ::k, ::k] += 0.9; out[:, ::k, 1::k] -= 0.9"),
        "cut off": twin("out[:, ::k, ::k] += 0.5; out[:, ::k, 1::k] -= 0.5; out.clamp_(0, 1)"),
        "pixels of a square swapped": twin(
            "out[:, ::k, ::k], out[:, ::k, 1::k] = picture[:, ::k, 1::k], picture[:, ::k, ::k]"
        ),
        "the overview itself": twin(
            "out = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(out[None], k), scale_factor=k)[0]"
        ),
        "changed in place": twin("picture[:, ::k, ::k] += 0.1; picture[:, ::k, 1::k] -= 0.1", copy="picture"),
        "one channel of another": twin(
            "out = out[:1].clone(); out[:, ::k, ::k] += 0.1; out[:, ::k, 1::k] -= 0.1"
        ),
        "not a number": twin("out[:, ::k, ::k] = torch.nan"),
    },
}
