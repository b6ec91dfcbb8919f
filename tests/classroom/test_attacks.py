"""Hostile files: none passes, none stays, and each costs its own exercise alone."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from attacks import ATTACKS
from learner import REAL, write_work

from minidl.classroom import processes
from minidl.classroom.check import check_exercise, check_lesson
from minidl.classroom.course import Course
from minidl.classroom.on_terminal import outcome_text

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits are those of Linux")


@pytest.mark.slow  # each of them has a process of its own
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_earns_nothing_and_is_named(course, attack):
    write_work(course, "09", attack.source)
    before = set(course.root.rglob("*"))
    outcome = check_exercise(course, "09.2", attack.seconds)
    assert not outcome.passed and outcome.held < 7
    assert any(words in outcome.message for words in attack.seen), outcome
    new = set(course.root.rglob("*")) - before
    assert {path.name for path in new} <= {"replay", "09_2.py", "out", "check", "09_2.png"}


SOFTMAX = (
    "def stable_softmax(z, axis=-1, temperature=1.0):\n"
    "    if not 0 < temperature < np.inf:\n        raise ValueError(temperature)\n"
    "    p = np.exp((z - z.max(axis=axis, keepdims=True)) / temperature)\n"
    "    return p / p.sum(axis=axis, keepdims=True)\n"
)


def test_a_hostile_exercise_does_not_change_the_result_of_another(course):
    forged = next(attack for attack in ATTACKS if attack.name == "a forged frame")
    write_work(course, "09", forged.source + SOFTMAX)
    softmax, entropy, error, _ = check_lesson(course, "09")
    assert softmax.passed and not entropy.passed
    assert not error.passed and not error.written


def alive(pid):
    return processes.stat_of(pid)[:1] not in ([], ["Z"])


def all_gone(pids, seconds=10.0):
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


FAMILY = (
    "import os, sys, time\ndef say():\n    os.write(2, b'%d\\n' % os.getpid())\n    time.sleep(60)\n"
    "for _ in range(2):\n    if os.fork() == 0:\n        os.setsid()\n        os.fork()\n        say()\n"
    "time.sleep(0.3)\ndef entropy(probabilities, axis=-1):\n    LAST\n"
)


@pytest.mark.parametrize("last", ["return 0.5", "os._exit(0)", "raise KeyboardInterrupt"])
def test_children_and_grandchildren_in_sessions_of_their_own_are_ended_with_the_exercise(
    course, monkeypatch, tmp_path, last
):
    (tmp_path / "temporary").mkdir(mode=0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    write_work(course, "09", FAMILY.replace("LAST", last))
    outcome = check_exercise(course, "09.2")
    pids = [int(word) for word in outcome.printed.split() if word.isdigit()]
    assert not outcome.passed and len(pids) == 4
    assert all_gone(pids, 0.5)
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_all_processes_go_with_the_one_that_checks(course, tmp_path, monkeypatch, how):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    loop = FAMILY.replace("LAST", "while True:\n        try: time.sleep(9)\n        except: pass")
    write_work(course, "09", loop)
    code = "import signal, sys; from pathlib import Path; from minidl.classroom.cli import *; "
    code += "signal.signal(signal.SIGHUP, signal.SIG_DFL); "  # nohup pytest would leave it ignored
    code += f"exit(main(sys.argv[1:], Course(Path({str(course.folder)!r}))))"
    command = [sys.executable, "-c", code, "check", "09.2", "--limit", "60"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as check:
        end, family = time.monotonic() + 30, []
        while len(family) < 6 and time.monotonic() < end:  # the worker, one that answers, four that stray
            time.sleep(0.2)
            family = processes.descendants(check.pid, set())
        check.send_signal(how)
        check.wait(20)
        assert all_gone([check.pid, *family])
    assert not list((tmp_path / "temporary").iterdir())
    assert len(family) >= 6


def test_asserts_of_laws_hold_also_where_python_is_told_to_leave_them_out(course, monkeypatch):
    (course.folder / "bare.py").write_text(BARE, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(course.folder), str(REAL.root)]))
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    write_work(course, "09", "def entropy(probabilities, axis=-1):\n    return 0.5\n")
    monkeypatch.syspath_prepend(course.folder)
    outcome = check_exercise(Course(course.folder, "bare"), "09.1")
    assert not outcome.passed and outcome.message == "does not hold: assert entropy(1.0) == 1"


BARE = (
    "from minidl.classroom.exercise import Exercise\nfrom minidl.train.calibration import entropy\n"
    "task = Exercise('09.1', entropy, points=1, hints=('a',))\n"
    "@task.law('is one')\ndef one(entropy):\n    assert entropy(1.0) == 1\n"
    "def all_exercises(lesson=''):\n    return [task]\n"
)


def test_escape_sequences_of_a_learner_are_shown_and_not_obeyed(course):
    text = "def entropy(probabilities, axis=-1):\n    print('\\x1b[2J')\n"
    text += "    raise ValueError('\\x1b]0;a\\x07\\u202e')\n"
    write_work(course, "09", text)
    outcome = check_exercise(course, "09.2")
    shown = outcome_text(outcome, "work/09", with_traceback=True)
    assert "\\x1b]0;a\\x07\\u202e" in shown and "\\x1b[2J" in shown
    assert all(c.isprintable() or c == "\n" for c in shown)


def test_hypothesis_leaves_no_folder_in_that_of_the_learner(course):
    write_work(course, "09", SOFTMAX)
    assert check_exercise(course, "09.1").passed
    assert not list(course.root.rglob(".hypothesis")) and not Path(".hypothesis").exists()


def test_the_librarys_text_read_from_disk_is_not_stopped_and_the_teacher_is_told(course):
    text = (
        "import minidl.train.calibration as m\n_names = dict(vars(m))\n"
        "exec(compile(open(m.__file__).read(), 'x', 'exec'), _names)\nentropy = _names['entropy']\n"
    )
    write_work(course, "09", text)
    outcome = check_exercise(course, "09.2")
    assert outcome.passed
    assert {"mentions exec", "mentions open", "mentions compile"} <= set(outcome.flags)
