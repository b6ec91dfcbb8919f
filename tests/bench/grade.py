"""A class of a hundred, graded:  python -m tests.bench.grade [folder to keep everything in]

Right answers under several names, each named mistake of the lesson, files that crash, hang or are empty, and
each attack of tests/classroom/attacks.py. The run is killed after a quarter and goes on. Every submission
must have the expected points and words, within ten minutes on two cores. The exit code is 1 if one has not.
"""

import ast
import inspect
import json
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import zipfile
from pathlib import Path

import lessons
from minidl.classroom.course import Course
from minidl.classroom.exports.right import right_file
from minidl.classroom.work_file import lesson_stubs

sys.path.insert(0, str(Path(__file__).parents[1] / "classroom"))
from attacks import ATTACKS

LESSON, LIMIT, MINUTES = "09", "2", 10
COURSE = Course(Path(lessons.__file__).parent)
EXERCISES = COURSE.exercises(LESSON)
RIGHT, STUBS = right_file(EXERCISES), lesson_stubs(COURSE.lesson(LESSON), EXERCISES)
ALL = sum(exercise.points for exercise in EXERCISES)
LOOP = "    while True:\n        try:\n            pass\n        except BaseException:\n            pass\n"


def answers():
    """name -> (text, points, the status of each exercise)."""
    passed, missing = ["passed"] * 4, ["missing"] * 4
    found = {
        **dict.fromkeys(("right", "Right Again", "hw9 (final) (2)", "Ünï & <b>"), (RIGHT, ALL, passed)),
        "empty": ("", 0, missing),
        "stubs": (STUBS, 0, missing),
        "no Python": ("def f(:\n", 0, ["crashed"] * 4),
        "exits": (RIGHT + "exit()\n", 0, ["crashed"] * 4),
        "hangs at import": (RIGHT + "while True: pass\n", 0, ["timeout"] * 4),
        "renamed": (
            RIGHT.replace("def entropy", "def entropie"),
            ALL - 1,
            ["passed", "missing", *passed[2:]],
        ),
    }
    for i, exercise in enumerate(EXERCISES):
        name, points = exercise.name, ALL - exercise.points
        for word, body in [("timeout", LOOP), ("crashed", "    import os\n    os._exit(1)\n")]:
            text = f"{RIGHT}\n\ndef {name}(*arguments, **params):\n{body}"
            found[f"{word} {name}"] = text, points, [*passed[:i], word, *passed[i + 1 :]]
        for k, mistake in enumerate(exercise.mistakes):
            text, calls_library = mistake_text(exercise, mistake)
            word = "library" if calls_library else "failed"
            found[f"mistake {exercise.number} {k}"] = text, points, [*passed[:i], word, *passed[i + 1 :]]
    return found


def mistake_text(exercise, mistake):
    """The right answers with the mistake in the place of one, and whether it calls the library's function."""
    module = inspect.getmodule(mistake.implementation)
    tree = ast.parse(inspect.getsource(module))
    wanted = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    imports = [
        ast.unparse(node) for node in wanted if not re.search("classroom|__future__", ast.unparse(node))
    ]
    helpers = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.decorator_list]
    text = textwrap.dedent(inspect.getsource(mistake.implementation))
    text = text[text.index("def ") :].replace(
        f"def {mistake.implementation.__name__}(", f"def {exercise.name}("
    )
    needed = [ast.unparse(node) for node in helpers if f"{node.name}(" in text]
    whole = "\n".join([RIGHT, *imports, *needed, text])
    return whole, re.search(rf"\.{exercise.name}\b", text)


def hand_in(folder):
    """Write the submissions; what is expected of each by name."""
    expected = {}
    for name, (text, points, words) in answers().items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
        expected[name] = points, words, ()
    with zipfile.ZipFile(folder / "zipped.zip", "w") as archive:
        archive.writestr("../../evil.py", "x")
        archive.writestr("deep/down/Temperature.py", RIGHT)
    (folder / "a folder").mkdir()
    (folder / "a folder" / "09_temperature.py").write_text(RIGHT, encoding="utf-8")
    (folder / "a folder" / "notes.py").write_text("x = 1\n")
    (folder / "link.py").symlink_to(folder / "right.py")
    expected |= {name: (ALL, ["passed"] * 4, ()) for name in ("zipped", "a folder")}
    expected["link"] = 0, ["missing"] * 4, ()
    for i, attack in enumerate(ATTACKS):
        name = f"attack {i:02} {attack.name}".replace("/", " ")
        (folder / f"{name}.py").write_text(f"{STUBS}\n\n{attack.source}", encoding="utf-8")
        expected[name] = 0, None, attack.seen
    return expected


def run(folder, out, seconds):
    """Grade; after so many rows, if any, the run is killed."""
    command = [sys.executable, "-m", "lessons", "grade", str(folder), "-j", "2", "--out", str(out)]
    rows = out / "rows.jsonl"
    with subprocess.Popen([*command, "--lesson", LESSON, "--limit", LIMIT], cwd=COURSE.root) as process:
        while process.poll() is None:
            time.sleep(0.1)
            if seconds and rows.exists() and rows.read_bytes().count(b"\n") > seconds:
                process.send_signal(signal.SIGKILL)
    return process.returncode


def differences(expected, out):
    """What is not as expected, in words."""
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_bytes().splitlines()[1:]]
    if len(rows) != len(expected) or len({row["key"] for row in rows}) != len(rows):
        yield f"{len(rows)} rows for {len(expected)} submissions"
    found = {row["name"]: row for row in json.loads((out / "results.json").read_text())["submissions"]}
    for name, (points, words, seen) in expected.items():
        row = found.pop(name)
        told = [one["status"] for one in row["exercises"]]
        if row["points"] != points or (words and told != words):
            yield f"{name}: {row['points']} points, {told}; expected {points}, {words}"
        message = row["exercises"][1]["message"]
        if seen and not any(text in message for text in seen):
            yield f"{name}: {message!r}"
        if "passed" in told and not words:
            yield f"{name}: passes, {told}"
    for name in found:
        yield f"{name} was not handed in"


def main(place):
    folder, out = place / "class", place / "out"
    folder.mkdir(parents=True)
    expected = hand_in(folder)
    begun = time.monotonic()
    run(folder, out, len(expected) // 4)
    code = run(folder, out, None)
    took = time.monotonic() - begun
    wrong = list(differences(expected, out)) + (["the run failed"] if code else [])
    if took > 60 * MINUTES:
        wrong.append(f"it took {took:.0f} s")
    print(
        f"{len(expected)} submissions in {took:.0f} s, killed once; {len(wrong)} not as expected",
        *wrong,
        sep="\n",
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(main(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as made:
        sys.exit(main(Path(made)))
