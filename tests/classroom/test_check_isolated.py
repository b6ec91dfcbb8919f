"""The process that a learner's file runs in: whatever it does, its parent has one readable outcome."""

import importlib
import inspect
import os
import sys

import pytest
from learner import ENOUGH, REAL, librarys_text, replayed, write_work

from minidl.classroom import elsewhere
from minidl.classroom.check import CheckError, check_exercise, check_lesson
from minidl.classroom.course import Course

RIGHT_ENTROPY = (
    "def entropy(probabilities, axis=-1):\n    p = np.asarray(probabilities, float)\n"
    "    if p.min() < 0 or not np.allclose(p.sum(axis=axis), 1):\n        raise ValueError(p)\n"
    "    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis)\n"
)
DISEASES = (
    "import os\n"
    "def stable_softmax(z, axis=-1, temperature=1.0):\n"
    "    if not 0 < temperature < np.inf:\n        raise ValueError(temperature)\n"
    "    print('counting')\n"
    "    while True:\n        pass\n"
    "def expected_calibration_error(p, labels, bins=15):\n    print('and then?')\n    os._exit(7)\n\n"
    "def fit_temperature(logits, labels, bounds=(0.05, 20.0)):\n    os.abort()\n\n"
)
SOFTMAX = "def stable_softmax(z, axis=-1, temperature=1.0):\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals have no names there")
def test_a_loop_without_end_an_exit_and_a_crash_each_cost_their_own_exercise_alone(course):
    write_work(course, "09", DISEASES + RIGHT_ENTROPY)
    loop, right, exits, crash = check_lesson(course, "09", seconds=3)
    assert loop.message.startswith("still running after 3 s: a loop without end?")
    assert "\nat line " in loop.message
    assert loop.law.startswith("logits log 1") and loop.call.startswith("stable_softmax([[") and loop.replay
    assert loop.printed == "counting"
    assert right.passed
    assert exits.message == "it ended the whole process (exit code 7)"
    assert exits.law.startswith("confidences 0.9") and "and then?" in exits.printed
    assert crash.message == "it crashed the whole process (SIGABRT)"


@pytest.mark.parametrize(
    "kind",
    ["while True:\n        try:\n            time.sleep(9)", "for _ in 1,:\n        try:\n            1 / 0"],
)
def test_a_loop_that_nothing_interrupts_is_ended_from_outside(course, kind):
    loop = "    while True:\n        try:\n            time.sleep(9)\n        except:\n            pass\n"
    write_work(course, "09", "import time\ndef entropy(probabilities, axis=-1):\n" + loop)
    outcome = check_exercise(course, "09.2", seconds=1)
    assert outcome.message.startswith("still running after 1 s: a loop without end?")
    assert outcome.law.startswith("(1/2, 1/2) has the entropy log 2")


def test_a_loop_without_end_at_import_is_the_files_fault(course):
    write_work(course, "09", "while True: pass\n")
    (outcome,) = check_lesson(course, "09", seconds=1)
    assert outcome.number == ""
    assert outcome.message.startswith(
        "importing it takes more than 1 s (if it is only slow: check --limit 60)\nat "
    )
    assert outcome.message.endswith(": while True: pass")


@pytest.mark.parametrize("text", ["raise KeyboardInterrupt\n", SOFTMAX + "    raise KeyboardInterrupt\n"])
def test_a_ctrl_c_of_its_own_is_named_and_is_not_the_users(course, text):
    write_work(course, "09", text)
    outcome, *_ = check_lesson(course, "09")
    last = len(course.work_file("09").read_text().splitlines())
    assert outcome.message == f"it raises KeyboardInterrupt\nat line {last}: raise KeyboardInterrupt"


def test_an_exit_at_import_that_nothing_catches_is_the_files_fault(course):
    write_work(course, "09", "import os\nos._exit(0)\n")
    (outcome,) = check_lesson(course, "09")
    assert (outcome.number, outcome.message) == ("", "it ended the whole process (exit code 0)")


def test_a_flood_of_prints_is_cut_to_its_end_and_prints_are_not_taken_for_findings(course):
    flood = "def entropy(probabilities, axis=-1):\n    print('{\"outcome\": 1}\\n' * 100000, 'the end')\n"
    write_work(course, "09", flood)
    outcome = check_exercise(course, "09.2")
    assert outcome.message == "entropy returned None: is a return missing?"
    assert outcome.printed.endswith("the end") and len(outcome.printed) <= elsewhere.KEPT


@pytest.mark.parametrize(
    "number, text",
    [
        (
            "09.1",
            "from minidl.engine import reduce\n"
            + SOFTMAX
            + "    return reduce.stable_softmax(z, axis, temperature)\n",
        ),
        ("01.1", "from minidl.engine import elementwise\nclass Mul(elementwise.Mul):\n    pass\n"),
        (
            "02.2",
            "from minidl.engine import kernels\ndef im2col(image, kernel_size, stride, dilation, columns):\n"
            "    kernels.im2col(image, kernel_size, stride, dilation, columns)\n",
        ),
    ],
)
def test_an_answer_that_calls_the_librarys_own_function_is_told_and_does_not_pass(course, number, text):
    write_work(course, number[:2], text)
    outcome = check_exercise(course, number)
    assert outcome.library_calls > 0 and not outcome.passed
    assert outcome.message == f"this calls the library's own {outcome.name}: write it yourself"


@pytest.mark.parametrize("number", ["01.5", "02.3", "05.4", "09.3", "12.5", "13.4", "17.2", "18.2"])
def test_a_right_answer_of_each_kind_passes_under_the_limits(course, number):
    write_work(course, number[:2], librarys_text(REAL.exercise(number)))
    outcome = check_exercise(course, number)
    assert outcome.passed, outcome
    assert outcome.held == outcome.laws and outcome.library_calls == 0 and outcome.printed == ""


@pytest.mark.slow
@pytest.mark.parametrize("lesson", sorted({exercise.number[:2] for exercise in REAL.exercises()}))
def test_the_right_answers_to_a_lesson_pass_under_the_limits(course, lesson):
    text = inspect.getsource(importlib.import_module(f"tests.lessons.right_answers.lesson_{lesson}"))
    _, _, answers = text.partition("from __future__ import annotations\n")
    declared = "from tests.lessons.right_answers.declare import right\n"
    assert declared in answers
    answers = answers.replace(declared, "def right(number):\n    return lambda answer: answer\n")
    write_work(course, lesson, answers)
    assert [f"{o.number}: {o.message}" for o in check_lesson(course, lesson) if not o.passed] == []


def test_a_mistake_of_an_op_is_recognised_and_replayed_from_another_process(course, monkeypatch):
    text = "from minidl.engine.op import unbroadcast\nclass Mul(Op):\n    def forward(self, a, b):\n"
    text += "        self.a, self.b = a, b\n        return a * b\n    def backward(self, grad):\n"
    text += (
        "        return unbroadcast(grad * self.a, self.a.shape), unbroadcast(grad * self.b, self.b.shape)\n"
    )
    write_work(course, "01", text)
    outcome = check_exercise(course, "01.1")
    assert outcome.looks_like == ["each input got its own value instead of the other's"]
    printed, stops = replayed(course.root / outcome.replay, monkeypatch)
    assert stops == 1 and outcome.message.splitlines()[0] in printed


def test_an_answer_cannot_raise_the_recursion_limit(course):
    text = "import sys\ndef topological_order(root, parents_of):\n    sys.setrecursionlimit(100_000)\n"
    text += "    found = {}\n    def visit(node):\n        for parent in parents_of(node):\n"
    text += "            if parent not in found:\n                visit(parent)\n        found[node] = None\n"
    text += "    visit(root)\n    return list(found)[::-1]\n"
    write_work(course, "01", text)
    outcome = check_exercise(course, "01.4")
    assert not outcome.passed and "RecursionError" in outcome.message


SIMCLR = """from minidl.transfer.contrastive import nt_xent
def simclr_steps(model, images, augment, *, steps, lr, temperature, rng):
    model.train()
    losses = np.empty(steps)
    given = images.copy()
    for i in range(steps):
        views = [augment({kept}, rng) for _ in range(2)]
        loss = nt_xent(model(views[0]), model(views[1]), temperature)
        model.zero_grad()
        loss.backward()
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data - lr * parameter.grad
        losses[i] = loss.item()
    return losses
"""


ONE_ARRAY = "np.copyto(given, images) or given"  # for both views


@pytest.mark.parametrize(
    "kept, said",
    [
        ("images", "simclr_steps changed its input 1"),
        ("given", "elements differ"),
        (ONE_ARRAY, "elements differ"),
    ],
)
def test_an_array_that_a_laws_function_changes_and_returns_is_that_of_the_learners_code(course, kept, said):
    write_work(course, "07", SIMCLR.format(kept=kept))
    outcome = check_exercise(course, "07.5")
    assert outcome.law.startswith("an augmentation changes its images in place"), outcome
    assert said in outcome.message


def test_what_asks_for_input_gets_none(course):
    write_work(course, "09", "def entropy(probabilities, axis=-1):\n    return float(input('?'))\n")
    assert "raised EOFError" in check_exercise(course, "09.2").message


def test_threads_and_exit_functions_of_the_file_do_not_keep_the_check(course):
    text = (
        "import atexit, threading, time\natexit.register(time.sleep, 60)\n"
        "threading.Thread(target=time.sleep, args=[60]).start()\n"
    )
    write_work(course, "09", text + RIGHT_ENTROPY)
    assert check_exercise(course, "09.2", ENOUGH).passed


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system may refuse to set the limit")
def test_memory_without_end_is_an_error_like_others(course):
    # 6 GB
    write_work(course, "09", "def entropy(probabilities, axis=-1):\n    return np.empty(6 * 2**27)[:0]\n")
    assert "MemoryError: Unable to allocate 6.00 GiB" in check_exercise(course, "09.2").message


def test_the_file_is_read_anew_by_each_check_whatever_its_date(course):
    write_work(course, "09", "")
    path = course.work_file("09")
    before = path.stat()
    assert not check_exercise(course, "09.2").written
    write_work(course, "09", RIGHT_ENTROPY)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert check_exercise(course, "09.2", ENOUGH).passed
    assert not list(course.work.glob("**/*.pyc"))


def test_the_kernels_stay_uncompiled_and_numba_out(course):
    text = (
        "import sys\nimport minidl.nn.functional as F\nfrom minidl import Tensor\n"
        "def col2im(columns, kernel_size, stride, dilation, image):\n"
        "    F.conv2d(Tensor(np.ones((1, 1, 3, 3))), Tensor(np.ones((1, 1, 2, 2))))\n"
        "    return 'numba' in sys.modules\n"
    )
    write_work(course, "02", "import numpy as np\n" + text)
    assert check_exercise(course, "02.3").message.startswith("col2im returned False")


def test_unknown_numbers_and_lessons_not_begun_are_refused(course):
    with pytest.raises(
        FileNotFoundError, match="work/09_temperature.py is not there yet: start 09 writes it"
    ):
        check_exercise(course, "09.1")
    with pytest.raises(ValueError, match="there is no lesson 99; there are 00, 01, "):
        check_exercise(course, "99.1")
    write_work(course, "09", "")
    with pytest.raises(
        ValueError, match=r"there is no exercise 09.7; lesson 09 has 09.1 stable_softmax, 09.2"
    ):
        check_exercise(course, "09.7")


def test_a_checker_that_does_not_start_says_why(course):
    write_work(course, "09", "")
    with pytest.raises(CheckError, match="No module named 'of_no_such_name'"):
        check_exercise(Course(course.folder, "of_no_such_name"), "09.1")
