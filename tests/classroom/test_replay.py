"""Replays: values written as text that makes them again, and files that stop before the call."""

import bdb
import contextlib
import io
import os
import runpy
import subprocess
import sys

import numpy as np
import pytest
from learner import check_here, replayed, write_work

from minidl.classroom.compare import assert_equal
from minidl.classroom.reading import function_of, load
from minidl.classroom.replay import NotInlined, literal, write
from minidl.engine.op import unbroadcast
from minidl.train.intervals import Interval

WRONG_SOFTMAX = (
    "def stable_softmax(z, axis=-1, temperature=1.0):\n"
    "    if not 0 < temperature < np.inf:\n        raise ValueError(temperature)\n"
    "    p = np.exp((z - z.max()) / temperature)\n    return p / p.sum()\n"
)


def made_again(value):
    imports = {"import numpy as np"}
    text = literal(value, imports)
    names = {}
    exec("\n".join(sorted(imports)), names)
    return eval(text, names)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, -3, 0.1, float("inf"), "it's", (1,), (), [1, [2.5]], {"a": (1, 2)}, {2, 0}, set()),
        *(np.float32(0.1), np.int64(7), np.bool_(True), np.array(2.5), np.arange(3), np.array([True])),
        np.array([[0.1, np.nan], [-np.inf, 1 / 3]]),
        np.array([0.1, 1 / 3], np.float32),
        np.arange(60.0).reshape(3, 4, 5) / 7,
        np.zeros((2, 0, 3), np.float32),
        np.array([1, 2], np.int8),
        np.array([1 + 2j]),
    ],
    ids=str,
)
def test_a_value_is_made_again_exactly(value):
    again = made_again(value)
    assert type(again) is type(value)
    if isinstance(value, np.ndarray | np.generic):
        assert again.dtype == value.dtype and again.shape == value.shape
        assert again.tobytes() == value.tobytes()
    else:
        assert again == value


def test_a_generator_goes_on_where_it_was():
    rng = np.random.default_rng(3)
    rng.random(5)
    again = made_again(rng)
    assert_equal(again.random(4), rng.random(4))
    old = np.random.Generator(np.random.MT19937(1))
    assert_equal(made_again(old).random(4), old.random(4))


def test_records_functions_of_modules_and_methods_of_values_are_written_by_name():
    again = made_again(Interval(np.float64(0.5), 0.25, 0.75, 3))
    assert type(again) is Interval and again.low == 0.25
    assert made_again(unbroadcast) is unbroadcast
    assert made_again({"x": [1]}.__getitem__)("x") == [1]
    assert made_again(np.dtype("float32")) == np.float32


def test_what_has_no_name_cannot_be_written():
    with pytest.raises(NotInlined, match="cannot be written down"):
        literal(lambda: 0, set())


def test_a_replay_stops_once_before_the_call_and_shows_the_same_failure(course, monkeypatch):
    write_work(course, "09", WRONG_SOFTMAX)
    (outcome,) = check_here(course, "09", "09.1")
    assert outcome.replay == "work/replay/09_1.py"
    lines = (course.root / outcome.replay).read_text(encoding="utf-8").splitlines()
    place = lines.index("breakpoint()")
    assert lines[place - 1 : place + 2] == [
        "z = np.array([[0.0], [0.0]])",
        "breakpoint()",
        "answer = stable_softmax(z, temperature=1.0)",
    ]
    printed, stops = replayed(course.root / outcome.replay, monkeypatch)
    assert stops == 1
    assert 'law "each row sums to 1"   FAILS' in printed
    assert outcome.message.splitlines()[0] in printed


def test_where_the_law_makes_an_overflow_an_error_the_replayed_call_does_too(course, monkeypatch):
    text = WRONG_SOFTMAX.replace("(z - z.max())", "z").replace("p.sum()", "p.sum(axis=axis, keepdims=True)")
    write_work(course, "09", text)
    (outcome,) = check_here(course, "09", "09.1")
    assert outcome.looks_like == ["does not subtract the maximum, which overflows"]
    printed, stops = replayed(course.root / outcome.replay, monkeypatch)
    assert stops == 1
    assert printed == "FloatingPointError: overflow encountered in exp"


@pytest.mark.parametrize(
    "number, text, call",
    [
        (
            "01.1",
            "class Mul(Op):\n    def forward(self, a, b):\n"
            "        self.a, self.b = a, b\n        return a * b\n"
            "    def backward(self, grad):\n        return grad * self.b, grad * self.a\n",
            ["op = Mul()", "op.needs = (True, True)", "breakpoint()", "y = op.forward(a, b)"],
        ),
        (
            "02.2",
            "def im2col(image, kernel_size, stride, dilation, columns):\n    columns[:] = 0\n",
            ["breakpoint()", "im2col(image, kernel_size, stride, dilation, columns)"],
        ),
        (
            "07.4",
            "def nt_xent(z1, z2, temperature=0.5):\n    return (z1 * z2).sum() * temperature\n",
            ["z2 = Tensor(z2, requires_grad=True)", "breakpoint()"],
        ),
    ],
)
def test_each_kind_is_called_in_its_own_way(course, monkeypatch, number, text, call):
    write_work(course, number[:2], text)
    (outcome,) = check_here(course, number[:2], number)
    lines = (course.root / outcome.replay).read_text(encoding="utf-8").splitlines()
    first = lines.index(call[0])
    assert lines[first : first + len(call)] == call
    printed, stops = replayed(course.root / outcome.replay, monkeypatch)
    assert stops == 1 and "FAILS" in printed and outcome.message.splitlines()[0] in printed


def test_where_the_arguments_have_no_text_every_call_of_the_law_stops(course, monkeypatch):
    write_work(course, "01", "def topological_order(root, parents_of):\n    return [root]\n")
    exercise, path = course.exercise("01.4"), course.work_file("01")
    answer = exercise.adapt(function_of(load(path), exercise))
    chain = exercise.try_law("a chain of 11,000 nodes works", answer)  # its parents_of is a lambda
    printed, stops = replayed(write(course, path, exercise, answer, chain), monkeypatch)
    assert stops == 1
    assert printed.startswith("a function cannot be written down: each call of the law stops, c goes on")
    assert chain.message.splitlines()[0] in printed and " FAILS   1 call\n" in printed


def test_leaving_pdb_inside_a_law_is_no_failure_of_the_answer(course, monkeypatch):
    write_work(course, "08", "def warmed_up(schedule, warmup_steps, step):\n    return schedule(step)\n")
    (outcome,) = check_here(course, "08", "08.1")
    assert outcome.call == "warmed_up(a function, 4, 3)"
    exercise, path = course.exercise("08.1"), course.work_file("08")
    answer = exercise.adapt(function_of(load(path), exercise))
    stops = []

    def leave():
        stops.append(1)
        raise bdb.BdbQuit

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "breakpointhook", leave)
    monkeypatch.setenv("MINIDL_DEBUG", "1")
    for law in (exercise.laws[0].text, "during the rise, each step adds the same amount, schedule(0) / W"):
        result = exercise.try_law(law, answer)
        replay, printed = write(course, path, exercise, answer, result), io.StringIO()
        with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
            runpy.run_path(str(replay))
        assert "FAILS" not in printed.getvalue()
    assert len(stops) == 2


def test_a_replay_started_by_itself_stops_in_pdb_and_steps_into_the_learners_line(course):
    write_work(course, "09", WRONG_SOFTMAX)
    (outcome,) = check_here(course, "09", "09.1")
    steps = "s\n" * (5 if sys.version_info >= (3, 13) else 3)  # from 3.13 on it stops at breakpoint() itself
    session = subprocess.run(
        [sys.executable, outcome.replay],
        input=f"{steps}p z\nimport minidl.engine.jit as j; print('debugging', j._debugging.get())\nc\n",
        capture_output=True,
        text=True,
        cwd=course.root,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        encoding="utf-8",
    )
    assert "-> p = np.exp((z - z.max()) / temperature)" in session.stdout
    assert "array([[0.],\n       [0.]])" in session.stdout
    assert "debugging True" in session.stdout
    assert 'law "each row sums to 1"   FAILS' in session.stdout
