"""The lessons' command line. It runs the lessons and checks their exercises."""

from __future__ import annotations

import argparse
import functools
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minidl.classroom.check import SECONDS, CheckError, check_exercise, check_lesson
from minidl.classroom.claims import ClaimError
from minidl.classroom.course import Course
from minidl.classroom.files import digest
from minidl.classroom.on_terminal import counted, hints_text, lessons_text, outcome_text
from minidl.classroom.record import Record
from minidl.classroom.running import run_lessons
from minidl.engine.checks import require


def main(arguments: list[str], course: Course) -> int:
    """Run the command in ``arguments``. Returns the exit code: 0 done, 1 a failure, 2 a wrong request."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that cannot show "±" then shows "?"
    asked = parser().parse_args(arguments)
    try:
        course = Course.of_ones_own(asked.course) if asked.course else course
        code = asked.do(course, asked)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the program that reads the output has ended, as in  ... | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's last flush
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}" if error.filename else error, file=sys.stderr)
        return 2
    except ClaimError:  # the claim was printed where it failed
        return 1
    except (ValueError, CheckError, ModuleNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    about = "Without a verb: the lessons, what is done, and what is next."
    top = argparse.ArgumentParser(prog="python -m lessons", description=about)
    top.set_defaults(do=do_list)
    what = "a folder of lessons and exercises of your own"
    own: dict[str, Any] = {"metavar": "DIR", "type": Path, "help": what}
    top.add_argument("--course", **own, default=None)
    verbs = top.add_subparsers(metavar="VERB")
    # Without SUPPRESS, the verb's default would replace a --course that is before the verb.
    verb = functools.partial(add_verb, verbs, course={**own, "default": argparse.SUPPRESS})
    add_verbs_for_learners(verb)
    add_verbs_for_teachers(verb)
    add_verbs_for_authors(verb)
    return top


def add_verbs_for_learners(verb: Callable[..., None]) -> None:
    verb(
        "run", do_run, "run lessons, each in a process of its own",
        numbers={"nargs": "*", "metavar": "NN", "help": "lesson numbers; without numbers, all lessons"},
        mine=switch("with those of your own functions that pass"),
    )  # fmt: skip
    verb(
        "start", do_start, "write the stubs of a lesson's exercises into work/",
        number=LESSON, reset=switch("move the old file to work/backup/ and write new stubs"),
    )  # fmt: skip
    what = "without numbers, all started exercises; with files, only these exercises"
    verb(
        "check", do_check, "check what you wrote, or files anywhere, against the laws",
        numbers={"nargs": "*", "metavar": "NN[.k]|FILE", "type": number_or_file, "help": what},
        traceback=switch("show the whole traceback of an error"), limit=TIME,
        json=switch("print the verdicts and points as JSON"), **GRADED,
    )  # fmt: skip
    verb("hint", do_hint, "one more hint each time", number=EXERCISE)
    verb("debug", do_debug, "step into the smallest case that fails", number=EXERCISE, limit=TIME)
    watched = {**LESSON, "nargs": "?", "help": "the lesson to begin with"}
    verb("watch", do_watch, "check each time that you save, until Ctrl-C", number=watched, limit=TIME)
    verb(
        "solution", do_solution, "show the library's own text and its imports, after yours passes",
        number=EXERCISE, anyway=switch("also when yours does not pass yet"),
    )  # fmt: skip


def add_verbs_for_teachers(verb: Callable[..., None]) -> None:
    verb(
        "grade", do_grade, "check many submissions, and write tables and pages of the results",
        folder={"metavar": "DIR", "type": Path, "help": "files, folders and zip archives, one a student"},
        jobs={"type": job_count, "metavar": "N", "default": 1, "help": "at the same time, %(default)s"},
        roster={"metavar": "CSV", "type": Path, "help": "the students, in a column name"},
        pattern={"metavar": "REGEX", "type": pattern, "help": "finds the student's name in an entry's name"},
        out={"metavar": "DIR", "type": Path, "help": "the folder of results; the default is out/grade/..."},
        limit=TIME, container=switch("in a container without a network, by Docker"), **GRADED,
    )  # fmt: skip
    services = ("gradescope", "classroom", "nbgrader", "notebook")
    verb(
        "export", do_export, "write what Gradescope, GitHub Classroom or nbgrader take, or a notebook",
        service={"metavar": "SERVICE", "choices": services, "help": ", ".join(services)}, number=LESSON,
        out={"metavar": "DIR", "type": Path, "default": Path("out", "export"), "help": "%(default)s"},
        partial=GRADED["partial"], laws={**GRADED["laws"], "help": "for gradescope: further laws and POINTS"},
    )  # fmt: skip


def add_verbs_for_authors(verb: Callable[..., None]) -> None:
    verb(
        "study", do_study, "measure the numbers that lessons quote over seeds, and save them",
        numbers={"nargs": "*", "metavar": "NN", "type": lesson_number, "help": "all studies without one"},
        check=switch("measure two seeds again, and compare with the saved numbers"),
        all=switch("with --check: all seeds"),
    )  # fmt: skip
    verb(
        "book", do_book, "render lessons, studies, exercises and reference as a site in out/book",
        numbers={"nargs": "*", "metavar": "NN", "type": lesson_number, "help": "all lessons without one"},
        **{"no-run": switch("without running the lessons: pages without outputs and figures")},
    )  # fmt: skip


def add_verb(verbs, name: str, do: Callable[..., int], text: str, **arguments: dict) -> None:
    """Add a verb. Arguments named number, numbers, folder or service are positional. Others are options."""
    one = verbs.add_parser(name, help=text, description=text)
    one.set_defaults(do=do)
    for argument, settings in arguments.items():
        dashes = "" if argument.startswith(("number", "folder", "service")) else "--"
        names = ["-j"] if argument == "jobs" else []
        one.add_argument(*names, dashes + argument, **settings)


def switch(text: str) -> dict:
    return {"action": "store_true", "help": text}


def in_form(form: str, text: str, said: str) -> str:
    """Return the text if the regular expression ``form`` matches all of it. If not, raise ``said``."""
    require(re.fullmatch(form, text), f"{said}, got {text!r}", argparse.ArgumentTypeError)
    return text


def lesson_number(text: str) -> str:
    return in_form(r"\d{1,2}", text, "a lesson's number is like 09, without an exercise").zfill(2)


def exercise_number(text: str) -> str:
    return in_form(r"\d{1,2}\.\d", text, "an exercise's number is like 09.1").zfill(4)


def number_or_file(text: str) -> str | Path:
    path = Path(text)
    if path.suffix == ".py" or len(path.parts) > 1 or path.is_file():
        return path
    in_form(r"\d{1,2}(\.\d)?", text, "a number is like 09 or 09.1, and a file ends in .py")
    return exercise_number(text) if "." in text else lesson_number(text)


def seed(text: str) -> int:
    return int(in_form(r"\d{1,20}", text, "a seed is a whole number from 0 on"))


def job_count(text: str) -> int:
    return int(in_form(r"[1-9]\d{0,2}", text, "-j takes a whole number from 1 on"))


def pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
    return text


def limit(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    said = f"a law's limit is a number of seconds above 0, got {text!r}"
    require(0 < seconds < 1e6, said, argparse.ArgumentTypeError)  # refuses NaN, too
    return seconds


LESSON = {"metavar": "NN", "type": lesson_number}
EXERCISE = {"metavar": "NN.k", "type": exercise_number}
TIME = {"metavar": "S", "type": limit, "default": SECONDS, "help": "seconds that a law may take, %(default)g"}
GRADED = {  # options of each verb that gives points
    "lesson": {**LESSON, "help": "the lesson of the files, where they do not say it"},
    "laws": {"metavar": "FILE", "type": Path, "help": "a Python file with further laws, and POINTS"},
    "seed": {"metavar": "S", "type": seed, "help": "the laws draw the cases of this number"},
    "partial": switch("the share of the laws that hold counts, instead of all or nothing"),
}


def do_run(course: Course, asked: argparse.Namespace) -> int:
    chosen = [course.lesson(number.zfill(2)) for number in asked.numbers] or course.lessons()
    if not asked.mine:
        return run_lessons(chosen)
    from minidl.classroom.run_mine import through_mine  # imported here, since it loads NumPy

    return run_lessons(chosen, through_mine(course, chosen))


def do_list(course: Course, asked: argparse.Namespace) -> int:
    record = Record(course)
    record.complete()
    print(lessons_text(course, record))
    return 0


def do_start(course: Course, asked: argparse.Namespace) -> int:
    from minidl.classroom.work_file import start  # imported here, since it loads NumPy

    print(start(course, asked.number, asked.reset))
    Record(course).begin(asked.number)
    first = course.exercises(asked.number)[0]
    print(f"next: write {first.name} there, then  {course.command} check {first.number}")
    return 0


def do_check(course: Course, asked: argparse.Namespace) -> int:
    extras = asked.json, asked.lesson, asked.laws, asked.seed is not None, asked.partial
    if any(extras) or any(isinstance(one, Path) for one in asked.numbers):
        from minidl.classroom.verdicts import check_files

        return check_files(course, asked)
    record, wanted = Record(course), by_lesson(course, asked.numbers)
    all_passed = True
    for lesson, numbers in wanted.items():
        path = course.shown(course.work_file(lesson))
        for outcome in check_lesson(course, lesson, numbers or None, asked.limit):
            print(outcome_text(outcome, path, asked.traceback, course.command), flush=True)
            record.note(outcome)
            all_passed &= outcome.passed
    return 0 if all_passed else 1


def by_lesson(course: Course, numbers: list[str]) -> dict[str, list[str]]:
    """Maps each lesson to its requested exercises; [] means all. If numbers is empty: all started lessons."""
    numbers = numbers or [lesson.number for lesson in course.started()]
    wanted: dict[str, list[str]] = {course.lesson(number[:2]).number: [] for number in numbers}
    for number in numbers:
        if number[:2] not in numbers:
            wanted[number[:2]].append(number)
    require(wanted, f"no lesson was started yet: {course.command} start NN writes a lesson's stubs")
    return wanted


def do_grade(course: Course, asked: argparse.Namespace) -> int:
    if asked.container:
        from minidl.classroom.exports.container import grade_in_container

        return grade_in_container(course, asked)
    from minidl.classroom.grade import grade

    return grade(course, asked)


def do_export(course: Course, asked: argparse.Namespace) -> int:
    from minidl.classroom.exports.export import PAGES, Wish, export
    from minidl.classroom.further import points_of

    wish = Wish(course, asked.number, asked.partial, asked.laws)
    path = export(asked.service, wish, asked.out)
    points = points_of(course.exercises(asked.number), asked.laws)
    print(f"wrote {path}: {counted(len(points), 'exercise')}, {sum(points.values()):g} points")
    print(f"the page {PAGES[asked.service]} in lessons/book/guide/ says what to choose there")
    return 0


def do_hint(course: Course, asked: argparse.Namespace) -> int:
    print(hints_text(course.exercise(asked.number), Record(course)))
    return 0


def do_debug(course: Course, asked: argparse.Namespace) -> int:
    outcome = check_exercise(course, asked.number, asked.limit)
    path = course.shown(course.work_file(asked.number[:2]))
    print(outcome_text(outcome, path, command=course.command), flush=True)
    Record(course).note(outcome)
    if not outcome.replay:
        return 0 if outcome.passed else 1
    from minidl.classroom.replay import step_into

    return step_into(course, outcome.replay)


def do_watch(course: Course, asked: argparse.Namespace) -> int:
    from minidl.classroom.watch import watch

    lessons = list(by_lesson(course, [asked.number] if asked.number else []))
    for lesson in lessons:
        course.started_file(lesson)
    record = Record(course)
    done = {n for n in lessons if all(record.of(one.number)["passed"] for one in course.exercises(n))}
    watch(course, min(lessons, key=lambda number: number in done), asked.limit)
    return 0


def do_solution(course: Course, asked: argparse.Namespace) -> int:
    from minidl.classroom.exports.right import needed
    from minidl.classroom.stubs import source

    exercise, record = course.exercise(asked.number), Record(course)
    number, path = exercise.number, course.work_file(exercise.number[:2])
    if not asked.anyway and path.exists() and record.of(number)["file"] != digest(path):
        record.note(check_exercise(course, number))
    if not (asked.anyway or record.passes(number)):
        print(f"{number} does not pass yet. Option --anyway shows the solution now", file=sys.stderr)
        return 1
    print(f"{needed(exercise.target)}\n\n\n{source(exercise.target)}", end="")
    return 0


def do_study(course: Course, asked: argparse.Namespace) -> int:
    from minidl.classroom.studies import choose, run_check, run_study

    require(asked.check or not asked.all, "--all goes with --check")
    chosen, failed = choose(course.folder / "studies", asked.numbers), False
    for study in chosen:
        print(f"== {study.shown}", flush=True)
        if asked.check:
            failed |= not run_check(study, asked.all)
        else:
            run_study(study)
    return 1 if failed else 0


def do_book(course: Course, asked: argparse.Namespace) -> int:
    from minidl.classroom.book.build import build_book

    chosen = [course.lesson(number) for number in asked.numbers] or course.lessons()
    return build_book(course, chosen, run=not asked.no_run)
