"""A small office's notes, in English and Korean files, and questions about them: for an agent that reads a folder.

    notes = office_notes(seed=0)
    notes.files        {"projects.md": "...", "people.txt": "...", "minutes.md": "...", "프로젝트.md": "...", ...}
    notes.questions    20 that one sentence answers, 20 that need two, 20 that the notes do not answer; half Korean

"What is the telephone of the leader of the Heron project?" needs two sentences, and only the first one tells what to
look for next. Of the 20 without an answer, half name what stands nowhere, and half are made of words that do stand in
the notes ("the telephone of the Heron project"). Each question comes in other words, too (`reworded`).
Names and numbers are drawn by the seed.

Book: 15.4.2 RAG 에이전트. Paper: Yang et al. 2018, "HotpotQA", whose questions of two documents these imitate.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from minillm._checks import check_int

EACH = 5  # projects of a language
ENGLISH = {
    "projects": ["Heron", "Falcon", "Otter", "Badger", "Marten", "Lynx", "Osprey", "Beaver"],
    "people": [
        "Mara Quist",
        "Jonas Feld",
        "Ines Duarte",
        "Tom Barley",
        "Aino Saari",
        "Luca Ferri",
        "Nora Blum",
    ],
}
KOREAN = {
    "projects": ["왜가리", "송골매", "수달", "오소리", "담비", "스라소니", "물수리", "비버"],
    "people": ["김하늘", "박도윤", "이서연", "최민준", "정다은", "강지후", "윤아름"],
}


FILES = {"en": ("projects.md", "people.txt"), "ko": ("프로젝트.md", "사람들.txt")}
STRANGE = {"en": ("Stoat", "Puffin"), "ko": ("족제비", "물범")}
SAID = {  # what is asked: the question, and in other words
    "en": {
        "phone": ("What is the telephone of {}?", "Which number do I dial for {}?"),
        "room": ("What is the room of {}?", "Where does {} sit?"),
        "phone of leader": (
            "What is the telephone of the leader of the {} project?",
            "Whom do I ring about {}, on which number?",
        ),
        "room of leader": (
            "What is the room of the leader of the {} project?",
            "Where does the head of {} sit?",
        ),
        "phone of project": (
            "What is the telephone of the {} project?",
            "Does {} have a number of its own?",
        ),
    },
    "ko": {
        "phone": ("{}의 내선 번호는 무엇입니까?", "{} 씨한테 전화하려면 몇 번을 누르나요?"),
        "room": ("{}의 자리는 어디입니까?", "{} 씨는 어디에 앉아 있나요?"),
        "phone of leader": (
            "{} 프로젝트 책임자의 내선 번호는 무엇입니까?",
            "{} 담당하시는 분께는 몇 번으로 전화하면 되나요?",
        ),
        "room of leader": (
            "{} 프로젝트 책임자의 자리는 어디입니까?",
            "{} 맡은 사람은 어디에 앉아 있나요?",
        ),
        "phone of project": (
            "{} 프로젝트의 내선 번호는 무엇입니까?",
            "{} 쪽은 번호가 따로 있나요?",
        ),
    },
}


@dataclass(frozen=True)
class OfficeQuestion:
    """answer: what a right answer holds, "" where there is none. sources: the files that say it. kind: "one", "two",
    "unknown name", "nothing said"."""

    question: str
    reworded: str
    answer: str
    sources: tuple[str, ...]
    kind: str
    language: str


@dataclass(frozen=True)
class OfficeNotes:
    """files: name -> text."""

    files: dict[str, str]
    questions: list[OfficeQuestion]


def office_notes(seed: int = 0) -> OfficeNotes:
    """The notes and sixty questions."""
    draw = random.Random(check_int("seed", seed, 0))
    english, korean = drawn(draw, ENGLISH), drawn(draw, KOREAN)
    files = english_files(*english[:2]) | korean_files(*korean[:2])
    return OfficeNotes(files, [*questions("en", *english), *questions("ko", *korean)])


def drawn(draw: random.Random, names: dict[str, list[str]]) -> tuple[list[tuple[str, str]], list, list[str]]:
    """(project and its leader; person, room and telephone; names of projects that there are not)."""
    projects, people = draw.sample(names["projects"], 8), draw.sample(names["people"], EACH)
    rooms = [f"{letter}{number}" for letter in "ABC" for number in draw.sample(range(11, 99), 2)]
    phones = draw.sample(range(1000, 9999), EACH)
    cards = [(name, room, str(phone)) for name, room, phone in zip(people, rooms, phones)]
    return list(zip(projects[:EACH], draw.sample(people, EACH))), cards, projects[EACH:]


def english_files(projects: list[tuple[str, str]], cards: list[tuple[str, str, str]]) -> dict[str, str]:
    """Three files: the minutes name projects, people and rooms, and answer none of the questions."""
    leads = [f"The leader of the {project} project is {name}." for project, name in projects]
    about = [f"The room of {n} is {r}. The telephone of {n} is {p}." for n, r, p in cards]
    hosts = [name for name, _, _ in cards]
    met = [
        f"On Monday the {project} project met in the room of {n}." for (project, _), n in zip(projects, hosts)
    ]
    return {
        "minutes.md": "# Minutes\n\n" + "\n\n".join(met) + "\n",
        "projects.md": "# Projects\n\n" + "\n\n".join(leads) + "\n",
        "people.txt": "People\n\n" + "\n\n".join(about) + "\n",
    }


def korean_files(projects: list[tuple[str, str]], cards: list[tuple[str, str, str]]) -> dict[str, str]:
    """Three files: the minutes name projects, people and rooms, and answer none of the questions."""
    leads = [f"{project} 프로젝트의 책임자는 {name}입니다." for project, name in projects]
    about = [f"{n}의 자리는 {r}입니다. {n}의 내선 번호는 {p}입니다." for n, r, p in cards]
    hosts = [name for name, _, _ in cards]
    met = [
        f"월요일에 {project} 프로젝트 팀이 {n}의 자리에서 모였습니다."
        for (project, _), n in zip(projects, hosts)
    ]
    return {
        "회의록.md": "# 회의록\n\n" + "\n\n".join(met) + "\n",
        "프로젝트.md": "# 프로젝트\n\n" + "\n\n".join(leads) + "\n",
        "사람들.txt": "사람들\n\n" + "\n\n".join(about) + "\n",
    }


def questions(language: str, projects: list, cards: list, missing: list[str]) -> list[OfficeQuestion]:
    """Thirty of them."""
    say, (who, where), strange = SAID[language], FILES[language], STRANGE[language]
    rows = []
    for n, r, p in cards:
        rows += [("phone", n, p, (where,), "one"), ("room", n, r, (where,), "one")]
    found = {name: (room, phone) for name, room, phone in cards}
    for project, name in projects:
        room, phone = found[name]
        rows.append(("phone of leader", project, phone, (who, where), "two"))
        rows.append(("room of leader", project, room, (who, where), "two"))
    rows += [("phone of leader", project, "", (), "unknown name") for project in (*missing, *strange)]
    rows += [("phone of project", project, "", (), "nothing said") for project, _ in projects]
    return [
        OfficeQuestion(*(text.format(name) for text in say[what]), *rest, language)
        for what, name, *rest in rows
    ]
