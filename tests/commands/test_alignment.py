"""`minillm sft` and `minillm dpo` as a user types them: rows of every shape, before and after, nothing half-written."""

import json

import numpy as np
import pytest

from minillm.cli import main
from minillm.models import GPT2Config, GPT2ForSequenceClassification, Llama, LlamaConfig, load_model
from minillm.tokenizer import BPETokenizer, load_tokenizer
from minillm.training.alignment.own_rows import PLAIN_TEMPLATE
from tests.parity.chat_templates import CHATML

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
QUICK = ["--threads", "1", "--learning-rate", "0.01"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two small models, one of a tokenizer with a chat template and one without."""
    places = {}
    for name, template in (("plain", None), ("chat", CHATML)):
        tokenizer = BPETokenizer.train(["user assistant 0 1 2 3 4 5 6 7 8 9 예 아니요 yes no"], 300, SPECIALS)
        tokenizer.chat_template = template
        config = LlamaConfig(vocab_size=tokenizer.vocab_size, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
                             num_attention_heads=2, max_position_embeddings=96, eos_token_id=0)  # fmt: skip
        places[name] = tmp_path_factory.mktemp(name)
        Llama(config, seed=0).save_pretrained(places[name])
        tokenizer.save(places[name])
    return places


def write(path, rows, listed=False):
    lines = [json.dumps(rows)] if listed else map(json.dumps, rows)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def lessons(count=40):
    return [
        {"instruction": f"say {i}", "input": "" if i % 2 else f"{i} {i}", "output": "예 yes"}
        for i in range(count)
    ]


def likes(count=40):
    return [{"prompt": f"say {i}", "chosen": "예 yes", "rejected": "아니요 no"} for i in range(count)]


def run(capsys, *arguments, code=0):
    assert main([*map(str, arguments)]) == code
    return capsys.readouterr()


def weights(path):
    return load_model(path).state_dict()


@pytest.mark.parametrize("name", ["plain", "chat"])
def test_answers_are_learned_and_asked(folders, tmp_path, capsys, name):
    rows, out = write(tmp_path / "rows.jsonl", lessons()), tmp_path / "taught"
    printed = run(capsys, "sft", folders[name], rows, "--out", out, *QUICK, "--epochs", 4).out
    assert "learned from 36 conversations in 18 steps; asked 4 held-out ones" in printed
    assert "proof: 4 questions, none in the training text" in printed
    assert "nats a token saved, after against before: 4 wins, 0 losses" in printed
    assert ("given a plain one" in printed) == (name == "plain")
    tokenizer = load_tokenizer(out)
    assert tokenizer.chat_template == (PLAIN_TEMPLATE if name == "plain" else CHATML)
    assert any(
        not np.array_equal(a, b) for a, b in zip(weights(out).values(), weights(folders[name]).values())
    )
    told = run(capsys, "generate", out, "say 3", "--max-tokens", 4, "--json").out
    assert json.loads(told)["token_ids"]


def test_conversations_a_list_packing_and_the_last_turn(folders, tmp_path, capsys):
    chats = [
        {"messages": [{"role": "user", "content": f"say {i}"}, {"role": "assistant", "content": "예"},
                      {"role": "user", "content": "more"}, {"role": "assistant", "content": "yes"}]}
        for i in range(20)
    ]  # fmt: skip
    rows = write(tmp_path / "rows.json", chats, listed=True)
    found = []
    for more in ([], ["--packing"], ["--turns", "last"], ["--max-length", "30", "--truncation", "drop"]):
        out = tmp_path / f"out{len(found)}"
        arguments = ["sft", folders["chat"], rows, "--out", out, *QUICK, "--json", *more]
        if "drop" in more:
            assert (
                "no answer is left to learn from in 18 conversations" in run(capsys, *arguments, code=1).err
            )
            assert not out.exists()
            continue
        found.append(json.loads(run(capsys, *arguments).out))
    assert [one["examples"] for one in found] == [18, 18, 18]
    assert found[0]["steps"] == 7 > found[1]["steps"]
    assert all(one["table"][1]["nats_a_token"] < one["table"][0]["nats_a_token"] for one in found)
    assert found[0]["after_against_before"]["nats a token saved"]["wins"] == 2


@pytest.mark.parametrize("loss", ["dpo", "hinge", "ipo"])
def test_the_better_of_two_is_learned(folders, tmp_path, capsys, loss):
    rows, out = write(tmp_path / "rows.jsonl", likes()), tmp_path / "taught"
    arguments = [
        "dpo",
        folders["chat"],
        rows,
        "--out",
        out,
        *QUICK,
        "--loss",
        loss,
        "--epochs",
        3,
        "--held-out",
        0.2,
    ]
    told = json.loads(run(capsys, *arguments, "--json").out)
    assert (told["pairs"], told["held_out"], told["steps"]) == (32, 8, 12)
    assert told["reward_accuracy"] == 1
    assert told["table"][1]["margin"] > told["table"][0]["margin"]
    assert all(0 <= row["right_a_token"] <= 1 for row in told["table"])
    assert "ranked right a token" in told["after_against_before"]
    assert told["after_against_before"]["margin, in nats"]["wins"] == 8
    assert load_tokenizer(out).chat_template == CHATML


def test_pairs_in_their_other_shapes(folders, tmp_path, capsys):
    user, answer = {"role": "user", "content": "say"}, {"role": "assistant", "content": "예"}
    rows = [
        {"instruction": "say it", "input": "now", "chosen": "yes", "rejected": "no", "output": "yes"},
        {"prompt": [user], "chosen": [answer], "rejected": [{**answer, "content": "아니요"}]},
        {"prompt": "twice", "chosen": "yes", "rejected": "yes"},
        *likes(8),
    ]
    data = write(tmp_path / "rows.jsonl", rows)
    printed = run(capsys, "dpo", folders["plain"], data, "--out", tmp_path / "out", *QUICK).out
    assert "learned from 9 pairs in 2 steps; asked 1 held-out ones" in printed
    assert "left out: 0 of more than 96 tokens, 1 of two equal answers" in printed
    assert "moved towards the better answer in" in printed
    assert "ranked right, after against before" in printed
    assert "right a token divides each by its tokens" in printed


def test_sharegpt_tools_and_several_answers_are_learned(folders, tmp_path, capsys):
    user, call = {"role": "user", "content": "say"}, {"role": "assistant", "content": "yes"}
    tool, reply = {"role": "tool", "content": "3"}, {"role": "assistant", "content": "no"}
    rows = [
        *({"conversations": [{"from": "human", "value": f"say {i}"}, {"from": "gpt", "value": "yes"}]}
          for i in range(8)),
        {"messages": [user, call, tool, reply, user]},
    ]  # fmt: skip
    data = write(tmp_path / "rows.jsonl", rows)
    told = json.loads(
        run(capsys, "sft", folders["chat"], data, "--out", tmp_path / "a", *QUICK, "--json").out
    )
    assert (told["examples"], told["held_out"], told["dropped"]) == (8, 1, 0)
    pairs = [
        {"prompt": "say", "chosen": [call, tool, reply], "rejected": "no"},
        {"chosen": [user | {"content": "b"}, call], "rejected": [user | {"content": "b"}, reply]},
        *likes(8),
    ]
    data = write(tmp_path / "pairs.jsonl", pairs)
    told = json.loads(
        run(capsys, "dpo", folders["chat"], data, "--out", tmp_path / "b", *QUICK, "--json").out
    )
    assert told["pairs"] + told["held_out"] == 10
    assert told["alike"] == told["dropped"] == 0


def test_answers_that_are_equal_once_the_template_has_cut_their_blanks_off_are_left_out(
    folders, tmp_path, capsys
):
    tokenizer = load_tokenizer(folders["chat"])
    tokenizer.chat_template = CHATML.replace("message['content']", "message['content'] | trim")
    model = tmp_path / "model"
    load_model(folders["chat"]).save_pretrained(model)
    tokenizer.save(model)
    rows = [{"prompt": f"blank {i}", "chosen": "yes ", "rejected": "yes"} for i in range(3)]
    data = write(tmp_path / "rows.jsonl", [*likes(20), *rows])
    told = json.loads(run(capsys, "dpo", model, data, "--out", tmp_path / "out", *QUICK, "--json").out)
    assert (told["alike"], told["dropped"]) == (3, 0)
    assert told["pairs"] + told["held_out"] == 20


def test_what_does_not_go_is_said_and_nothing_is_written(folders, tmp_path, capsys):
    there = tmp_path / "there"
    there.mkdir()
    (there / "file").write_text("x")
    good, out = write(tmp_path / "good.jsonl", lessons(4)), tmp_path / "new"
    judge = tmp_path / "judge"
    small = GPT2Config(vocab_size=300, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    GPT2ForSequenceClassification(small).save_pretrained(judge)
    load_tokenizer(folders["chat"]).save(judge)
    mute = tmp_path / "mute"
    Llama(LlamaConfig(vocab_size=300, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
                      max_position_embeddings=16)).save_pretrained(mute)  # fmt: skip
    BPETokenizer.train(["0 1 2"], 260, ()).save(mute)

    def bad(name, *lines):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines))
        return path

    answer = {"role": "assistant", "content": "a"}
    for command, model, data, message in (
        ("sft", "chat", tmp_path / "none", "data file"),
        ("sft", "chat", bad("a", lessons(1)[0], "{"), "line 2: "),
        ("sft", "chat", bad("b", {"text": "x"}), "row 1: expected instruction and output, messages, conversations"),
        ("sft", "chat", bad("c", {"messages": [answer]}), "must take turns, the user first"),
        ("sft", "chat", bad("d", {"messages": "x"}), "row 1: messages must be a list of objects, got 'x'"),
        ("sft", "chat", bad("e", {"instruction": "", "output": "x"}), "row 1: instruction must be a text"),
        ("sft", "chat", bad("f", {"instruction": "q", "output": " "}), "row 1: output must be a text"),
        ("sft", "chat", bad("g", "\n"), "holds no row"),
        ("sft", "chat", bad("h", "[1]"), "row 1 must be an object, got int"),
        ("sft", "chat", bad("i", *[lessons(1)[0]] * 3), "too few rows to hold some out: 3 rows ask 1 different"),
        ("sft", "chat", bad("j", {"instruction": "\ud800", "output": "x"}), "row 1: it holds half a surrogate pair"),
        ("dpo", "chat", good, "row 1: expected chosen and rejected, with a prompt"),
        ("dpo", "chat", bad("k", {"prompt": "q", "chosen": "a", "rejected": "a"}), "are the same answer in all 1 rows"),
        ("dpo", "chat", write(tmp_path / "l.jsonl", likes(4)), "no pair is left to learn from"),
        ("sft", tmp_path / "nothing", good, "no model at"),
        ("sft", judge, good, "holds a GPT2ForSequenceClassification, expected a language model"),
        ("sft", mute, good, "no chat template and no end token"),
    ):  # fmt: skip
        more = ["--max-length", 5] if data.name == "l.jsonl" else []
        arguments = [
            command,
            folders.get(model, model) if isinstance(model, str) else model,
            data,
            "--out",
            out,
        ]
        assert message in run(capsys, *arguments, *QUICK, *more, code=1).err, message
    assert "must be a new or an empty folder" in run(
        capsys, "sft", folders["chat"], good, "--out", there, code=1
    ).err  # fmt: skip
    assert not out.exists()
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


def test_ctrl_c_leaves_nothing(folders, tmp_path, capsys, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("minillm.training.trainer.Trainer.train", stop)
    data = write(tmp_path / "rows.jsonl", lessons())
    assert (
        "stopped"
        in run(capsys, "sft", folders["chat"], data, "--out", tmp_path / "out", *QUICK, code=130).err
    )
    assert [one.name for one in tmp_path.iterdir()] == ["rows.jsonl"]
