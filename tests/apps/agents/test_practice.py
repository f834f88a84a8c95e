"""Agents in practice: a folder's notes, a program that fails its tests, pictures; the pages that show the runs."""

import calendar
import json
import os
import statistics
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from minillm.apps.agents.agent import Agent, Budget
from minillm.apps.agents.group import ChatAgent
from minillm.apps.agents.notes_reader import FolderIndex, ReaderPolicy, notes_tool, said_words, subject
from minillm.apps.agents.page import save_transcript, transcript_page
from minillm.apps.agents.repair import ScriptedRepair, SearchPolicy, patches
from minillm.apps.agents.studio import LookPolicy, Studio
from minillm.apps.agents.toolkit import folder_tools
from minillm.apps.agents.tools import Toolbox
from minillm.apps.agents.workshop import executor_agent, failing, in_words, keeps_tests, workshop
from minillm.data.office_notes import office_notes
from minillm.data.small_bugs import small_bugs
from minillm.inference import ScriptedChat
from minillm.sandbox import CannotConfine, run_python
from tests.data.pdf import pdf_of

# --- notes ---


@pytest.fixture
def notes(tmp_path):
    made = office_notes(1)
    for name, text in made.files.items():
        (tmp_path / name).write_text(text, "utf-8")
    return made, tmp_path


def reader(folder, hops=3, careful=True, **options):
    index = FolderIndex(folder, **{"words": 14, "top_k": 3} | options)
    return Agent("p", "g", [notes_tool(index)], model=ReaderPolicy(hops, careful)), index


def test_a_second_search_answers_what_one_cannot(notes):
    made, folder = notes
    right = {}
    for hops in (1, 3):
        agent, _ = reader(folder, hops, careful=False)
        right[hops] = Counter()
        for one in made.questions:
            said = agent.run(one.question).answer
            sources = all(f"[{name}]" in said for name in one.sources)
            right[hops][one.kind] += (one.answer in said and sources) if one.answer else "[" not in said
    assert right[1]["one"] == right[3]["one"] == 20
    assert right[1]["two"] < 10 < right[3]["two"]
    assert right[1]["unknown name"] == right[3]["unknown name"] == 10
    assert right[3]["nothing said"] < right[1]["nothing said"]  # the price of following names


def test_a_careful_agent_declines_what_the_notes_do_not_say(notes):
    made, folder = notes
    agent, _ = reader(folder)
    said = {one.question: agent.run(one.question).answer for one in made.questions}
    assert all("[" not in said[one.question] for one in made.questions if not one.answer)
    assert sum(one.answer in said[one.question] for one in made.questions if one.kind == "two") > 12
    assert all(one.answer in said[one.question] for one in made.questions if one.kind == "one")


REAL = {  # file -> text, as people write it
    "회의.md": "# 회의\r\n\r\n주간 회의는 월요일에 합니다. 회의록은 이서연이 씁니다.\r\n\r\n결과는 게시판에 올립니다.",
    "a.md": "# Office\n\nMara leads Heron. Mara's room is B12.\n\n| name | phone |\n|---|---|\n| Mara | 4512 |\n",
    "b/c.txt": "The acting leader of the Otter project is Tom. The room of Tom is C3.",
}
ASKED = {  # question -> what the answer holds, "" for none; without care
    "주간 회의는 언제 합니까?": ("월요일", "월요일"),
    "회의록은 누가 씁니까?": ("이서연", "이서연"),
    "결과는 어디에 올립니까?": ("게시판", "게시판"),
    "What is Mara's room?": ("B12", "B12"),
    "What is the phone of Mara?": ("4512", "4512"),
    "What is the room of the leader of the Otter project?": ("", "C3"),
    "What is the room of the Otter project?": ("", "C3"),
    "": ("", ""),
    "???": ("", ""),
    "누구?": ("", ""),
}


@pytest.mark.parametrize("careful", [True, False])
def test_questions_to_a_folder_as_people_write_it(tmp_path, careful):
    (tmp_path / "b").mkdir()
    for name, text in REAL.items():
        (tmp_path / name).write_bytes(text.encode())
    agent, _ = reader(tmp_path, careful=careful)
    for question, (with_care, without) in ASKED.items():
        said, wanted = agent.run(question).answer, with_care if careful else without
        assert wanted in said if wanted else "[" not in said, (question, said)


def test_a_long_observation_is_not_cut_in_the_middle(tmp_path):
    for n in range(20):
        lines = (f"Heron number {k} of {n} eats fish in the pond." for k in range(60))
        (tmp_path / f"{n}.txt").write_text(" ".join(lines), "utf-8")
    agent, index = reader(tmp_path, top_k=20, words=60)
    assert "eats fish" in agent.run("What eats the heron in the pond?").answer
    seen = Toolbox([notes_tool(index)]).call("search_notes", {"query": "heron pond"}).text
    assert 5 < len(json.loads(seen)["found"]) < 20
    assert agent.run("heron " + "정말로" * 3000).answer  # and a question that is longer than an observation


def test_nothing_is_parsed_again_before_a_byte_has_changed(notes, monkeypatch):
    _, folder = notes
    index = FolderIndex(folder)
    assert len(index.refresh()) == 6
    monkeypatch.setattr(FolderIndex, "documents", lambda self: 1 // 0)
    assert index.refresh() == []
    (folder / "new.txt").write_text("x", "utf-8")
    with pytest.raises(ZeroDivisionError):
        index.refresh()


def test_many_files_are_read_or_refused_by_name(tmp_path, monkeypatch):
    for n in range(230):
        (tmp_path / f"{n}.txt").write_text(f"The colour of door {n} is green{n}.", "utf-8")
    (tmp_path / "a.py").write_text("x = 1", "utf-8")
    assert len(FolderIndex(tmp_path).documents()) == 231
    with workshop(tmp_path, how="counted") as shop:
        assert [*shop.before] == ["a.py"]  # whatever else lies there
    monkeypatch.setattr("minillm.apps.agents.notes_reader.MOST_NOTES", 200)
    with pytest.raises(ValueError, match="at most 200 files"):
        FolderIndex(tmp_path).refresh()
    monkeypatch.setattr("minillm.apps.agents.workshop.MOST_FILES", 0)
    with pytest.raises(ValueError, match="at most 0 Python files"), workshop(tmp_path):
        pass


def test_a_changed_file_is_read_anew(notes):
    made, folder = notes
    agent, index = reader(folder)
    one = made.questions[0]
    assert one.answer in agent.run(one.question).answer
    people = folder / "people.txt"
    before = people.stat()
    people.write_text(people.read_text("utf-8").replace(one.answer, "7777"), "utf-8")
    os.utime(people, ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same time
    assert "7777" in agent.run(one.question).answer
    people.unlink()
    assert "[" not in agent.run(one.question).answer
    assert "people.txt" not in index.index.ref_docs()
    assert index.refresh() == []


def test_a_pdf_is_read_as_minillm_index_reads_it(tmp_path):
    pytest.importorskip("pypdf", reason="the test extra brings it")
    (tmp_path / "doors.pdf").write_bytes(
        pdf_of([["The colour of the door is green."], ["The size of the gate is four."]])
    )
    agent, _ = reader(tmp_path)
    said = agent.run("What is the size of the gate?").answer
    assert said.startswith("The size of the gate is four. [doors.pdf")


def test_nothing_outside_the_folder_is_read(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
    (inside / "a.md").write_text("The colour of the door is green.", "utf-8")
    (inside / ".hidden.md").write_text("The colour of the cellar is grey.", "utf-8")
    (inside / "bad.txt").write_bytes(b"\xff\xfe\x00")
    (outside / "secret.txt").write_text("The password of the door is 4711.", "utf-8")
    if os.name == "posix":
        (inside / "link.txt").symlink_to(outside / "secret.txt")
        (inside / "folder").symlink_to(outside)
        os.link(outside / "secret.txt", inside / "hard.txt")
        os.mkfifo(inside / "pipe.txt")
    agent, index = reader(inside)
    assert "green" in agent.run("What is the colour of the door?").answer
    for question in ("What is the password of the door?", "What is the colour of the cellar?"):
        assert "[" not in agent.run(question).answer
    assert index.index.ref_docs() == ["a.md"]
    assert [*index.refused] == ["bad.txt"]
    assert str(tmp_path) not in json.dumps(index.refused)
    with pytest.raises(ValueError, match="folder"):
        FolderIndex(inside / "a.md")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "do not know" in reader(empty)[0].run("What is the colour of the door?").answer


def test_words_that_count():
    assert said_words("What is the telephone of the leader?") == ["telephone", "leader"]
    assert said_words("왜가리 프로젝트의 책임자는 누구입니까?") == ["왜가리", "프로젝트", "책임자"]
    assert said_words("김하늘의 자리는 B12입니다.")[:2] == ["김하늘", "자리"]
    assert said_words("") == []
    assert said_words("회의") == said_words("회의는") == said_words("회의에서")
    for text in ("정다은의 결과를 국가에 보고합니까", "the telephones of the leaders"):
        assert said_words(" ".join(said_words(text))) == said_words(
            text
        )  # a query is read as its sentence was
    assert subject("The leader of the Heron project is Mara.") == ["leader", "heron", "project"]
    assert subject("수달 프로젝트의 책임자는 김하늘입니다.") == ["수달", "프로젝트", "책임자"]
    assert subject("Mara met Tom.") == ["mara", "met", "tom"]


def test_the_notes_are_what_they_say():
    for seed in range(3):
        made = office_notes(seed)
        assert Counter(one.kind for one in made.questions) == {
            "one": 20, "two": 20, "unknown name": 10, "nothing said": 10,
        }  # fmt: skip
        assert Counter(one.language for one in made.questions) == {"en": 30, "ko": 30}
        for one in made.questions:
            said = [name for name in one.sources if one.answer and one.answer in made.files[name]]
            assert len(said) == (1 if one.answer else 0), one
    assert office_notes(0) == office_notes(0) != office_notes(1)


# --- a program that fails its tests ---


def run_by_python(program, test):
    names = {}
    exec(program, names)
    return eval(test, names)


def test_the_bugs_are_what_they_say():
    bugs = small_bugs()
    assert len(bugs) == len({one.name for one in bugs}) == 20
    for bug in bugs:
        assert bug.fixed.count(bug.right) >= 1
        assert (len(bug.tests), len({*bug.tests, *bug.hidden})) == (4, 11), bug.name
        assert all(run_by_python(bug.fixed, test) is True for test in bug.tests + bug.hidden), bug.name
        assert failing(bug.fixed, bug.tests + bug.hidden) is None
        assert failing(bug.code, bug.tests) == bug.tests[0]
    own = {bug.name: {} for bug in bugs}
    for bug in bugs:
        exec(bug.fixed, own[bug.name])
    assert [own["is_leap"]["is_leap"](y) for y in range(1890, 2110)] == [
        *map(calendar.isleap, range(1890, 2110))
    ]
    for numbers in ([1, 2], [3, 9, 4], [7]):
        assert own["mean"]["mean"](numbers) == statistics.mean(numbers)
        assert own["largest"]["largest"](numbers) == max(numbers)


def test_patches_touch_one_place_and_keep_comments():
    source = "def f(a, b):  # 덧셈 (sum)\n    return (a + 1) - b  # end\n"
    found = patches(source)
    assert source not in found
    assert len(found) == len(set(found))
    assert "def f(a, b):  # 덧셈 (sum)\n    return (a + 1) + b  # end\n" in found
    assert all(one.startswith("def f(a, b):  # 덧셈 (sum)\n") for one in found)
    for one in found:
        compile(one, "x", "exec")
    assert any("b - (a + 1)" in one for one in found)
    assert patches("") == []
    with pytest.raises(ValueError, match="Python"):
        patches("def f(:")
    for bug in small_bugs():
        plausible = [one for one in patches(bug.code) if failing(one, bug.tests) is None]
        assert bool(plausible) == (bug.name not in ("minutes", "sign", "clamp")), bug.name


ODD = {  # a program -> one of its patches
    "def f(a,b):\r\n\treturn a - b\r\n": "def f(a,b):\r\n\treturn a + b\r\n",
    "x = 1\rdef f(a,b):\r  return a<b\r": "x = 1\rdef f(a,b):\r  return a>b\r",
    "def f(a):\n\f    return f'가{a + 1}나'\n": "def f(a):\n\f    return f'가{a - 1}나'\n",
    "def f(a, b):\n    return (a) < (b)\n": "def f(a, b):\n    return (a) >= (b)\n",
}


def test_patches_of_odd_sources():
    for source, one in ODD.items():
        assert one in patches(source), source
    held = "def f(a, b):\n    return (a  # a - b or a < b\n        - b)\n"
    assert all("# a - b or a < b\n" in one for one in patches(held) if "return" in one)
    for bad in ("a\0b", "\ud800", "x = 1\n" * 4000, "\ufeffx = 1"):
        with pytest.raises(ValueError, match="source"):
            patches(bad)
    deep = "x = " + "-" * 3000 + "1"
    if sys.version_info >= (3, 13):  # it reads this
        assert deep.replace("1", "2") in patches(deep)
    else:
        with pytest.raises(ValueError, match="source"):
            patches(deep)


@pytest.fixture
def project(tmp_path):
    bug = next(one for one in small_bugs() if one.name == "countdown")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "count.py").write_text(bug.code, "utf-8")
    tests = "\n".join(f"def test_{n}():\n    assert {one}\n" for n, one in enumerate(bug.tests))
    (folder / "test_count.py").write_text(f"from count import countdown\n\n{tests}", "utf-8")
    return folder, bug


def test_an_agent_repairs_a_program(project):
    folder, bug = project
    before = {one.name: one.read_bytes() for one in folder.iterdir()}
    with workshop(folder, how="counted") as shop:
        agent = Agent("p", "g", shop.tools, model=SearchPolicy("count.py", 2), budget=Budget(steps=90))
        run = agent.run("Make the tests pass.")
        changed, scratch = shop.changed(), shop.folder
    assert run.finish_reason == "answer"
    assert run.answer.startswith("all 4 tests pass")
    assert [*changed] == ["count.py"]
    assert failing(changed["count.py"], bug.hidden) is None
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == before
    assert not scratch.exists()
    assert "TooMuch" in run.steps[0].observation.text  # it never ended


STUCK = {  # the program, its test -> what is answered
    ("def f(x:\n", "def test_1():\n    assert 1 == 2\n"): "no Python",
    (
        "# " + "x" * 5000 + "\n\ndef f(x):\n    return x\n",
        "def test_1():\n    assert f(1) == 2\n",
    ): "cannot read",
    ("x = 1\n", "y = 2\n"): "nothing to go by",
}


def test_a_search_ends_where_there_is_nothing_to_search(tmp_path):
    for (program, test), said in STUCK.items():
        (tmp_path / "count.py").write_text(program, "utf-8")
        (tmp_path / "test_count.py").write_text(test, "utf-8")
        with workshop(tmp_path, how="counted") as shop:
            run = Agent("p", "g", shop.tools, model=SearchPolicy("count.py"), budget=Budget(steps=9)).run("x")
            assert said in run.answer
            assert shop.changed() == {}  # a file that was read in part is not written


def test_budgets_end_a_search_and_a_search_without_a_patch_leaves_the_file(project):
    folder, _ = project
    with workshop(folder, how="counted") as shop:
        short = Agent("p", "g", shop.tools, model=SearchPolicy("count.py"), budget=Budget(steps=5))
        assert short.run("x").finish_reason == "steps"
    hard = next(one for one in small_bugs() if one.name == "sign")
    (folder / "count.py").write_text(hard.code, "utf-8")
    tests = "\n".join(f"def test_{n}():\n    assert {one}\n" for n, one in enumerate(hard.tests))
    (folder / "test_count.py").write_text(tests, "utf-8")
    with workshop(folder, how="counted") as shop:
        run = Agent("p", "g", shop.tools, model=SearchPolicy("count.py"), budget=Budget(steps=200)).run("x")
        assert "no patch" in run.answer
        assert shop.changed() == {}


def test_whoever_repairs_may_not_change_the_tests(project):
    folder, _ = project
    cheat = ScriptedRepair("test_count.py", "def test_nothing():\n    assert True\n")
    with workshop(folder, how="counted") as shop:
        green = Agent("p", "g", shop.tools, model=cheat).run("Make the tests pass.").answer
    with workshop(folder, how="counted") as shop:
        guarded = Agent("p", "g", shop.tools, model=cheat, guard=keeps_tests()).run("Make the tests pass.")
        assert shop.changed() == {}
    assert green == "all 1 tests pass"
    assert "may not be changed" in guarded.steps[1].observation.error
    assert not guarded.answer.startswith("all")
    for path in ("test_count.py", "TEST_count.py", "sub/test_x.py"):
        assert keeps_tests().stops("write_file", {"path": path}, [])
    assert keeps_tests().stops("write_file", {"path": "count.py"}, []) is None


PROGRAMS = {  # text of test_a.py -> what is said of it
    "def test_a():\n    assert 1 == 2\n": "AssertionError",
    "def test_a():\n    assert [1][3] == 2\n": "Error",
    "def helper(x):\n    return x\n\n\ndef test_a():\n    assert helper(1) == 1\n": "all 1 tests pass",
    "def test_a(:\n": "SyntaxError",
    "x = 1\n": "there are no tests",
}


@pytest.mark.parametrize("how", ["counted", "process"])
def test_outcomes_of_tests(tmp_path, how):
    if how == "process":
        try:
            run_python("1")
        except CannotConfine as error:
            pytest.skip(str(error))
    for text, said in PROGRAMS.items():
        (tmp_path / "test_a.py").write_text(text, "utf-8")
        with workshop(tmp_path, how=how) as shop:
            assert said in Toolbox(shop.tools).call("run_tests", {}).text, (text, how)


def test_real_python_is_confined_or_nothing_runs(tmp_path):
    secret = tmp_path.parent / "canary.txt"
    secret.write_text("ours", "utf-8")
    text = f"def test_a():\n    open({str(secret)!r}, 'a').write('x')\n"
    (tmp_path / "test_a.py").write_text(text, "utf-8")
    with workshop(tmp_path) as shop:
        seen = Toolbox(shop.tools).call("run_tests", {})
    assert "PermissionError" in seen.text or "CannotConfine" in (seen.error or "")
    assert secret.read_text("utf-8") == "ours"


def test_in_words():
    assert in_words([("a", ""), ("b", "no")]) == "1 of 2 tests pass\nb: no"
    with pytest.raises(ValueError, match="folder"), workshop("/nowhere/at/all"):
        pass
    with pytest.raises(ValueError, match="how"), workshop(".", how="shell"):
        pass


def test_an_assistant_and_an_executor_talk_until_the_code_runs():
    said = [
        "```python\nprint(sum(range(1, 5))\n```",
        "```python\nprint(sum(range(1, 5)))\n```",
        "It is 10. TERMINATE",
    ]
    assistant = ChatAgent("assistant", model=ScriptedChat(said))
    chat = executor_agent("proxy", how="counted").initiate_chat(assistant, "What is 1 + ... + 4?")
    texts = [one["content"] for one in chat.messages]
    assert texts[2].startswith("exitcode: 1 (execution failed)")
    assert texts[4].startswith("exitcode: 0 (execution succeeded)\nCode output: 10")
    assert chat.finish_reason == "terminated"


@pytest.mark.parametrize(
    ("message", "ran"),
    [
        ("```bash\nls\n```\nthen ```python\nprint(7)\n```", True),
        ("```bash\nls\n```\n\n```python\nprint(7)\n```", True),
        ("```Python \r\nprint(7)\r\n```", True),
        ("```\nprint(7)\n```", True),
        ("```json\n7\n```", False),
        ("print(7)", False),
    ],
)
def test_the_first_block_of_python_is_run(message, ran):
    chat = executor_agent("proxy", how="counted").initiate_chat(
        ChatAgent("assistant", model=ScriptedChat([message, "TERMINATE"])), "7?"
    )
    assert ("Code output: 7" in chat.messages[2]["content"]) == ran
    assert ran or "no code" in chat.messages[2]["content"]


# --- pictures ---


def pictures_of(seed):
    return np.random.default_rng(seed).random((3, 4, 5)).astype(np.float32)


def looking(agrees, tries=3, **options):
    """An agent whose picture number n is described as "n"."""
    count = iter(range(100))
    studio = Studio(lambda prompt, seed: f"{prompt} {seed} {next(count)}", lambda one: one, **options)
    policy = LookPolicy(agrees, tries, looks_first="search" in options)
    return Agent("p", "g", studio.tools(), model=policy, budget=Budget(steps=30)), studio


@pytest.mark.parametrize(
    ("scores", "tries", "answer", "drawn"),
    [
        ([1.0], 3, 1, 1),
        ([0.5, 1.0], 3, 2, 2),
        ([0.5, 0.2, 0.4], 3, 1, 3),
        ([0.1, 0.4, 0.4, 1.0], 3, 2, 3),
        ([0.0], 1, 1, 1),
    ],
)
def test_it_draws_until_what_it_sees_agrees(scores, tries, answer, drawn):
    agent, studio = looking(lambda request, seen: scores[int(seen.split()[-1])], tries)
    run = agent.run("원")
    assert run.answer == f"picture{answer}"
    assert len(studio.pictures) == drawn
    state = json.loads(json.dumps(agent.state()))
    assert agent.resume(state).answer == run.answer


def test_it_looks_into_the_collection_first():
    found = ["a", "red b", "c"]
    agent, studio = looking(lambda request, seen: float("red" in seen), search=lambda query, k: found[:k])
    run = agent.run("red")
    assert (run.answer, [*studio.pictures]) == ("picture2", ["picture1", "picture2", "picture3"])
    agent, _ = looking(lambda request, seen: 0.0, search=lambda query, k: [])
    assert agent.run("x").answer == "picture1"
    broken = Studio(lambda prompt, seed: 1 // 0, str)
    assert "could not" in Agent("p", "g", broken.tools(), model=LookPolicy(lambda a, b: 1.0)).run("x").answer


# --- what a person sees ---


@pytest.fixture
def drawn_run():
    studio = Studio(lambda prompt, seed: pictures_of(seed), lambda one: "<script>a</script>")
    agent = Agent("p", "g", studio.tools(), model=LookPolicy(lambda a, b: 0.0, 2))
    return agent.run("원 <b>"), studio.pictures


def test_pictures_stand_inside_the_page(drawn_run, tmp_path):
    run, pictures = drawn_run
    page = save_transcript(run, tmp_path / "run.html", pictures).read_text("utf-8")
    assert (
        page.count("<img alt='picture1' title='picture1' src='data:image/png;base64,") == 3
    )  # drawn, seen, answered
    assert page.count("<img alt='picture2'") == 2
    assert "<script>" not in page
    assert "img-src data:" in page
    assert "<img" not in transcript_page(run)
    for said, there in (("picture1을 골랐습니다", 1), ("(picture1)", 1), ("picture12", 0), ("mypicture1", 0)):
        end = Agent("p", "g", [], model=ScriptedChat([json.dumps({"thought": "", "action": "answer",
                    "arguments": {"text": said}})])).run("x")  # fmt: skip
        assert (
            transcript_page(end, {"picture1": pictures["picture1"], "": pictures["picture2"]}).count("<img")
            == there
        )
    with pytest.raises(ValueError, match="picture"):
        transcript_page(run, {"picture1": "x"})


def test_a_browser_shows_the_page(drawn_run, tmp_path):
    from tests.apps.judging.test_page import CHROMIUM, Browser

    if CHROMIUM is None:
        pytest.skip("needs Chromium (apt install chromium)")
    run, pictures = drawn_run
    page = save_transcript(run, tmp_path / "run.html", pictures)
    browser = Browser(tmp_path / "profile")
    try:
        browser.ask("Page.navigate", url=page.as_uri())
        browser.until("document.readyState === 'complete' && document.images.length > 0")
        sizes = browser.value("[...document.images].map(one => one.naturalWidth * 100 + one.naturalHeight)")
        assert sizes == [504] * 5
        assert browser.value("document.scripts.length") == 0
        assert "<script>a</script>" in browser.value("document.body.innerText")
    finally:
        browser.close()


def test_errors_of_tools_do_not_say_where_the_folder_is(tmp_path):
    (tmp_path / "sub").mkdir()
    box = Toolbox(folder_tools(tmp_path))
    tried = [
        box.call("write_file", {"path": "sub", "text": "a"}),
        box.call("write_file", {"path": "a" * 300, "text": "a"}),
        box.call("write_file", {"path": "a.txt", "text": "\ud800"}),
        box.call("read_file", {"path": "b" * 5000}),
    ]
    assert len(tried) == 4
    for seen in tried:
        assert seen.error
        assert str(tmp_path) not in seen.error
        assert Path(tmp_path).name not in seen.error
