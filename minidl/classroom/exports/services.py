"""Runs at a service: checks a submission and writes the results in the service's own format.

    python -m minidl.classroom.exports.services gradescope SUBMISSION RESULTS.json
    python -m minidl.classroom.exports.services classroom SUBMISSION OUTPUT
    python -m minidl.classroom.exports.services grade ...        as python -m lessons grade

The current folder holds the lessons and settings.json, as ``export`` writes them. SUBMISSION is a folder with
the learner's file. Gradescope reads RESULTS.json. For GitHub, OUTPUT gets a line result=BASE64.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import tempfile
import time
from pathlib import Path, PurePosixPath

from minidl.classroom.check import Options, Outcome, check_lesson
from minidl.classroom.course import Course
from minidl.classroom.further import for_learner, points_of
from minidl.classroom.submissions import Submission, choose_file, read_folder
from minidl.classroom.verdicts import submission

LONGEST = 1000  # the limit of characters in a message, because GitHub passes all messages in 128 KB


def main(arguments: list[str]) -> int:
    """Check the submission and write the result. Returns 0, also if the submission fails."""
    settings = json.loads(Path("settings.json").read_text(encoding="utf-8"))
    course = Course(Path(settings["folder"]), settings["package"], settings["command"])
    if arguments[0] == "grade":
        from minidl.classroom.cli import main as verbs

        return verbs(arguments, course)
    service, submitted, result = arguments
    write = {"gradescope": write_gradescope, "classroom": write_classroom}[service]
    write(course, settings, Path(submitted), Path(result))
    return 0


def checked(course: Course, settings: dict, folder: Path) -> dict:
    """The report of ``check --json`` (see verdicts.py) on the folder's file with answers to the lesson."""
    one = Submission(folder.name, folder.name)
    read_folder(folder, one)
    choose_file(course, settings["lesson"], one)
    if one.chosen:
        found = verdict(course, settings, one.text, PurePosixPath(one.chosen).name)
    else:
        missing = Outcome("", "", message=one.problem, ended="missing")
        found = of_outcomes(course, settings, "nothing", [missing])
    return found | {"flags": found["flags"] + one.flags, "problem": one.problem}


def verdict(course: Course, settings: dict, text: bytes, name: str, number: str = "") -> dict:
    """The report of ``check --json`` on a file's text. number: check only this exercise."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / re.sub(r"[^\w.-]", "_", name)
        file.write_bytes(text)
        laws = str(Path(settings["laws"]).resolve()) if settings["laws"] else ""
        options = Options(file=str(file.resolve()), laws=laws, all_laws=True)
        numbers = [number] if number else None
        outcomes = list(check_lesson(course, settings["lesson"], numbers, options=options))
    return of_outcomes(course, settings, name, outcomes, number)


def of_outcomes(course: Course, settings: dict, name: str, outcomes: list[Outcome], number: str = "") -> dict:
    exercises = course.exercises(settings["lesson"])
    points = points_of(exercises, Path(settings["laws"]) if settings["laws"] else None)
    todo = [exercise for exercise in exercises if number in ("", exercise.number)]
    found = submission(name, settings["lesson"], todo, points, outcomes, settings["partial"])
    rows = zip(found["exercises"], todo, strict=True)
    return found | {"exercises": [for_learner(row, exercise) for row, exercise in rows]}


def told(exercise: dict) -> str:
    """The text for the learner: the failing law, the smallest case, the reason, the recognised mistake."""
    if exercise["status"] == "passed":
        return f"all {exercise['laws']} laws hold"
    lines = [f'law "{exercise["law"]}" fails'] if exercise["law"] else []
    lines += [f"{name} = {value}" for name, value in exercise["case"]]
    lines += [exercise["message"]] if exercise["message"] else []
    lines += [f"looks like: {', or '.join(exercise['looks_like'])}"] if exercise["looks_like"] else []
    lines += [f"{exercise['held']} of {exercise['laws']} laws hold"]
    return visible("\n".join(lines))


def visible(text: str) -> str:
    """The text with escapes for control characters."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


# ---- Gradescope


def write_gradescope(course: Course, settings: dict, submitted: Path, result: Path) -> None:
    start = time.monotonic()
    results = gradescope_results(checked(course, settings, submitted), time.monotonic() - start)
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(results, indent=1), encoding="utf-8")


def gradescope_results(report: dict, seconds: float) -> dict:
    """results.json with a test for each exercise: https://gradescope-autograders.readthedocs.io/en/latest/specs/"""
    tests = [
        {
            "name": exercise["name"],
            "number": exercise["number"],
            "score": exercise["points"],
            "max_score": exercise["max_points"],
            "status": "passed" if exercise["status"] == "passed" else "failed",
            "output": told(exercise),
            "output_format": "text",
            "visibility": "visible",
        }
        for exercise in report["exercises"]
    ]
    tests += [
        {
            "name": "for the teacher: worth a look",
            "output": visible("\n".join(report["flags"])),
            "output_format": "text",
            "visibility": "hidden",
        }
    ] * bool(report["flags"])
    return {
        "output": visible(report["problem"] or f"{report['file']} was checked"),
        "output_format": "text",
        "execution_time": round(seconds, 2),
        "stdout_visibility": "hidden",
        "tests": tests,
    }


# ---- GitHub Classroom


def write_classroom(course: Course, settings: dict, submitted: Path, result: Path) -> None:
    report = checked(course, settings, submitted)
    for exercise in report["exercises"]:
        exercise["all_laws"] = [law.text for law in course.exercise(exercise["number"]).laws]
    found = classroom_result(report)
    for test in found["tests"]:
        print(f"{test['status']}  {test['name']}")
    encoded = base64.b64encode(json.dumps(found).encode()).decode()
    with open(result, "a", encoding="utf-8") as output:
        output.write(f"result={encoded}\n")


def classroom_result(report: dict) -> dict:
    """The JSON that the reporter reads: one test per law. All weights are equal: it shows passed/total."""
    tests = [test for exercise in report["exercises"] for test in tests_of(exercise, report["file"])]
    passes = all(test["status"] == "pass" for test in tests)
    return {"version": 1, "status": "pass" if passes else "fail", "max_score": len(tests), "tests": tests}


def tests_of(exercise: dict, file: str) -> list[dict]:
    """A test for each law. Laws that were not tried fail. All fail if the answer calls the library's own."""
    tried = dict(exercise["tried"])
    tests = []
    for law in exercise["all_laws"]:
        passes = tried.get(law, False) and exercise["status"] != "library"
        is_told = law == exercise["law"] or not exercise["law"]
        message = told(exercise) if is_told else "does not hold" if law in tried else "was not tried"
        case = exercise["case"] if law == exercise["law"] else []
        tests.append(
            {
                "name": f"{exercise['number']} {exercise['name']}: {law}",
                "status": "pass" if passes else "fail",
                "score": 1 if passes else 0,
                "message": "" if passes else message[:LONGEST],
                "test_code": "\n".join(f"{name} = {value}" for name, value in case)[:LONGEST],
                "filename": file,
                "line_no": exercise["line"],
                "duration": round(exercise["seconds"] / len(exercise["all_laws"]), 3),
            }
        )
    return tests


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
