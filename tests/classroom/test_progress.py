"""What was done is kept, survives damage, and is never made up."""

import json

import pytest
from learner import write_answer

from minidl.classroom.answers import digest
from minidl.classroom.outcome import Outcome
from minidl.classroom.progress import Progress

ENTROPY = (
    "def entropy(probabilities, axis=-1):\n    p = np.asarray(probabilities, float)\n"
    "    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis)\n"
)
FILE = "0123456789ab"  # the digest of what was checked
DONE = {"held": 5, "laws": 5, "passed": True, "hints": 0, "file": FILE}


def noted(course):
    progress = Progress(course)
    progress.note(Outcome("09.2", "entropy", passed=True, laws=5, held=5, file=FILE))
    progress.note(Outcome("09.1", "stable_softmax", laws=5, held=2, file=FILE))
    return progress


def test_nothing_is_kept_before_anything_is_done(course):
    progress = Progress(course)
    assert progress.damaged == "" and progress.entries == {}
    assert progress.of("09.1") == {"held": 0, "laws": 0, "passed": False, "hints": 0, "file": ""}
    assert not course.work.exists()


def test_it_survives_a_restart_as_a_plain_file(course):
    noted(course)
    again = Progress(course)
    assert again.of("09.2") == DONE
    assert again.of("09.1") == {"held": 2, "laws": 5, "passed": False, "hints": 0, "file": FILE}
    text = (course.work / "progress.json").read_text(encoding="utf-8")
    assert json.loads(text)["09.2"] == DONE and text.count("\n") > 5


def test_a_later_check_counts_and_hints_stay(course):
    progress = noted(course)
    assert [progress.one_more_hint("09.2", 2) for _ in range(3)] == [1, 2, 2]
    progress.note(Outcome("09.2", "entropy", laws=5, held=1))
    assert Progress(course).of("09.2") == {"held": 1, "laws": 5, "passed": False, "hints": 2, "file": ""}


def test_a_file_that_cannot_be_read_says_nothing_about_its_exercises(course):
    progress = noted(course)
    progress.note(Outcome("", "09_temperature.py", message="line 3 is not Python"))
    assert Progress(course).of("09.2") == DONE and "" not in Progress(course).entries


@pytest.mark.parametrize(
    "damage",
    [
        *(b"", b"{", b"\xff\xfe", b"[]", b'{"09.2": 1}', b'{"09.2": {"passed": true}}'),
        b'{"09.2": {"held": 5, "laws": 5, "passed": "yes", "hints": 0, "file": ""}}',
    ],
)
def test_damage_of_any_kind_is_noticed(course, damage):
    noted(course)
    (course.work / "progress.json").write_bytes(damage)
    progress = Progress(course)
    assert progress.damaged.startswith("work/progress.json is damaged (")
    assert progress.entries == {}


def test_a_damaged_or_lost_file_is_made_anew_by_checking_and_the_damaged_one_kept(course):
    write_answer(course, "09", ENTROPY)
    path = course.work / "progress.json"
    path.write_text("{broken", encoding="utf-8")
    progress = Progress(course)
    progress.rebuild(course)
    assert Progress(course).of("09.2") == {**DONE, "file": digest(course.answers("09"))}
    assert Progress(course).of("09.1")["held"] == 0 and not Progress(course).damaged
    assert (course.work / "progress.json.old").read_text(encoding="utf-8") == "{broken"
    path.unlink()
    assert Progress(course).damaged == "work/progress.json is missing"
