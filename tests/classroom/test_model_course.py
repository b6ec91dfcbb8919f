"""A small course with an exercise of kind model: check, hint and debug from the command line."""

import os
import subprocess
import sys

import pytest
from learner import REAL

from minidl.classroom.check import check_lesson
from minidl.classroom.course import Course

LIBRARY = '''"""What the exercise sets."""
import numpy as np

from minidl.engine.recording import no_grad
from minidl.engine.tensor import Tensor


def probabilities(model, images):
    """The model's probabilities (N, K) for images (N, 1, H, W), an array."""
    with no_grad():
        z = model(Tensor(images)).data
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
'''
EXERCISES = '''"""The course's exercises."""
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidl.classroom.builders import Built
from minidl.classroom.compare import assert_close
from minidl.classroom.exercise import Exercise
from minidl.engine.tensor import Tensor
from tiny_library import probabilities

task = Exercise("01.1", probabilities, kind="model", points=2, level=3, hints=("The idea.", "The approach."))


@task.law("images that are alike get the same row")
def worked(probabilities):
    model = Built("small_cnn", seed=1, num_classes=3, widths=(4,), pool_after=())
    p = probabilities(model, np.zeros((2, 1, 8, 8)))
    assert_close(p[0], p[1])


@task.law("each row sums to 1")
@given(seed=st.integers(0, 3), scale=st.sampled_from([1.0, 2.0]))
def rows(probabilities, seed, scale):
    model = Built("small_cnn", seed=seed, num_classes=3, widths=(4,), pool_after=())
    images = scale * np.linspace(-1, 1, 128).reshape(2, 1, 8, 8)
    assert_close(probabilities(model, images).sum(axis=1), 1.0, rtol=1e-5)


@task.mistake("the logits themselves", breaks="each row sums to 1")
def the_logits(model, images):
    return model(Tensor(images)).data


def all_exercises(lesson=""):
    return [task]
'''
LOGITS = "def probabilities(model, images):\n    return model(images).data\n"


@pytest.fixture
def course(tmp_path, monkeypatch):
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons" / "01_models.py").write_text('"""01 Models"""\n')
    (tmp_path / "tiny_library.py").write_text(LIBRARY)
    (tmp_path / "tiny_exercises.py").write_text(EXERCISES)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(REAL.root)]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield Course(tmp_path / "lessons", "tiny_exercises")
    for name in ("tiny_exercises", "tiny_library"):
        sys.modules.pop(name, None)


def command(course, *arguments, typed=""):
    """What a learner's command prints, in a process of its own."""
    code = "import sys; from pathlib import Path; from minidl.classroom.cli import *; "
    code += f"exit(main(sys.argv[1:], Course(Path({str(course.folder)!r}), {course.package!r})))"
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        input=typed, capture_output=True, text=True, encoding="utf-8", env=environment,
    )  # fmt: skip


def test_start_hint_check_and_debug_lead_through_an_exercise_on_a_model(course):
    assert command(course, "start", "1").returncode == 0
    text = course.work_file("01").read_text(encoding="utf-8")
    assert "# 01.1 probabilities, 2 points, ●●●, 10 minutes, minidl " in text
    assert "not written yet" in command(course, "check", "1").stdout
    assert command(course, "hint", "1.1").stdout == "1 of 2  The idea.\n"

    course.work_file("01").write_text(LOGITS)
    steps = "s\n" * (4 if sys.version_info >= (3, 13) else 2)  # from 3.13 on it stops at breakpoint() itself
    found = command(course, "debug", "1.1", typed=f"{steps}p images.shape, model.training\nc\n").stdout
    assert 'law "each row sums to 1"   FAILS' in found
    assert (
        "call         = probabilities(small_cnn(seed=0, num_classes=3, widths=(4,), pool_after=()), " in found
    )
    assert "looks like   = the logits themselves" in found
    assert "-> return model(images).data" in found and "((2, 1, 8, 8), False)" in found
    replay = (course.work / "replay" / "01_1.py").read_text(encoding="utf-8")
    assert (
        "model = Built('small_cnn', seed=0, num_classes=3" in replay and "model = model.build()\n" in replay
    )


def test_the_librarys_own_function_is_recognised_and_what_is_right_passes(course):
    def checked(text):
        course.work.mkdir(exist_ok=True)
        course.work_file("01").write_text(text, encoding="utf-8")
        (outcome,) = check_lesson(course, "01")
        return outcome

    passed = checked(LIBRARY)
    assert passed.passed and passed.held == 2 and passed.library_calls == 0
    calls = "import tiny_library\n\n\ndef probabilities(model, images):\n    "
    outcome = checked(calls + "return tiny_library.probabilities(model, images)\n")
    assert not outcome.passed and outcome.library_calls == 1
    careless = checked(LIBRARY.replace("    e = ", "    model.train()\n    e = "))
    assert (
        careless.message.startswith("probabilities changed its ") and "training was False" in careless.message
    )
