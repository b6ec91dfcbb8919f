"""``check`` of files anywhere, as JSON, with other cases and further laws; and a course of one's own."""

import json
import sys

import pytest
from learner import REAL, stubs

from minidl.classroom import cli
from minidl.classroom.verdicts import lesson_in, lesson_of

RIGHT_ENTROPY = (
    "def entropy(probabilities, axis=-1):\n    p = np.asarray(probabilities, float)\n"
    "    if p.min() < 0 or not np.allclose(p.sum(axis=axis), 1):\n        raise ValueError(p)\n"
    "    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis)\n"
)
SIGNLESS = RIGHT_ENTROPY.replace("return -", "return ")


def verdicts(capfd, *arguments):
    """The exit code and the submissions of ``check ... --json``."""
    code = cli.main(["check", *map(str, arguments), "--json"], REAL)
    return code, json.loads(capfd.readouterr().out)


def written(path, text, lesson="09"):
    path.write_text(stubs(lesson) + "\n\n" + text, encoding="utf-8")
    return path


def test_files_anywhere_are_checked_with_points_and_nothing_is_written_beside_them(tmp_path, capfd):
    good, bad = written(tmp_path / "smith.py", RIGHT_ENTROPY), written(tmp_path / "lee.py", SIGNLESS)
    code, found = verdicts(capfd, good, bad)
    assert code == 1 and found["version"] == 1 and found["seed"] is None
    first, second = found["submissions"]
    assert (first["file"], first["lesson"], first["points"], first["max_points"]) == (str(good), "09", 1, 10)
    assert [row["status"] for row in first["exercises"]] == ["missing", "passed", "missing", "missing"]
    row = second["exercises"][1]
    assert (row["number"], row["status"], row["points"]) == ("09.2", "failed", 0)
    assert row["looks_like"] == ["the sign is missing"] and row["law"] == "the entropy is between 0 and log K"
    assert row["laws"] == len(row["tried"]) and row["held"] == sum(held for _, held in row["tried"]) < 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lee.py", "smith.py"]


def test_a_number_beside_files_chooses_the_exercise_and_partial_counts_laws(tmp_path, capfd):
    bad = written(tmp_path / "lee.py", SIGNLESS)
    code, found = verdicts(capfd, bad, "09.2", "--partial")
    (row,) = found["submissions"][0]["exercises"]
    assert code == 1 and row["points"] == round(row["held"] / 7, 2) > 0


def test_without_json_the_usual_text_is_printed(tmp_path, capfd):
    good = written(tmp_path / "smith.py", RIGHT_ENTROPY)
    assert cli.main(["check", str(good), "09.2"], REAL) == 0
    assert capfd.readouterr().out.startswith("09.2 entropy   all 7 laws hold")


@pytest.mark.parametrize(
    "text, status, message",
    [
        ("1 / 0\n", "crashed", "importing it raises ZeroDivisionError: division by zero"),
        ("import os\nos._exit(3)\n", "crashed", "it ended the whole process (exit code 3)"),
        ("while True: pass\n", "timeout", "importing it takes more than 2 s"),
        ("def entropy(p, axis=-1):\n    while True: pass\n", "timeout", "still running after 2 s"),
        ("import os\ndef entropy(p, axis=-1):\n    os._exit(3)\n", "crashed", "it ended the whole process"),
        ("del entropy\n", "missing", "the file has no entropy"),
        ("from minidl.train.calibration import entropy\n", "library", "this is the library's own entropy"),
    ],
)
def test_each_end_has_its_word(tmp_path, capfd, text, status, message):
    bad = written(tmp_path / "lee.py", text)
    code, found = verdicts(capfd, bad, "09.2", "--limit", "2")
    (row,) = found["submissions"][0]["exercises"]
    assert (code, row["status"], row["points"], row["max_points"]) == (1, status, 0, 1)
    assert row["message"].startswith(message)


SOFTMAX, ENTROPY = "def stable_softmax(z):\n    pass\n", "def entropy(p):\n    pass\n"
DOC = '"""Exercises of lesson 12. Replace"""\n'
OTHER = "def filter_norms(x):\n    pass\n"


@pytest.mark.parametrize(
    "name, text, lesson",
    [
        ("hw02_clara", SOFTMAX + ENTROPY, "09"),  # the functions, whatever the name is
        ("02_convolution", "import numpy as np\n" + RIGHT_ENTROPY, "09"),
        ("x", DOC + ENTROPY, "12"),  # the docstring before them
        ("x", DOC + "# 09.2 entropy: a, minidl 1, reference 0123456789ab\n", "09"),  # the mark before it
        ("x", DOC.replace("12", "77") + ENTROPY, "09"),
        ("x", ENTROPY + OTHER, ""),  # one of each of two lessons
        ("x", ENTROPY + SOFTMAX + OTHER, "09"),
        ("x", "    def entropy(p): pass\n", ""),  # a method
        ("x", "def helper(p): pass\n", ""),
        ("hw02_clara", "def helper(p): pass\n", ""),
        ("smith_09", "", ""),
        ("temperature", "", ""),
        ("smith_09_temperature-2", "def helper(p): pass\n", "09"),
    ],
)  # fmt: skip
def test_a_files_lesson_is_that_of_its_text_before_that_of_its_name(name, text, lesson):
    assert lesson_in(REAL, text, name) == lesson


def test_the_lesson_is_told_by_the_stubs_the_name_or_the_option(tmp_path, capfd):
    named = {"x.py": stubs("12"), "hw_09_temperature.py": "", "Smith-09_Temperature (1).py": "", "h.py": ""}
    for name, text in named.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    paths = [tmp_path / name for name in named]
    assert [lesson_of(REAL, path) for path in paths[:3]] == ["12", "09", "09"]
    assert cli.main(["check", str(paths[3])], REAL) == 2
    assert (
        "the text and the name do not show the lesson: choose it with --lesson NN" in capfd.readouterr().err
    )
    code, found = verdicts(capfd, paths[3], "--lesson", "9")
    assert code == 1 and {row["status"] for row in found["submissions"][0]["exercises"]} == {"missing"}
    assert cli.main(["check", str(tmp_path / "nobody.py")], REAL) == 2
    assert "nobody.py: No such file" in capfd.readouterr().err


def test_further_laws_and_points_come_from_a_file(tmp_path, capfd):
    good = written(tmp_path / "smith.py", RIGHT_ENTROPY)
    laws = tmp_path / "laws.py"
    laws.write_text(
        'POINTS = {"09.2": 2.5}\n\n'
        '@find("09.2").law("nobody can keep this")\ndef impossible(entropy):\n'
        '    assert entropy([1.0, 0.0]) > 0, "by design"\n'
    )
    code, found = verdicts(capfd, good, "09.2", "--laws", laws)
    (row,) = found["submissions"][0]["exercises"]
    assert (code, row["laws"], row["held"], row["law"]) == (1, 8, 7, "nobody can keep this")
    assert (row["message"], row["points"], row["max_points"]) == ("by design", 0, 2.5)
    for text, said in [
        ('POINTS = {"09.2": -1}\n', "must be a dict of plain numbers"),
        ("POINTS = (\n", "is not Python"),
    ]:
        laws.write_text(text)
        assert cli.main(["check", str(good), "09.2", "--laws", str(laws)], REAL) == 2
        assert said in capfd.readouterr().err


def test_a_seed_draws_other_cases_and_the_same_ones_again(tmp_path, capfd):
    told = "import hashlib\nseen = hashlib.sha256()\n"  # of what was asked, which decides when it goes wrong
    body = (
        "    seen.update(p.tobytes())\n    if seen.digest()[0] < 3:\n"
        "        raise ValueError(seen.hexdigest())\n    return -"
    )
    path = written(tmp_path / "lee.py", told + RIGHT_ENTROPY.replace("    return -", body))
    found = []
    for options in ([], ["--seed", "1"], ["--seed", "1"], ["--seed", "2"]):
        code, said = verdicts(capfd, path, "09.2", *options)
        found.append(json.dumps({**said["submissions"][0]["exercises"][0], "seconds": 0}))
        assert said["seed"] == (int(options[1]) if options else None)
    assert found[1] == found[2] and len(set(found)) == 3


OWN = """
import numpy as np

from minidl.classroom.compare import assert_close
from minidl.classroom.exercise import Exercise


def double(x: np.ndarray) -> np.ndarray:
    \\"\\"\\"Twice x.\\"\\"\\"
    return 2 * x


twice = Exercise("01.1", double, points=4, hints=("Add x to x.",))


@twice.law("1 and 2 give 2 and 4")
def worked(double):
    assert_close(double(np.array([1.0, 2.0])), [2.0, 4.0])
""".replace('\\"', '"')


@pytest.mark.parametrize("name", ["my_course", "lessons"])
def test_a_course_of_ones_own_works_with_every_verb_and_names_itself(tmp_path, capfd, monkeypatch, name):
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    folder = tmp_path / name
    (folder / "exercises").mkdir(parents=True)
    (folder / "01_doubling.py").write_text('"""01 Doubling"""\n')
    (folder / "exercises" / "ex01_doubling.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    if name == "lessons":
        assert cli.main(["--course", name], REAL) == 2
        assert "give lessons an __init__.py or another name" in capfd.readouterr().err
        (folder / "__init__.py").touch()
    command = f"python -m lessons --course {name}"

    def said(code, *arguments):
        assert cli.main(list(arguments), REAL) == code
        return "".join(capfd.readouterr())

    assert said(0, "--course", name).endswith(
        f"next: {command} run 01  to read the lesson, then  {command} start 01\n"
    )
    assert f"{command} check 01.1" in said(0, "--course", name, "start", "01")
    work = tmp_path / "work" / "01_doubling.py"
    assert f"{command} debug 01.1" in work.read_text()
    assert "not written yet" in said(1, "check", "--course", name)
    work.write_text("def double(x):\n    return x\n")
    text = said(1, "--course", name, "check", "01")
    assert f"step into it = {command} debug 01.1" in text and str(work) in text
    assert said(2, "--course", name, "check", "02") == f"there is no lesson 02 in {name}; there are 01\n"
    work.write_text("def double(x):\n    return x + x\n")
    assert "all 1 law hold" in said(0, "check", "01", "--course", name)
    (row,) = json.loads(said(0, "--course", name, "check", str(work), "--json"))["submissions"]
    assert (row["points"], row["max_points"]) == (4, 4)


def test_what_is_no_course_is_refused(tmp_path, capfd):
    assert cli.main(["--course", str(tmp_path), "check"], REAL) == 2
    assert "is no course: a course has lessons NN_topic.py and a folder exercises" in capfd.readouterr().err
    folder = tmp_path / "course 2"
    (folder / "exercises").mkdir(parents=True)
    (folder / "01_x.py").write_text("")
    assert cli.main(["--course", str(folder)], REAL) == 2
    assert "has a name that Python can import, such as my_course, got 'course 2'" in capfd.readouterr().err
