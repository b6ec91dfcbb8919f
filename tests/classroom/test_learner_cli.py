"""The command line as a learner uses it, from the stub to the solution."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from learner import write_work

from minidl.classroom import cli, record
from minidl.classroom.stubs import source
from minidl.engine.reduce import stable_softmax

WRONG = (
    "def stable_softmax(z, axis=-1, temperature=1.0):\n"
    "    if not 0 < temperature < np.inf:\n        raise ValueError(temperature)\n"
    "    p = np.exp((z - z.max()) / temperature)\n    return p / p.sum()\n"
)
RIGHT = WRONG.replace("z.max()", "z.max(axis=axis, keepdims=True)").replace(
    "p.sum()", "p.sum(axis=axis, keepdims=True)"
)
STUCK = "import time\ndef entropy(probabilities, axis=-1):\n    while True:\n        time.sleep(0.01)\n"


@pytest.fixture
def lessons(course, checks_here, capfd):
    """Run a command here: (exit code, what it prints, what it complains about)."""

    def run(*arguments):
        code = cli.main(list(arguments), course)
        out, err = capfd.readouterr()
        return code, out, err

    return run


def is_solution(code, text, _):
    """Whether the text runs by itself, and ends with the library's."""
    defined = {}
    exec(text, defined)
    halves = defined["stable_softmax"](np.zeros((1, 2)))
    return code == 0 and text.endswith(source(stable_softmax)) and halves.tolist() == [[0.5, 0.5]]


def test_from_the_stub_to_the_solution(course, lessons):
    assert lessons("start", "9")[:2] == (
        0,
        "wrote work/09_temperature.py\n"
        "next: write stable_softmax there, then  python -m lessons check 09.1\n",
    )
    code, out, _ = lessons("check", "9.1")
    assert (code, out) == (1, "09.1 stable_softmax   not written yet: it raises NotImplementedError\n")

    write_work(course, "09", WRONG)
    code, out, _ = lessons("check", "09.1")
    assert code == 1
    assert re.fullmatch(
        r"""09.1 stable_softmax   law "each row sums to 1"   FAILS   work/09_temperature.py:\d+, \d+ calls
  z            = \[\[0.\], \[0.\]\]   \(2×1 float64\)
  temperature  = 1
  call         = stable_softmax\(\[\[0.\], \[0.\]\], temperature=1\)
  yours        = \[\[0.5\], \[0.5\]\]
  2 of 2 elements differ, most at \[0\]: yours 0.5, expected 1
      yours    = \[0.5, 0.5\]
      expected = \[1., 1.\]
  looks like   = sums over all numbers instead of each row
  step into it = python -m lessons debug 09.1
""",
        out,
    ), out
    assert lessons("solution", "09.1") == (
        1,
        "",
        "09.1 does not pass yet. Option --anyway shows the solution now\n",
    )

    write_work(course, "09", RIGHT)
    code, out, _ = lessons("check", "9.1")
    assert code == 0
    assert re.fullmatch(r"09.1 stable_softmax   all 7 laws hold   \d+ calls\n", out)
    assert is_solution(*lessons("solution", "09.1"))
    assert "write entropy in work/09_temperature.py, then  python -m lessons check 09.2" in lessons()[1]


def test_check_without_a_number_checks_what_was_started_and_fails_if_any_does(course, lessons):
    assert lessons("check") == (
        2,
        "",
        "no lesson was started yet: python -m lessons start NN writes a lesson's stubs\n",
    )
    write_work(course, "09", RIGHT)
    write_work(course, "02", "")
    code, out, _ = lessons("check")
    assert code == 1
    both = ["02.1", "02.2", "02.3", "02.4", "09.1", "09.2", "09.3", "09.4"]
    assert [line[:4] for line in out.splitlines()] == both
    assert lessons("check", "09.1", "9.2")[1].count("\n") == 2


def test_the_librarys_frames_are_shown_when_asked_for_and_not_else(course, lessons):
    write_work(course, "09", WRONG)
    plain, asked = lessons("check", "9.1")[1], lessons("check", "9.1", "--traceback")[1]
    for word in ("Traceback", "hypothesis", "exercise.py", "compare.py"):
        assert word not in plain and word in asked


def test_a_file_that_is_not_python_is_told_once_and_costs_no_progress(course, lessons):
    write_work(course, "09", RIGHT)
    lessons("check", "9.1")
    write_work(course, "09", "def f(:\n")
    code, out, _ = lessons("check", "9")
    assert code == 1
    assert re.match(r"09_temperature.py   FAILS   work/09_temperature.py\n  line \d+ is not Python: ", out)
    assert out.count("FAILS") == 1
    listed = lessons()[1]
    assert (
        "[#---]   09 " in listed
        and "09.1 stable_softmax: softmax with a temperature   2 points" in listed
        and "minutes   done, changed since\n" in listed
    )


def test_after_a_reset_nothing_of_the_lesson_is_done(course, lessons):
    write_work(course, "09", RIGHT)
    lessons("check", "9")
    lessons("hint", "9.1")
    lessons("start", "09", "--reset")
    listed = lessons()[1]
    assert "[----]   09 " in listed
    assert "09.1 stable_softmax: softmax with a temperature   2 points, ●" in listed
    assert lessons("solution", "09.1")[0] == 1
    assert lessons("hint", "9.1")[1].startswith("1 of 3") and "2 of 3" in lessons("hint", "9.1")[1]


@pytest.mark.parametrize("numbers", [["9", "9.1"], ["9.1", "9"]])
def test_a_lesson_asked_for_as_a_whole_is_checked_whole(course, lessons, numbers):
    write_work(course, "09", RIGHT)
    out = lessons("check", *numbers)[1]
    assert [line[:4] for line in out.splitlines()] == ["09.1", "09.2", "09.3", "09.4"]


@pytest.mark.parametrize("seconds", ["0", "-3", "nan", "inf", "x"])
def test_a_limit_that_is_no_time_is_refused(lessons, capfd, seconds):
    with pytest.raises(SystemExit) as stop:
        lessons("check", "09", "--limit", seconds)
    assert stop.value.code == 2
    assert f"a law's limit is a number of seconds above 0, got '{seconds}'" in capfd.readouterr().err


def test_hints_come_one_more_each_time(course, lessons):
    hints = course.exercise("09.1").hints
    for count in (1, 2, 3, 3):
        code, out, _ = lessons("hint", "9.1")
        assert code == 0
        assert [line for line in out.splitlines() if " of 3  " in line] == [
            f"{i} of 3  {text}" for i, text in enumerate(hints[:count], 1)
        ]
        assert ("That is all" in out) == (count == 3)


def test_the_solution_is_there_anyway_if_one_insists(lessons):
    assert is_solution(*lessons("solution", "09.1", "--anyway"))


def test_the_list_shows_what_is_done_and_what_is_next(course, lessons):
    assert (
        "next: python -m lessons run 01  to read the lesson, then  python -m lessons start 01" in lessons()[1]
    )
    write_work(
        course, "09", RIGHT + "def entropy(probabilities, axis=-1):\n    return probabilities[0] * 0\n"
    )
    lessons("check", "9")
    out = lessons()[1]
    effort = {exercise.number: exercise.effort for exercise in course.exercises("09")}
    softmax = f"            09.1 stable_softmax: softmax with a temperature   {effort['09.1']}   done\n"
    assert f"[#---]   09  A title\n{softmax}" in out
    assert f"            09.2 entropy: how undecided an answer is   {effort['09.2']}   0 of 7 laws\n" in out
    assert "[------] 01  A title\n" in out
    assert "next: write entropy in work/09_temperature.py" in out


def test_damaged_progress_is_made_anew_before_the_list_is_shown(course, lessons):
    write_work(course, "09", RIGHT)
    (course.work / "progress.json").write_text("?")
    _, out, err = lessons()
    assert err.startswith("work/progress.json is damaged (")
    effort = course.exercise("09.1").effort
    assert f"09.1 stable_softmax: softmax with a temperature   {effort}   done" in out


def test_the_solution_is_shown_for_what_passes_whatever_was_kept_of_it(course, lessons):
    write_work(course, "09", RIGHT)
    assert is_solution(*lessons("solution", "09.1"))
    (course.work / "progress.json").write_text("?")
    assert is_solution(*lessons("solution", "09.1"))
    write_work(course, "09", WRONG)
    assert lessons("solution", "09.1")[0] == 1
    write_work(course, "09", RIGHT)
    assert lessons("solution", "09.1")[0] == 0
    course.work_file("09").unlink()
    assert lessons("solution", "09.1")[0] == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["start", "99"], "there is no lesson 99; there are 00, 01, "),
        (["check", "99"], "there is no lesson 99; there are 00, 01, "),
        (["check", "09"], "work/09_temperature.py is not there yet: start 09 writes it"),
        (["debug", "09.1"], "work/09_temperature.py is not there yet: start 09 writes it"),
        (["hint", "09.8"], "there is no exercise 09.8; lesson 09 has 09.1 stable_softmax, 09.2 entropy"),
        (["solution", "98.1"], "there is no lesson 98; there are 00, 01, "),
    ],
)
def test_what_is_not_there_is_named_beside_what_is(lessons, arguments, message):
    code, out, err = lessons(*arguments)
    assert (code, out) == (2, "") and message in err


@pytest.mark.parametrize(
    "arguments",
    [
        *(["start", "one"], ["hint", "09"], ["check", "--limit", "x"], ["hint"], ["nothing"]),
        *(["check", "abc"], ["check", "-1"], ["check", "1.5.2"], ["check", "09", "9.x"]),
    ],
)
def test_a_command_that_makes_no_sense_is_explained(lessons, capfd, arguments):
    with pytest.raises(SystemExit) as stop:
        lessons(*arguments)
    assert stop.value.code == 2
    assert "usage: python -m lessons" in capfd.readouterr().err


@pytest.mark.parametrize("text", ["foo", "02_1", "foo.txt", "9.12"])
def test_check_of_no_number_and_no_file_names_all_that_may_be_checked(lessons, capfd, text):
    with pytest.raises(SystemExit):
        lessons("check", text)
    assert f"a number is like 09 or 09.1, and a file ends in .py, got '{text}'" in capfd.readouterr().err


def test_where_the_case_cannot_be_kept_the_verdict_stands(course, lessons):
    write_work(course, "09", WRONG)
    (course.work / "replay").write_text("a file where the folder must be")
    code, out, _ = lessons("check", "09.1")
    assert code == 1 and "looks like   = sums over all numbers instead of each row" in out
    assert out.count("the case could not be kept for debug: ") == 1 and "step into it" not in out


def test_where_the_progress_cannot_be_kept_the_verdicts_stand(course, lessons, monkeypatch):
    def refuse(path, text):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(record, "write_text", refuse)
    write_work(course, "09", RIGHT)
    code, out, err = lessons("check", "09.1", "09.2")
    assert code == 1 and "all 7 laws hold" in out and "09.2 entropy   not written yet" in out
    assert err.count("the progress could not be saved: [Errno 13] Permission denied") == 2
    code, out, err = lessons("hint", "09.1")
    assert (code, out) == (2, "") and err.endswith("progress.json: Permission denied\n")


def test_a_work_folder_that_cannot_be_made_is_named(course, lessons):
    course.work.write_text("a file where the folder must be")
    for arguments in (["start", "09"], ["hint", "09.1"]):
        code, out, err = lessons(*arguments)
        assert (code, out) == (2, "") and str(course.work) in err


def test_start_does_not_overwrite(course, lessons):
    write_work(course, "09", RIGHT)
    code, _, err = lessons("start", "09")
    assert code == 2 and "exists already and is not changed" in err
    assert lessons("start", "09", "--reset")[1].startswith(
        "kept the old one as work/backup/09_temperature_1.py,"
    )


# ---- in separate processes and terminals


def command(course, *arguments):
    code = "import sys; from pathlib import Path; from minidl.classroom.cli import *; "
    code += "exit(main(sys.argv[2:], Course(Path(sys.argv[1]))))"
    return [sys.executable, "-c", code, str(course.folder), *arguments]


@pytest.mark.parametrize(
    "number, text, shown", [("09.1", WRONG, "sums over all numbers"), ("09.2", STUCK, "a loop without end")]
)
def test_debug_steps_into_the_learners_function(course, number, text, shown):
    write_work(course, "09", text)
    steps = "s\n" * (4 if sys.version_info >= (3, 13) else 2)
    session = subprocess.run(
        command(course, "debug", number, "--limit", "2"),
        input=f"{steps}w\nq\n",
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert shown in session.stdout
    assert session.stdout.index(shown) < session.stdout.index("(Pdb)")
    assert f"work{os.sep}09_temperature.py" in session.stdout.split("(Pdb)", 1)[1]
    assert "Traceback" not in session.stderr


def test_there_is_nothing_to_debug_in_what_passes(course, lessons):
    write_work(course, "09", RIGHT)
    code, out, _ = lessons("debug", "09.1")
    assert code == 0 and "all 7 laws hold" in out and "Pdb" not in out


def test_a_reader_who_stops_reading_is_no_error(course):
    with subprocess.Popen(command(course), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def in_a_terminal(command, **more):
    import pty

    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    subprocess.run(command, stdout=theirs, stderr=theirs, env={**env, "TERM": "xterm", **more}, check=False)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # Linux raises this if the other end is closed
        pass
    os.close(ours)
    return shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_colours_are_for_terminals_that_want_them(course):
    write_work(course, "09", WRONG)
    check = command(course, "check", "09.1")
    coloured = in_a_terminal(check)
    assert "\033[31mFAILS\033[0m" in coloured and "\033[33msums over all numbers" in coloured
    for quiet in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        shown = in_a_terminal(check, **quiet)
        assert "FAILS" in shown and "\033" not in shown
    piped = subprocess.run(check, capture_output=True, text=True, encoding="utf-8")
    assert "FAILS" in piped.stdout and "\033" not in piped.stdout
