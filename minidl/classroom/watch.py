"""``watch``: check what is being written each time that it is saved, with a menu of single keys."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from minidl.classroom.check import TICK, CheckError, check_steps
from minidl.classroom.course import Course
from minidl.classroom.exercise import Exercise
from minidl.classroom.outcome import Outcome
from minidl.classroom.progress import Progress
from minidl.classroom.screen import grouped, hints_text, lessons_text, next_thing, outcome_text, paint
from minidl.classroom.stubs import source
from minidl.classroom.terminal import QUIT, Keys, step_into

Stamp = tuple[int, int, int] | None  # what changes when a file does; None where there is none


def watch(course: Course, lessons: list[str], seconds: float) -> None:
    """Check on save until q is pressed; begins with the first exercise of these lessons that is not done."""
    with Keys() as keys:
        if not keys.there:
            print("the input is no terminal, so there are no keys: Ctrl-C ends it", flush=True)
        Watch(course, keys, seconds).run(lessons)


class Watch:
    """One exercise at a time is checked; saving another lesson's file turns to that lesson."""

    def __init__(self, course: Course, keys: Keys, seconds: float) -> None:
        self.course, self.keys, self.seconds = course, keys, seconds
        self.exercise: Exercise | None = None
        self.check: Generator[Outcome | None, None, None] | None = None  # the one under way
        self.done, self.replay = False, ""
        self.seen: dict[Path, Stamp] = {}  # at the latest look
        self.dealt_with: dict[Path, Stamp] = {}  # what was checked, or said to be gone

    def run(self, lessons: list[str]) -> None:
        self.seen = self.dealt_with = self.look()
        self.turn_to(self.first_open(lessons) or self.course.exercises(lessons[0])[0])
        try:
            while True:
                self.notice_saves()
                if self.check:
                    self.go_on()
                for key in self.keys.wait(0 if self.check else TICK):
                    if key == QUIT:
                        return
                    self.press(key)
        finally:
            self.stop()

    # ---- files

    def look(self) -> dict[Path, Stamp]:
        """Every file that is started, and those that were."""
        there = {self.course.answers(lesson.number) for lesson in self.course.started()}
        return {path: stamp(path) for path in there | self.seen.keys()}

    def notice_saves(self) -> None:
        """What has changed and then stayed the same for a moment: editors write, or rename, in two steps."""
        before, self.seen = self.seen, self.look()
        for path, now in self.seen.items():
            if now == before.get(path) and now != self.dealt_with.get(path):
                self.dealt_with = {**self.dealt_with, path: now}
                self.saved(path) if now else self.gone(path)

    def saved(self, path: Path) -> None:
        lesson = path.name[:2]
        if lesson == self.exercise.number[:2]:
            self.turn_to(self.exercise)
        else:
            self.turn_to(self.first_open([lesson]) or self.course.exercises(lesson)[0])

    def gone(self, path: Path) -> None:
        if path == self.course.answers(self.exercise.number[:2]):
            self.stop()
            self.done, self.replay = False, ""
        print(f"\n{self.course.shown(path)} is gone: waiting for it to come back", flush=True)

    # ---- checking

    def first_open(self, lessons: list[str]) -> Exercise | None:
        progress = Progress(self.course)
        exercises = [exercise for lesson in lessons for exercise in self.course.exercises(lesson)]
        return next((one for one in exercises if not progress.of(one.number)["passed"]), None)

    def turn_to(self, exercise: Exercise) -> None:
        """Begin to check this exercise; a check under way has become pointless."""
        self.stop()
        self.exercise, self.done, self.replay = exercise, False, ""
        print("\n" + paint(f"checking {exercise.number} {exercise.name} ...", "dim"), flush=True)
        self.check = check_steps(self.course, exercise.number[:2], [exercise.number], self.seconds)

    def stop(self) -> None:
        if self.check:
            self.check.close()
        self.check = None

    def go_on(self) -> None:
        """One step of the check, a tenth of a second at most; at its end what was found."""
        try:
            outcome = next(self.check)
        except (CheckError, OSError) as error:  # such as a file that is gone since the latest look
            self.stop()
            print(error, flush=True)
            return
        if outcome is None:
            return
        self.stop()
        self.done, self.replay = outcome.passed, outcome.replay
        Progress(self.course).note(outcome)
        place = self.course.shown(self.course.answers(self.exercise.number[:2]))
        print(outcome_text(outcome, place), flush=True)
        self.show_menu()

    # ---- keys

    def show_menu(self) -> None:
        if self.keys.there:
            able = {"n next": self.done, "h hint": True, "d debug": self.replay, "s solution": self.done}
            shown = [name for name, possible in able.items() if possible]
            print(paint("   ".join([*shown, "l list", "q quit"]), "dim"), flush=True)

    def press(self, key: str) -> None:
        """Do what a key asks; one that is not in the menu says why."""
        name = f"{self.exercise.number} {self.exercise.name}"
        if key == "n" and self.done:
            self.go_to_next()
            return
        if key in ("n", "s") and not self.done:
            print(f"{name} does not pass yet", flush=True)
        elif key == "s":
            print(source(self.exercise.target), end="", flush=True)
        elif key == "h":
            print(hints_text(self.exercise, Progress(self.course)), flush=True)
        elif key == "l":
            print(lessons_text(self.course, Progress(self.course)), flush=True)
        elif key == "d" and self.replay:
            with self.keys.lent():
                step_into(self.course, self.replay)
        elif key == "d":
            print(f"{name}: nothing to step into", flush=True)
        else:
            return
        if not self.check:
            self.show_menu()

    def go_to_next(self) -> None:
        """The next exercise of this lesson that is not done, then of the others that were started."""
        here = self.exercise.number[:2]
        started = [lesson.number for lesson in self.course.started()]
        exercise = self.first_open([here]) or self.first_open(started)
        if exercise:
            self.turn_to(exercise)
        else:
            print(
                f"\nnext: {next_thing(self.course, Progress(self.course), grouped(self.course))}", flush=True
            )


def stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
