"""Twelve submissions graded by one run that is killed and goes on, and the reports of it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from xml.etree import ElementTree

import pytest
from learner import REAL, stubs

from minidl.classroom import cli, processes

SOFTMAX = (
    "def stable_softmax(z, axis=-1, temperature=1.0):\n"
    "    if not 0 < temperature < np.inf:\n        raise ValueError(temperature)\n"
)
RIGHT = (
    SOFTMAX + "    p = np.exp((z - z.max(axis=axis, keepdims=True)) / temperature)\n"
    "    return p / p.sum(axis=axis, keepdims=True)\n\n\n"
    "def entropy(probabilities, axis=-1):\n    p = np.asarray(probabilities, float)\n"
    "    if p.min() < 0 or not np.allclose(p.sum(axis=axis), 1):\n        raise ValueError(p)\n"
    "    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis)\n"
)
KIM = (
    "def stable_softmax(z, axis=-1, temperature=1.0):\n"
    "    if not 0 < temperature < np.inf:\n        raise ValueError(temperature)\n"
    "    odds = np.exp( (z - z.max(axis=axis, keepdims=True)) / temperature )  # stable\n"
    "    return odds / odds.sum(axis=axis, keepdims=True)\n\n\n"
    "def entropy(probabilities, axis=-1):\n    share = np.asarray(probabilities, float)\n"
    "    if share.min() < 0 or not np.allclose(share.sum(axis=axis), 1):\n        raise ValueError(share)\n"
    "    return -(share * np.log(np.where(share > 0, share, 1))).sum(axis=axis)\n"
)
WRONG_SUM = SOFTMAX + "    p = np.exp((z - z.max()) / temperature)\n    return p / p.sum()\n"
HTML = "def entropy(p, axis=-1):\n    raise ValueError('<script>alert(1)</script>\\x1b[31m')\n"
MINE = (  # nobody needs it, and two have it
    "def weighted(values):\n    total = 0.0\n    for place, value in enumerate(values):\n"
    "        if value > 0:\n            total += value * (place + 1)\n"
    "        elif value < -1:\n            total -= value / (2 * place + 1)\n"
    "        else:\n            total = max(total, value, key=abs)\n    return total if total else None\n"
)
SUBMITTED = {
    "ada.py": RIGHT + MINE,
    "bob.py": RIGHT + WRONG_SUM,
    "cyd loops.py": "def entropy(p, axis=-1):\n    while True: pass\n",
    "dee_exits.py": "import os\ndef entropy(p, axis=-1):\n    os._exit(0)\n",
    "eve.py": "",
    "fay.py": "def f(:\n",
    "=Gül & <b>Co (2).PY": HTML,
    "hal/09_temperature.py": "from minidl.train.calibration import entropy\n",
    "hal/helper.py": "x = 1\n",
    "ida.zip": WRONG_SUM,
    "kim.py": "# all my own work\n" + KIM + MINE.replace("total", "s").replace("value", "x"),
    "lou.py": "x" * 2**20 + "y",
}
PASSED, MISSING, LEFT = "passed", "missing", ["missing", "missing"]  # nobody here writes 09.3 and 09.4
TABLE = {
    "ada": (3, [PASSED, PASSED, *LEFT]),
    "bob": (1, ["failed", PASSED, *LEFT]),
    "cyd loops": (0, [MISSING, "timeout", *LEFT]),
    "dee_exits": (0, [MISSING, "crashed", *LEFT]),
    "eve": (0, ["missing"] * 4),
    "fay": (0, ["crashed"] * 4),
    "=Gül & <b>Co (2)": (0, [MISSING, "failed", *LEFT]),
    "hal": (0, [MISSING, "library", *LEFT]),
    "ida": (0, ["failed", MISSING, *LEFT]),
    "jo": (0, ["missing"] * 4),
    "kim": (3, [PASSED, PASSED, *LEFT]),
    "lou": (0, ["missing"] * 4),
}


def hand_in(folder):
    folder.mkdir()
    for name, text in SUBMITTED.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        whole = (
            text if name in ("eve.py", "fay.py", "lou.py", "hal/helper.py") else stubs("09") + "\n\n" + text
        )
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("../../../evil.py", "raise SystemExit")
                archive.writestr("a folder/Temperature.py", whole)
        else:
            path.write_text(whole, encoding="utf-8")
    os.symlink(folder / "ada.py", folder / "jo.py")
    (folder / "notes.txt").write_text("thanks")


def run(folder, out, *options):
    command = [sys.executable, "-m", "lessons", "grade", str(folder), "--out", str(out), "-j", "2"]
    return subprocess.Popen([*command, *options], cwd=REAL.root, stdout=subprocess.PIPE, text=True)


def lines_of(path):
    return path.read_bytes().splitlines() if path.exists() else []


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The results of a run that is killed after some rows, in the middle of a line, and called once more."""
    root = tmp_path_factory.mktemp("grade")
    hand_in(root / "class")
    out, options = root / "out", ["--limit", "3"]
    with run(root / "class", out, *options) as first:
        while len(lines_of(out / "rows.jsonl")) < 4:
            assert first.poll() is None, first.stdout.read()
            time.sleep(0.05)
        started = processes.descendants(first.pid, set())
        first.send_signal(signal.SIGKILL)
    kept = lines_of(out / "rows.jsonl")
    with (out / "rows.jsonl").open("ab") as file:
        file.write(b'{"key": "cut sh')
    with run(root / "class", out, *options) as second:
        told = second.stdout.read()
    assert second.returncode == 0
    return root / "class", out, kept, told, started


def test_twelve_submissions_have_the_expected_grades(graded):
    out = graded[1]
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = ["09.1", "09.2", "09.3", "09.4"]
    found = {
        row["name"].removeprefix("'"): (float(row["points"]), [row[f"{n} status"] for n in numbers])
        for row in rows
    }
    assert found == TABLE
    assert {row["max_points"] for row in rows} == {"10"}


def test_a_killed_run_goes_on_and_neither_loses_nor_repeats_a_row(graded):
    folder, out, kept, told, _ = graded
    now = lines_of(out / "rows.jsonl")
    assert now[: len(kept)] == kept  # with the settings, and so the seed
    rows = [json.loads(line) for line in now[1:]]
    assert len(rows) == len({row["key"] for row in rows}) == 12
    assert told.startswith(f"lesson 09: {12 - len(kept) + 1} of 12 submissions to check, seed ")
    with run(folder, out, "--limit", "3") as third:
        assert third.stdout.read().startswith("lesson 09: 0 of 12 submissions to check")
    assert lines_of(out / "rows.jsonl") == now


@pytest.mark.skipif(sys.platform == "win32", reason="there a Ctrl-C is no signal")
def test_a_ctrl_c_says_how_many_are_kept_and_that_the_command_goes_on(tmp_path):
    (tmp_path / "class").mkdir()
    for name in ("ada", "bob", "cyd", "dee", "eve", "fay"):
        (tmp_path / "class" / f"{name}.py").write_text(stubs("09"))
    with run(tmp_path / "class", tmp_path / "out") as process:
        while len(lines_of(tmp_path / "out" / "rows.jsonl")) < 2:
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        told = process.stdout.read()
    kept = len(lines_of(tmp_path / "out" / "rows.jsonl")) - 1
    assert process.returncode == 130 and 1 <= kept < 6
    assert told.endswith(
        f"{kept} of 6 submissions are checked and saved: the same command checks the others\n"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are not found so")
def test_the_processes_of_a_killed_run_are_gone(graded):
    started = graded[-1]
    assert len(started) >= 2  # one with the laws, and one that answers
    assert all(processes.stat_of(pid)[:1] in ([], ["Z"]) for pid in started)


def test_what_the_teacher_should_look_at_is_said(graded):
    out = graded[1]
    found = json.loads((out / "results.json").read_text())
    flags = {row["name"]: "; ".join(row["flags"]) for row in found["submissions"]}
    assert "its archive names a file outside of itself: ../../../evil.py" in flags["ida"]
    assert "nearly the same as kim (100%)" in flags["ada"] and "nearly the same as ada" in flags["kim"]
    assert "lou.py is larger than 1024 KB and was not read" in flags["lou"]
    assert flags["bob"] == ""
    messages = {row["name"]: row["exercises"][0]["message"] for row in found["submissions"]}
    assert messages["jo"] == "it is a link, which is not followed"
    assert found["ignored"] == ["notes.txt"]
    assert not (out.parent / "evil.py").exists() and not (out.parents[2] / "evil.py").exists()


def test_the_pages_escape_what_is_a_submissions_and_name_law_mistake_and_command(graded):
    out = graded[1]
    page = (out / "students" / "G_l_b_Co_2.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "\x1b" not in page
    index = (out / "index.html").read_text(encoding="utf-8")
    for text in (page, index):
        assert "<script" not in text and "<b>Co" not in text and "=Gül &amp; &lt;b&gt;Co (2)" in text
    assert "sums over all numbers instead of each row" in index and "each row sums to 1" in index
    assert "each row sums to 1" in (out / "students" / "bob.html").read_text(encoding="utf-8")


def test_the_command_in_the_report_gives_the_same_failure_again(graded, capfd):
    out = graded[1]
    found = json.loads((out / "results.json").read_text())
    (bob,) = [row for row in found["submissions"] if row["name"] == "bob"]
    before = bob["exercises"][0]
    command = before["again"].split()
    assert command[:4] == ["python", "-m", "lessons", "check"] and str(found["seed"]) in command
    assert cli.main([*command[3:], "--json"], REAL) == 1
    (again,) = json.loads(capfd.readouterr().out)["submissions"][0]["exercises"]
    same = ("law", "message", "case", "call", "tried", "looks_like")
    assert [again[name] for name in same] == [before[name] for name in same]
    assert before["looks_like"] == ["sums over all numbers instead of each row"]


def test_the_tables_for_other_programs_can_be_read(graded):
    out = graded[1]
    suites = ElementTree.parse(out / "junit.xml").getroot()
    assert len(suites) == 12 and [len(suite) for suite in suites] == [4] * 12
    assert sum(int(suite.get("failures")) for suite in suites) == 48 - 5
    with (out / "laws.csv").open(encoding="utf-8", newline="") as file:
        broken = [row for row in csv.DictReader(file) if row["holds"] == "no" and row["name"] == "bob"]
    assert "each row sums to 1" in {row["law"] for row in broken}
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        assert "\n=" not in file.read()  # nothing that a spreadsheet would compute


def test_results_of_other_settings_are_not_mixed(graded, capsys):
    folder, out, *_ = graded
    given = ["grade", str(folder), "--out", str(out), "--limit", "3"]
    for more, name in [(["--seed", "1"], "seed"), (["--partial"], "partial"), (["--lesson", "8"], "lesson")]:
        assert cli.main([*given, *more], REAL) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"{out} has results of other settings (") and name in said


FURTHER = (
    "import numpy as np\n\n"
    '@find("09.2").law("a SECRET: of seven equals")\ndef seven(entropy):\n'
    "    assert abs(entropy(np.full(7, 1 / 7)) - np.log(7)) < 1e-9, 'SECRET numbers'\n"
)


def graded_with(laws, tmp_path, text):
    (tmp_path / "class").mkdir(exist_ok=True)
    (tmp_path / "class" / "ada.py").write_text(stubs("09") + "\n\n" + text, encoding="utf-8")
    (tmp_path / "my_laws.py").write_text(laws, encoding="utf-8")
    command = ["grade", str(tmp_path / "class"), "--out", str(tmp_path / "out"), "--seed", "1"]
    return cli.main([*command, "--laws", str(tmp_path / "my_laws.py")], REAL), tmp_path / "out"


def test_further_laws_are_named_to_the_teacher_and_only_counted_for_the_learner(tmp_path):
    entropy = RIGHT[RIGHT.index("def entropy") :]
    wrong = entropy.replace(
        "    p = ", "    if np.size(probabilities) == 7:\n        return 7.25\n    p = ", 1
    )
    code, out = graded_with(FURTHER, tmp_path, RIGHT + "\n\n" + wrong)
    assert code == 0
    page = (out / "students" / "ada.html").read_text(encoding="utf-8")
    assert "SECRET" not in page and "my_laws" not in page and "--laws" not in page and "7.25" not in page
    assert "law: a further law of your teacher" in page and "✗ a further law of your teacher" in page
    assert "check ada.py 09.2" not in page  # without the law it shows nothing
    assert "check ada.py 09.3 --lesson 09 --seed 1" in page
    for name in ("laws.csv", "index.html", "results.json"):
        assert "a SECRET: of seven equals" in (out / name).read_text(encoding="utf-8")
    assert "--laws" in (out / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "laws, said",
    [
        (FURTHER.replace("np.log(7)", "np.log(4)"), "own entropy (09.2) does not keep the law 'a SECRET: of"),
        (FURTHER.replace("np.log(7)", "np.lug(3)"), "own entropy (09.2) does not keep the law 'a SECRET: of"),
        (FURTHER.replace("entropy(np.full(7, 1 / 7))", "np.log(7)"), "0 calls: the law never"),
        ('@fund("09.2")\ndef f(): pass\n', "my_laws.py cannot be run: NameError: name 'fund' is not defined"),
    ],
)  # fmt: skip
def test_a_further_law_that_the_librarys_function_breaks_stops_the_run_before_it_begins(
    laws, said, tmp_path, capsys
):
    before = [len(exercise.laws) for exercise in REAL.exercises()]
    code, out = graded_with(laws, tmp_path, RIGHT)
    assert code == 2 and said in capsys.readouterr().err and not out.exists()
    assert [len(exercise.laws) for exercise in REAL.exercises()] == before


def test_identical_submissions_are_listed_as_one_group(tmp_path):
    (tmp_path / "class").mkdir()
    for name in ("bob", "cyd"):
        (tmp_path / "class" / f"{name}.py").write_text(f"# {name}\n" + stubs("09") + "\n\n" + WRONG_SUM)
    (tmp_path / "class" / "dee.py").write_text(stubs("09"))
    (tmp_path / "class" / "eve.py").write_text(stubs("09"))
    code, out = graded_with("", tmp_path, WRONG_SUM)
    found = json.loads((out / "results.json").read_text())
    assert code == 0 and found["identical"] == [["ada", "bob", "cyd"]] and found["similar"] == []
    flags = {row["name"]: row["flags"] for row in found["submissions"]}
    assert "the same as ada, cyd" in flags["bob"] and flags["dee"] == flags["eve"] == []
    assert "<td>3</td><td>ada, bob, cyd</td>" in (out / "index.html").read_text(encoding="utf-8")
