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
        ("import os\nos.fork()\nos.fork()\n", ["mentions fork"]),
        ("f.__code__ = 1\n", ["mentions __code__"]),
        ("opened = 3\nimport gcd\n", []),
        ("not Python", []),
        ("x = '\0'", []),
    ],
)
def test_what_the_file_mentions_is_listed_once(text, found):
    assert flags(text) == found


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
