"""``watch`` in a real pseudo-terminal: it checks on save, says what is next, and leaves no trace."""

import os
import signal
import subprocess
import sys

import pytest
from learner import write_work
from terminal import Terminal

from minidl.classroom import cli, watch
from minidl.classroom.check import Outcome
from minidl.classroom.record import Record

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")

WRONG = (
    "def stable_softmax(z, axis=-1, temperature=1.0):\n"
    "    if not 0 < temperature < np.inf:\n        raise ValueError(temperature)\n"
    "    p = np.exp((z - z.max()) / temperature)\n    return p / p.sum()\n"
)
RIGHT = WRONG.replace("z.max()", "z.max(axis=axis, keepdims=True)").replace(
    "p.sum()", "p.sum(axis=axis, keepdims=True)"
)
STUCK = (
    "import time\ndef stable_softmax(z, axis=-1, temperature=1.0):\n"
    "    if not 0 < temperature < np.inf:\n        raise ValueError(temperature)\n"
    "    while True:\n        time.sleep(0.01)\n"
)
GREY = "\033[2m"


def watching(course, *arguments):
    code = "import sys; from pathlib import Path; from minidl.classroom.cli import *; "
    code += "exit(main(sys.argv[2:], Course(Path(sys.argv[1]))))"
    return [sys.executable, "-c", code, str(course.folder), "watch", *arguments]


def test_each_save_is_checked_and_the_next_thing_said(course):
    write_work(course, "09", WRONG)
    with Terminal(watching(course, "--limit", "500")) as screen:
        assert f"{GREY}checking work/09_temperature.py ..." in screen.until("\033[31mFAILS\033[0m")
        screen.until("looks like")
        assert "09.4" in screen.until("next: ")
        screen.until("write stable_softmax in work/09_temperature.py, then  python -m lessons check 09.1")
        write_work(course, "09", RIGHT)
        screen.until("all 7 laws hold")
        screen.until("next: write entropy in work/09_temperature.py")
        assert screen.settings() == screen.before
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 130
        assert screen.settings() == screen.before
        assert "Traceback" not in screen.shown and screen.shown.endswith("stopped\n")
    assert Record(course).of("09.1")["passed"]


def test_a_file_saved_by_half_deleted_renamed_and_replaced_is_followed_without_colours(course):
    write_work(course, "09", "")
    write_work(course, "08", "")
    path = course.work_file("09")
    whole, aside = path.read_text(encoding="utf-8"), path.with_suffix(".old")
    with Terminal(watching(course, "9", "--limit", "500"), NO_COLOR="1") as screen:
        screen.until("09.1 stable_softmax   not written yet")
        screen.until("next: write stable_softmax")  # 08 is open, too, but the watch is on 09
        path.write_text(whole[: whole.rindex("raise") - 20], encoding="utf-8")
        screen.until("is not Python")
        path.write_text(whole, encoding="utf-8")
        screen.until("next: ")
        path.rename(aside)
        screen.until("work/09_temperature.py is gone: waiting for it to come back\n")
        aside.rename(path)
        screen.until("next: ")
        path.unlink()
        screen.until("is gone")
        path.write_text(whole + WRONG, encoding="utf-8")
        screen.until("FAILS")
        screen.until("next: ")
        other = path.with_name("being_written")
        other.write_text(whole, encoding="utf-8")
        os.replace(other, path)  # as careful editors save
        screen.until("09.1 stable_softmax   not written yet")
        screen.until("next: ")
        write_work(course, "08", "# a line more\n")
        screen.until("checking work/08_warmup_smoothing_noise.py ...\n")
        screen.until("not written yet")
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 130
        assert "\033" not in screen.shown and "Traceback" not in screen.shown


def test_a_save_ends_the_check_of_the_text_before_and_ctrl_c_ends_one_under_way(course):
    write_work(course, "09", WRONG)
    checked = []

    def save_and_go_on(*arguments, **params):
        checked.append(course.work_file("09").read_text(encoding="utf-8"))
        write_work(course, "09", f"# change {len(checked)}\n")
        yield Outcome("09.1", "stable_softmax")
        raise AssertionError("the check goes on")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch, "check_lesson", save_and_go_on)
        watch.check_file(course, course.work_file("09"), 5.0)
    assert len(checked) == 1

    write_work(course, "09", STUCK)
    with Terminal(watching(course, "--limit", "1000")) as screen:
        screen.until("checking work/09")
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 130
        assert screen.shown.endswith("stopped\n")


def test_without_a_terminal_it_checks_on_save_in_plain_text(course):
    write_work(course, "09", "")
    with subprocess.Popen(
        watching(course, "--limit", "500"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        lines = iter(process.stdout.readline, "")
        assert next(line for line in lines if line.startswith("next: "))
        write_work(course, "09", WRONG)
        line = next(line for line in lines if "FAILS" in line)
        assert "\033" not in line
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.returncode == 130


def test_there_must_be_something_to_watch(course, capfd):
    assert cli.main(["watch"], course) == 2
    assert capfd.readouterr().err.startswith("no lesson was started yet: python -m lessons start NN")
    write_work(course, "08", "")
    assert cli.main(["watch", "9"], course) == 2
    assert capfd.readouterr().err == "work/09_temperature.py is not there yet: start 09 writes it\n"
