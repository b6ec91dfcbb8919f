"""A debugger's view: few frames between a user's line and the mathematics, and named values in each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import minidl
from minidl import Tensor

PACKAGE = str(Path(minidl.__file__).parent)
ROOT = Path(PACKAGE).parent

STEP = """
import bdb, json, os, sys
import numpy as np
import minidl.nn as nn, minidl.nn.functional as F
from minidl import Tensor, manual_seed
from minidl.train.optim import SGD

manual_seed(0)
model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
optimizer = SGD(model.parameters(), lr=0.1)
images, labels = np.ones((2, 1, 4, 4), np.float32), np.array([0, 2])
weight = model.layer("0").weight


def step():
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels) + (weight * weight).sum() / 100
    loss.backward()
    optimizer.step()


def values(variables):
    return {name: list(np.shape(value)) for name, value in variables.items() if isinstance(value, np.ndarray)}


class Watch(bdb.Bdb):
    frames = {}

    def user_return(self, frame, returned):
        owner = frame.f_locals.get("self")
        name = f"{type(owner).__name__}.{frame.f_code.co_name}" if owner is not None else frame.f_code.co_name
        shown = values(frame.f_locals)
        if owner is not None:
            shown |= {f"self.{name}": shape for name, shape in values(vars(owner)).items()}
        self.frames.setdefault(name, shown)
        self.set_step()


before = weight.data.copy()
watch = Watch()
watch.runcall(step)
assert not np.array_equal(weight.data, before)
print(json.dumps([watch.frames, "numba" in sys.modules]))
"""


def frames_entered(function):
    """(class of self, function) of every frame of the package that the call enters."""
    entered = []

    def profile(frame, event, argument):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            owner = type(frame.f_locals["self"]).__name__ if "self" in frame.f_locals else ""
            entered.append((owner, frame.f_code.co_name))

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
    return entered


def test_a_times_b_enters_three_frames():
    a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0])
    three = [("Tensor", "__mul__"), ("", "apply"), ("Mul", "forward")]
    assert frames_entered(lambda: a * b) == three
    assert frames_entered(lambda: b * b) == three


def test_other_operations_enter_three_frames_too():
    a = Tensor([[1.0, 2.0]], requires_grad=True)
    assert frames_entered(lambda: a + a) == [("Tensor", "__add__"), ("", "apply"), ("Add", "forward")]
    assert frames_entered(lambda: a.exp()) == [("Tensor", "exp"), ("", "apply"), ("Exp", "forward")]


def test_stepping_through_a_training_step_shows_the_mathematics_with_named_values():
    environment = {**os.environ, "MINIDL_DEBUG": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    frames, numba_was_imported = json.loads(run.stdout)
    assert not numba_was_imported

    square = [2, 1, 3, 3]
    assert frames["Mul.forward"] == {"a": square, "b": square, "self.a": square, "self.b": square}
    assert frames["Mul.backward"]["self.a"] == square
    assert {"grad", "grad_a", "grad_b"} <= frames["Mul.backward"].keys()
    conv = frames["Conv2d.forward"]
    assert (conv["x"], conv["weight"], conv["bias"], conv["y"]) == ([2, 1, 4, 4], square, [2], [2, 2, 4, 4])
    assert frames["Conv2d.backward"]["grad_weight"] == square
    assert frames["im2col"]["image"] == [1, 6, 6]  # padded
    assert frames["im2col"]["columns"] == [9, 16]
    assert frames["CrossEntropy.backward"]["self.p"] == [2, 3]
