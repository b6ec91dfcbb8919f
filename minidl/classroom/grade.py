"""``grade``: checks many submissions, each in its own processes, and saves each result at once.

The first line of OUT/rows.jsonl holds the settings of the run. Each further line holds one submission's
result. A stopped run continues with the submissions that have no line. Reports are made from the lines.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import secrets
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from minidl.classroom.check import Options, Outcome, check_lesson
from minidl.classroom.course import Course
from minidl.classroom.exercise import Exercise
from minidl.classroom.files import digest
from minidl.classroom.further import points_of, try_further_laws
from minidl.classroom.reports import write_reports
from minidl.classroom.submissions import (
    Submission,
    choose_file,
    lesson_of_all,
    name_all,
    read_roster,
    read_submissions,
)
from minidl.classroom.verdicts import full_path, submission
from minidl.engine.checks import require


@dataclass
class Run:
    """The settings that all submissions of a run share."""

    course: Course
    lesson: str
    exercises: list[Exercise]
    points: dict[str, float]
    out: Path
    seed: int
    laws: Path | None
    limit: float
    partial: bool

    @property
    def settings(self) -> dict:
        """The settings that must be the same when a stopped run continues."""
        own = sorted((self.course.folder / "exercises").glob(f"ex{self.lesson}_*.py"))
        laws = " ".join(map(digest, [*own, *filter(None, [self.laws])]))  # also of minidl's version
        given = {"lesson": self.lesson, "laws": laws, "limit": self.limit, "partial": self.partial}
        return {"version": 1, "course": self.course.package, **given, "seed": self.seed}

    def again(self, file: str | Path, number: str, with_laws: bool = True) -> str:
        """The command that checks a file's exercise on the same cases. Learners get it without --laws."""
        words = [*self.course.command.split(), "check", str(file), number, "--lesson", self.lesson]
        words += ["--seed", str(self.seed)] + (["--laws", str(self.laws)] if self.laws and with_laws else [])
        return f"{self.course.command} {shlex.join(words[len(self.course.command.split()) :])}"


def grade(course: Course, asked: argparse.Namespace) -> int:
    """Check every submission of a folder and write the reports. Returns 0, also if submissions fail."""
    out = results_folder(asked)
    submissions, ignored = read_submissions(asked.folder)
    if out.resolve().parent == asked.folder.resolve():  # the folder of results is not a submission
        submissions = [one for one in submissions if one.source != out.name]
    require(bool(submissions), f"{asked.folder} has no submissions: Python files, folders or zip archives")
    lesson = course.lesson(asked.lesson or lesson_of_all(course, submissions)).number
    exercises = course.exercises(lesson)
    require(bool(exercises), f"lesson {lesson} has no exercises")
    for one in submissions:
        choose_file(course, lesson, one)
    name_all(submissions, asked.pattern, read_roster(asked.roster) if asked.roster else None)
    if asked.laws:
        try_further_laws(course, asked.laws)
    out.mkdir(parents=True, exist_ok=True)
    points, seed = points_of(exercises, asked.laws), asked.seed
    laws = Path(full_path(asked.laws)) if asked.laws else None
    with alone_in(out):
        kept, rows = read_rows(out / "rows.jsonl")
        seed = kept.get("seed", secrets.randbits(32)) if seed is None else seed
        run = Run(course, lesson, exercises, points, out, seed, laws, asked.limit, asked.partial)
        other = ", ".join(name for name in run.settings if kept.get(name) != run.settings[name])
        what = f"{out} has results of other settings ({other})"
        require(kept in ({}, run.settings), f"{what}: choose another --out, or delete it")
        if not kept:
            append(out / "rows.jsonl", run.settings)
        todo = to_check(submissions, rows)
        print(
            f"lesson {lesson}: {len(todo)} of {len(submissions)} submissions to check, seed {seed}",
            flush=True,
        )
        begun = time.monotonic()
        check_all(run, todo, rows, len(submissions), asked.jobs)
        page = write_reports(run, submissions, [rows[one.key] for one in submissions], ignored)
    took = f"{time.monotonic() - begun:.0f} s"
    print(
        f"{len(submissions)} submissions are graded, {len(todo)} of them now in {took}. The overview: {page}"
    )
    return 0


def check_all(run: Run, todo: list[Submission], rows: dict[str, dict], total: int, jobs: int) -> None:
    """Check the submissions. Each row is saved in ``rows`` and in the run's folder as soon as it is known."""
    with tqdm(total=total, initial=total - len(todo), unit="file", disable=None) as bar:
        try:
            for row in in_parallel(lambda one: graded(run, one), todo, jobs):
                append(run.out / "rows.jsonl", row)
                rows[row["key"]] = row
                bar.update()
        except KeyboardInterrupt:
            bar.close()
            kept = total - len(to_check(todo, read_rows(run.out / "rows.jsonl")[1]))
            print(f"{kept} of {total} submissions are checked and saved: the same command checks the others")
            raise


def to_check(submissions: list[Submission], rows: dict[str, dict]) -> list[Submission]:
    """The submissions that have no row yet, or a row of another text."""
    return [one for one in submissions if rows.get(one.key, {}).get("digest") != one.digest]


def results_folder(asked: argparse.Namespace) -> Path:
    return asked.out or Path("out", "grade", asked.folder.resolve().stem)


def graded(run: Run, one: Submission) -> dict:
    """Check one submission, and return the row of results that is saved."""
    path = run.out / "submissions" / one.slug / re.sub(r"[^A-Za-z0-9._-]+", "_", Path(one.chosen).name)
    outcomes: list[Outcome] = [Outcome("", one.name, message=one.problem, ended="missing")]
    if one.chosen:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.text)
        options = Options(
            file=str(path.resolve()),
            seed=run.seed,
            laws=str(run.laws or ""),
            all_laws=True,
            pictures=f"{os.getpid()}_{one.slug}_",
        )
        outcomes = list(check_lesson(run.course, run.lesson, None, run.limit, options))
        for outcome in outcomes:
            keep_picture(run, one, outcome)
    found = submission(str(path), run.lesson, run.exercises, run.points, outcomes, run.partial)
    for row in found["exercises"]:
        row["again"] = run.again(path, row["number"]) if one.chosen and row["status"] != "passed" else ""
    return {"key": one.key, "digest": one.digest, "slug": one.slug, **found}


def keep_picture(run: Run, one: Submission, outcome: Outcome) -> None:
    """Move the outcome's picture into the folder of the run's results."""
    if outcome.picture:
        before = run.course.root / outcome.picture
        after = run.out / "pictures" / f"{one.slug}_{outcome.number.replace('.', '_')}.png"
        outcome.picture = ""
        with suppress(OSError):
            after.parent.mkdir(exist_ok=True)
            after.write_bytes(before.read_bytes())
            before.unlink()
            outcome.picture = after.relative_to(run.out).as_posix()


# ---- at the same time


def in_parallel(work: Callable[[Submission], dict], todo: list[Submission], jobs: int) -> Iterator[dict]:
    """Yield the result of ``work`` for each submission as soon as it is known. Ctrl-C and errors end this."""
    waiting: queue.SimpleQueue[Submission] = queue.SimpleQueue()
    done: queue.SimpleQueue[dict | BaseException] = queue.SimpleQueue()
    for one in todo:
        waiting.put(one)

    def one_after_the_other() -> None:
        with suppress(queue.Empty):
            while True:
                one = waiting.get_nowait()
                try:
                    done.put(work(one))
                except BaseException as error:
                    done.put(error)
                    return

    for _ in range(min(jobs, len(todo))):  # daemons: the process does not wait for them at its end
        threading.Thread(target=one_after_the_other, daemon=True).start()
    for _ in todo:
        found = None
        while found is None:
            with suppress(queue.Empty):
                found = done.get(timeout=0.2)  # Windows notices Ctrl-C only between waits
        if isinstance(found, BaseException):
            raise found
        yield found


# ---- what is kept


def append(path: Path, row: dict) -> None:
    """Append a line. If writing stops in the middle, ``read_rows`` leaves out the incomplete line."""
    with path.open("ab") as file:
        file.write(json.dumps(row).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path) -> tuple[dict, dict[str, dict]]:
    """The settings, and the latest row of each submission. An incomplete last line is removed."""
    if not path.exists():
        return {}, {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        with path.open("r+b") as file:
            file.truncate(len(whole))
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
        return (lines[0] if lines else {}), {row["key"]: row for row in lines[1:]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it to check all submissions again") from error


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Lock the folder, so that only one run writes into the folder. The lock ends with the process."""
    with (out / "lock").open("a") as file:
        with suppress(ImportError):  # Windows has no fcntl
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ValueError(f"another run writes to {out} at the moment") from None
        yield
