"""What a teacher is told to look at in a file."""

import pytest
from learner import REAL, stubs

from minidl.classroom.flags import flags_of
from minidl.classroom.stubs import source


def flags(text, lesson="09"):
    return flags_of(text, REAL.exercises(lesson))


@pytest.mark.parametrize(
    "text, found",
    [
        ("open('a')\n", ["mentions open"]),
        ("x = eval\nexec('1')\n", ["mentions eval", "mentions exec"]),
        ("import importlib.util, gc as g\n", ["mentions importlib.util", "mentions gc"]),
        ("from minidl.classroom import stubs\n", ["mentions minidl.classroom"]),
        ("import lessons.exercises\n", ["mentions lessons.exercises"]),
        ("import os\nos.fork()\nos.fork()\n", ["mentions os", "mentions fork"]),
        ("f.__code__ = 1\n", ["mentions __code__"]),
        ("opened = 3\nimport gcd\n", ["mentions gcd"]),
        ("from minidl import classroom\n", ["mentions classroom"]),
        ("import numpy.linalg, numba\nmodel.eval()\nmodel.modules()\n# open('a')\nloader = 'open'\n", []),
        ("not Python", []),
        ("x = '\0'", []),
    ],
)
def test_what_the_file_mentions_is_listed_once(text, found):
    assert flags(text) == found


ANSWER = "def entropy(p, axis=-1):\n    return new.entropy(p, axis)\n"


@pytest.mark.parametrize(
    "cheat, found",
    [
        ("import minidl.train.calibration as m\nnew = type(m)('new')\nm.__spec__.loader.exec_module(new)\n",
         ["mentions exec_module", "mentions __spec__"]),
        ("new = type(m)('new')\nexec(m.__loader__.get_source(m.__name__), vars(new))\n",
         ["mentions exec", "mentions vars", "mentions get_source", "mentions __loader__"]),
        ("l = getattr(m, '__loader__')\n", ["mentions getattr", "mentions __loader__"]),
        ("l = __spec__\n", ["mentions __spec__"]),
        ("import importlib.util as u\ns = u.spec_from_file_location('n', m.__file__)\n",
         ["mentions importlib.util", "mentions __file__"]),
        ("from importlib import reload\n", ["mentions importlib"]),
        ("import runpy\nnew = runpy.run_path('metrics.py')\n", ["mentions runpy", "mentions run_path"]),
        ("import sys\nsys.path.append('/tmp')\nfrom boris import entropy\n",
         ["mentions sys", "mentions boris"]),
        ("from . import boris\n", ["mentions ."]),
        ("import sys\ndel sys.modules['minidl.train.calibration']\n", ["mentions sys"]),
        ("from minidl.data.files import os as o\n", ["mentions os"]),
        ("import minidl.data.files as f\nf.os.listdir('/')\n", ["mentions listdir", "mentions os"]),
        ("import glob\nx = [open(f).read() for f in glob.glob('/*')]\n",
         ["mentions glob", "mentions open"]),
        ("from pathlib import Path as P\nP('a').read_text()\n", ["mentions pathlib", "mentions read_text"]),
        ("import io\nio.open('a')\n", ["mentions io", "mentions open"]),
        ("x = np.fromfile('a', np.uint8)\n", ["mentions fromfile"]),
        ("x = np.load('a')\n", ["mentions load"]),
        ("import os\nos.read(os.open('a', 0), 9)\n", ["mentions os", "mentions open"]),
        ("import types\nf = types.FunctionType(m.entropy.__code__, m.entropy.__globals__)\n",
         ["mentions types", "mentions FunctionType", "mentions __code__", "mentions __globals__"]),
        ("__builtins__['eval']('1')\n", ["mentions __builtins__"]),
        ("x = __import__('os')\n", ["mentions __import__"]),
        ("x = compile('1', '', 'eval')\n", ["mentions compile"]),
        *((f"import {name}\n", [f"mentions {name}"]) for name in
          ("inspect", "gc", "ctypes", "subprocess", "socket", "marshal", "pickle", "multiprocessing")),
        ("import urllib.request as r\n", ["mentions urllib.request"]),
    ],
)  # fmt: skip
def test_each_way_to_the_librarys_text_or_to_others_files_is_a_flag(cheat, found):
    assert sorted(flags(cheat + ANSWER)) == sorted(found)


@pytest.mark.parametrize("exercise", REAL.exercises(), ids=lambda exercise: exercise.number)
def test_the_librarys_functions_mention_nothing(exercise):
    assert flags_of(source(exercise.target), []) == []


@pytest.mark.parametrize("lesson", [lesson.number for lesson in REAL.lessons()])
def test_a_file_of_stubs_has_none(lesson):
    if REAL.exercises(lesson):
        assert flags(stubs(lesson), lesson) == []


def test_the_librarys_text_is_recognised_also_without_its_docstring_and_with_another_name_in_it():
    softmax = next(e for e in REAL.exercises("09") if e.number == "09.3")
    text = source(softmax.target)
    said = [f"{softmax.name} is nearly the library's text"]
    assert flags(text) == said
    assert flags("# mine\n\n" + text.replace("labels", "labels", 1).replace("    ", "        ")) in (said, [])
    other = text.replace('"""', '"""Mine. ', 1)
    assert flags(other) == said


def test_another_answer_is_not_the_librarys():
    mine = (
        "def expected_calibration_error(probabilities, labels, bins=15):\n"
        "    p = probabilities.max(axis=1)\n    right = probabilities.argmax(axis=1) == labels\n"
        "    total = 0.0\n    for low in range(bins):\n"
        "        inside = [i for i in range(len(p)) if low / bins < p[i] <= (low + 1) / bins]\n"
        "        if inside:\n            gap = abs(right[inside].mean() - p[inside].mean())\n"
        "            total += len(inside) / len(p) * gap\n    return float(total)\n"
    )
    assert flags(mine) == []
