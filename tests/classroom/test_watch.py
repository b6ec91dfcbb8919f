"""``watch`` in a real pseudo-terminal: it checks on save, obeys single keys, and leaves no trace."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from learner import write_answer
from terminal import Terminal

from minidl.classroom import cli, terminal
from minidl.classroom.progress import Progress
from minidl.classroom.stubs import source
from minidl.engine.reduce import stable_softmax

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")

WRONG = (
    "def stable_softmax(z, axis=-1, temperature=1.0):\n"
    "    p = np.exp((z - z.max()) / temperature)\n    return p / p.sum()\n"
)
RIGHT = WRONG.replace("z.max()", "z.max(axis=axis, keepdims=True)").replace(
    "p.sum()", "p.sum(axis=axis, keepdims=True)"
)
STUCK = (
    "import time\ndef stable_softmax(z, axis=-1, temperature=1.0):\n"
    "    while True:\n        time.sleep(0.01)\n"
)
GREY = "\033[2m"


def watching(course, *arguments):
    code = "import sys; from pathlib import Path; from minidl.classroom.cli import *; "
    code += "exit(main(sys.argv[2:], Course(Path(sys.argv[1]))))"
    return [sys.executable, "-c", code, str(course.folder), "watch", *arguments]


def test_from_a_mistake_to_the_next_exercise_by_single_keys(course):
    write_answer(course, "09", WRONG)
    with Terminal(watching(course)) as screen:
        assert f"{GREY}checking 09.1 stable_softmax ..." in screen.until("\033[31mFAILS\033[0m")
        assert "looks like" in screen.until("h hint   d debug   l list   q quit")
        screen.press("n")
        screen.until("09.1 stable_softmax does not pass yet\n")
        screen.press("s")
        screen.until("09.1 stable_softmax does not pass yet\n")
        screen.press("h")
        screen.until("1 of 3  ")
        screen.press("H")
        screen.until("2 of 3  ")
        screen.press("\033[D")  # the left arrow ends in a D, which is no wish to debug
        screen.press("l")
        screen.until("next: write stable_softmax in work/09_temperature.py")

        write_answer(course, "09", RIGHT)
        screen.until("all 5 laws hold")
        screen.until("n next   h hint   s solution   l list   q quit")
        screen.press("s")
        assert source(stable_softmax) in screen.until("n next")
        screen.press("n")
        screen.until("checking 09.2 entropy ...")
        screen.until("not written yet")
        assert screen.settings() != screen.before
        screen.press("q")
        assert screen.end() == 0
        assert screen.settings() == screen.before
        assert "Traceback" not in screen.shown
    assert Progress(course).of("09.1")["passed"] and Progress(course).of("09.1")["hints"] == 2


def test_a_file_saved_by_half_deleted_renamed_and_replaced_is_followed_without_colours(course):
    write_answer(course, "09", "")
    write_answer(course, "08", "")
    path = course.answers("09")
    whole, aside = path.read_text(encoding="utf-8"), path.with_suffix(".old")
    with Terminal(watching(course, "9"), NO_COLOR="1") as screen:
        screen.until("not written yet")
        path.write_text(whole[: whole.rindex("raise") - 20], encoding="utf-8")
        screen.until("is not Python")
        path.write_text(whole, encoding="utf-8")
        screen.until("not written yet")
        path.rename(aside)
        screen.until("work/09_temperature.py is gone: waiting for it to come back\n")
        screen.press("n")
        screen.until("does not pass yet")
        aside.rename(path)
        screen.until("not written yet")
        path.unlink()
        screen.until("is gone")
        path.write_text(whole + WRONG, encoding="utf-8")
        screen.until("FAILS")
        other = path.with_name("being_written")
        other.write_text(whole, encoding="utf-8")
        os.replace(other, path)  # as careful editors save
        screen.until("not written yet")
        write_answer(course, "08", "# a line more\n")
        screen.until("checking 08.1 warmed_up ...\n")
        screen.until("not written yet")
        screen.press("\4")
        assert screen.end() == 0
        assert "\033" not in screen.shown and "Traceback" not in screen.shown


def test_a_check_under_way_gives_way_to_a_save_and_to_keys(course):
    write_answer(course, "09", STUCK)
    with Terminal(watching(course, "--limit", "1000")) as screen:
        screen.until("checking 09.1")
        screen.press("h")
        screen.until("1 of 3  ")
        write_answer(course, "09", RIGHT)
        screen.until("all 5 laws hold")
        write_answer(course, "09", STUCK)
        screen.until("checking 09.1")
        screen.press("q")
        assert screen.end() == 0


def test_debug_has_the_terminal_to_itself_and_gives_it_back(course):
    write_answer(course, "09", WRONG)
    with Terminal(watching(course)) as screen:
        screen.until("d debug")
        screen.press("d")
        screen.until("(Pdb) ")
        screen.process.send_signal(signal.SIGINT)  # as Ctrl-C does to all: for the debugger, not for us
        screen.press("p z\n")
        assert "array([[0." in screen.until("(Pdb) ")
        screen.press("q\n")
        screen.until("d debug")
        assert screen.settings() != screen.before
        screen.press("q")
        assert screen.end() == 0


def test_ctrl_c_ends_it_and_the_terminal_is_as_before(course):
    write_answer(course, "09", STUCK)
    with Terminal(watching(course, "--limit", "1000")) as screen:
        screen.until("checking 09.1")
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 130
        assert screen.settings() == screen.before
        assert screen.shown.endswith("stopped\n")


def test_an_error_leaves_the_terminal_as_before(monkeypatch):
    import pty
    import termios

    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    with os.fdopen(theirs, "r", closefd=True) as end:
        monkeypatch.setattr(sys, "stdin", end)
        with pytest.raises(ZeroDivisionError), terminal.Keys() as keys:
            assert termios.tcgetattr(theirs) != before
            os.write(ours, b"aB")
            assert keys.wait(10) == "ab" and keys.wait(0) == ""
            raise ZeroDivisionError
        assert termios.tcgetattr(theirs) == before
        os.close(ours)
        assert keys.wait(10) == terminal.QUIT  # the other end is closed


def test_without_a_terminal_it_checks_on_save_in_plain_text(course):
    write_answer(course, "09", "")
    with subprocess.Popen(
        watching(course), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        lines = iter(process.stdout.readline, "")
        shown = next(lines)
        assert shown == "the input is no terminal, so there are no keys: Ctrl-C ends it\n"
        assert next(line for line in lines if "not written yet" in line)
        write_answer(course, "09", WRONG)
        line = next(line for line in lines if "FAILS" in line)
        assert "\033" not in line
        process.send_signal(signal.SIGINT)
        assert "q quit" not in process.stdout.read()
    assert process.returncode == 130


def test_on_windows_keys_come_from_its_own_module(monkeypatch):
    pressed = list("N\xe0K\3")
    console = SimpleNamespace(kbhit=lambda: bool(pressed), getwch=lambda: pressed.pop(0))
    monkeypatch.setitem(sys.modules, "msvcrt", console)
    assert terminal.wait_on_windows(1) == "n"
    assert terminal.wait_on_windows(1) == ""  # an arrow, which comes in two
    with pytest.raises(KeyboardInterrupt):
        terminal.wait_on_windows(1)
    assert terminal.wait_on_windows(0) == ""


def test_there_must_be_something_to_watch(course, capfd):
    assert cli.main(["watch"], course) == 2
    assert capfd.readouterr().err.startswith("nothing was started yet: python -m lessons start NN")
    write_answer(course, "08", "")
    assert cli.main(["watch", "9"], course) == 2
    assert capfd.readouterr().err == "work/09_temperature.py is not there yet: start 09 writes it\n"
