"""What the command line is made of: readers of numbers, texts and paths, a parser that answers a mistake in one line,
and the options that several commands share. Nothing heavy is imported here: a mistake is said at once.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from minillm._checks import describe
from minillm.course.tour.settings import available_cores

MANY = 2**63 - 1  # what numpy and torch hold in an integer


def whole(minimum: int, maximum: int = MANY, multiple: int = 1) -> Callable[[str], int]:
    """Reads a whole number from `minimum` to `maximum`, for argparse, which names the option before the message."""

    def read(typed: str) -> int:
        try:
            number = int(typed)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, got {describe(typed)}") from None
        if not minimum <= number <= maximum:
            from_below = number < minimum and maximum == MANY
            bounds = f"at least {minimum}" if from_below else f"between {minimum} and {maximum}"
            raise argparse.ArgumentTypeError(f"must be {bounds}, got {describe(number)}")
        if number % multiple:
            below = number - number % multiple
            raise argparse.ArgumentTypeError(
                f"must be a multiple of {multiple}, got {number}; the nearest are {below or multiple} and "
                f"{below + multiple}"
            )
        return number

    return read


def number(minimum: float, maximum: float, above: bool = False) -> Callable[[str], float]:
    """Reads a number from `minimum` (or above it) to `maximum`, for argparse."""

    def read(typed: str) -> float:
        try:
            value = float(typed)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a number, got {describe(typed)}") from None
        if not minimum <= value <= maximum or (above and value == minimum):  # nan is in no range
            bounds = f"above {minimum:g} and at most" if above else f"between {minimum:g} and"
            raise argparse.ArgumentTypeError(f"must be {bounds} {maximum:g}, got {describe(typed)}")
        return value

    return read


def text(typed: str) -> str:
    """Reads a text, for argparse; a shell can hand over bytes that are none."""
    try:
        typed.encode("utf-8")
    except UnicodeEncodeError:
        came = os.fsencode(typed)
        try:
            return came.decode(
                "utf-8"
            )  # it is text, only the shell's language settings know no more than ASCII
        except UnicodeDecodeError:
            raise argparse.ArgumentTypeError(f"must be UTF-8 text, got {describe(came)}") from None
    return typed


def path(typed: str) -> Path:
    """Reads a path, for argparse; an empty one, of a shell variable that is not set, would be the folder we are in."""
    if not typed:
        raise argparse.ArgumentTypeError("must be a path, got an empty text")
    return Path(typed)


SEED = whole(0)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and which word was probably meant."""

    options: ClassVar[set[str]] = set()  # of all commands
    intermixed = False  # options may stand between the words of the command

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, which by itself gives all words before an option to the first places that take them."""
        if not self.intermixed:
            return super().parse_known_args(args, namespace)
        self.intermixed = False  # the other one comes back here
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self.intermixed = True

    def print_help(self, file: Any = None) -> None:
        """As argparse's, which keeps quiet when nobody reads it."""
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        choice = re.match(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)$", message, re.DOTALL)
        unknown = re.match(r"unrecognized arguments: (\S*)", message)
        if choice:
            listed = choice[3].replace("'", "")
            near = _meant(choice[2], listed.split(", "))
            message = f"{choice[1]} must be one of {listed}, got {choice[2]!r}{near}"
            if choice[1] == "COMMAND":
                message = (
                    f"there is no command {choice[2]!r}{near or '.'} `{self.prog} --help` lists the commands"
                )
        elif unknown:
            near = _meant(unknown[1].split("=")[0], self.options)
            message += near if unknown[1].startswith("-") else " (a text of several words needs quotes)"
        else:
            message = re.sub(r"^argument (\S+): (?=must )", r"\1 ", message)
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, sorted(known), 1)
    return f": did you mean {near[0]!r}?" if near else ""


class Commands:
    """Adds commands and their options to a parser, one line each."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(self, name: str, run: Callable[[argparse.Namespace], None] | None, summary: str) -> Options:
        parser = self.verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        parser.set_defaults(command=run)
        return Options(parser)


class Options:
    """The options of one command; those that several commands share are named once, here."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser

    def take(self, name: str, summary: str, **how: Any) -> Options:
        if name.startswith("-"):
            Parser.options.add(name)
        if how.get("default") is not None:
            summary = f"{summary} (default {how['default']})"
        if not {"type", "action", "choices"} & set(how):
            how["type"] = text
        elif how.get("type") is Path:
            how["type"] = path
        elif "type" in how and name.startswith("-"):
            how.setdefault("metavar", "N")
        self.parser.add_argument(*name.split(), help=summary, **how)
        return self

    def data(self) -> Options:
        summary = (
            "your own text: a file, or a folder of .txt, .md, .rst and .py files, of which docstrings and code are "
            "read (default: Python's language reference)"
        )
        return self.take("--data", summary, type=Path, metavar="PATH")

    def run(self) -> Options:
        self.take("--seed", "the same seed on the same machine gives the same figures", type=SEED, default=0)
        summary = "CPU threads (default: OMP_NUM_THREADS, else two, or one on a one-core machine)"
        return self.take("--threads", summary, type=whole(1, available_cores()))

    def json(self) -> Options:
        return self.take("--json", "print one JSON value instead of text", action="store_true")
