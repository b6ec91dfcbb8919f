"""What was done is kept, survives damage, and is never made up."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from learner import write_work

from minidl.classroom import record as record_module
from minidl.classroom.check import Outcome
from minidl.classroom.files import digest
from minidl.classroom.record import Record

ENTROPY = (
    "def entropy(probabilities, axis=-1):\n    p = np.asarray(probabilities, float)\n"
    "    if p.min() < 0 or not np.allclose(p.sum(axis=axis), 1):\n        raise ValueError(p)\n"
    "    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=axis)\n"
)
FILE = "0123456789ab"  # the digest of the checked answer
DONE = {"held": 7, "laws": 7, "passed": True, "hints": 0, "file": FILE}


def noted(course):
    progress = Record(course)
    progress.note(Outcome("09.2", "entropy", passed=True, laws=7, held=7, file=FILE))
    progress.note(Outcome("09.1", "stable_softmax", laws=7, held=2, file=FILE))
    return progress


def test_nothing_is_kept_before_anything_is_done(course):
    progress = Record(course)
    assert progress.entries == {}
    assert progress.of("09.1") == {"held": 0, "laws": 0, "passed": False, "hints": 0, "file": ""}
    assert not course.work.exists()


def test_it_survives_a_restart_as_a_plain_file(course):
    noted(course)
    again = Record(course)
    assert again.of("09.2") == DONE
    assert again.of("09.1") == {"held": 2, "laws": 7, "passed": False, "hints": 0, "file": FILE}
    text = (course.work / "progress.json").read_text(encoding="utf-8")
    assert json.loads(text)["09.2 entropy"] == DONE and text.count("\n") > 5


def test_a_later_check_counts_and_hints_stay(course):
    progress = noted(course)
    assert [progress.one_more_hint("09.2", 2) for _ in range(3)] == [1, 2, 2]
    progress.note(Outcome("09.2", "entropy", laws=7, held=1))
    assert Record(course).of("09.2") == {"held": 1, "laws": 7, "passed": False, "hints": 2, "file": ""}


def test_a_file_that_cannot_be_read_says_nothing_about_its_exercises(course):
    progress = noted(course)
    progress.note(Outcome("", "09_temperature.py", message="line 3 is not Python"))
    assert Record(course).of("09.2") == DONE and "" not in Record(course).entries


@pytest.mark.parametrize(
    "damage",
    [
        *(b"", b"{", b"\xff\xfe", b"[]", b'{"09.2 entropy": 1}', b'{"09.2 entropy": {"passed": true}}'),
        b'{"09.2 entropy": {"held": 7, "laws": 7, "passed": "yes", "hints": 0, "file": ""}}',
    ],
)
def test_damage_of_any_kind_is_told_and_kept_by_whoever_reads_it_first(course, capfd, damage):
    noted(course)
    path = course.work / "progress.json"
    for name in ("backup/progress_1.json", "backup/progress_2.json"):
        path.write_bytes(damage)
        assert Record(course).entries == {}
        err = capfd.readouterr().err
        assert err.startswith("work/progress.json is damaged (") and err.endswith(f"kept as work/{name}\n")
        assert (course.work / name).read_bytes() == damage
    assert Record(course).entries == {} and capfd.readouterr().err == ""


def test_progress_of_an_older_minidl_is_set_aside_with_a_word_and_counts_for_nothing(course, capfd):
    course.work.mkdir()
    (course.work / "progress.json").write_text(json.dumps({"09.2": DONE}), encoding="utf-8")
    assert not Record(course).of("09.2")["passed"]
    said = "is from an older minidl with other numbers of exercises: kept as work/backup/progress_1.json\n"
    assert capfd.readouterr().err == f"work/progress.json {said}"
    assert Record(course).entries == {} and capfd.readouterr().err == ""


def test_a_number_that_names_another_function_by_now_is_not_done(course):
    course.work.mkdir()
    (course.work / "progress.json").write_text(json.dumps({"09.2 old": DONE}), encoding="utf-8")
    assert Record(course).entries == {"09.2 old": DONE} and not Record(course).of("09.2")["passed"]


@pytest.mark.parametrize("lost", [True, False])
def test_what_a_damaged_or_lost_file_held_is_found_by_checking_also_after_another_check(
    course, checks_here, lost
):
    write_work(course, "09", ENTROPY)
    write_work(course, "06", "def f(:\n")  # which can never be noted
    if not lost:
        (course.work / "progress.json").write_text("{broken", encoding="utf-8")
    progress = Record(course)
    progress.note(Outcome("09.1", "stable_softmax", laws=7, held=2, file=FILE))
    progress.complete()
    assert Record(course).of("09.2") == {**DONE, "file": digest(course.work_file("09"))}
    assert Record(course).of("09.1")["held"] == 0
    assert Record(course).entries.keys() == {
        f"{e.number} {e.name}" for n in ("06", "09") for e in course.exercises(n)
    }


def test_two_who_read_before_either_wrote_lose_nothing_of_each_other(course):
    one, other = Record(course), Record(course)
    one.note(Outcome("09.2", "entropy", passed=True, laws=7, held=7, file=FILE))
    other.one_more_hint("09.1", 3)
    other.one_more_hint("09.2", 3)
    assert one.one_more_hint("09.2", 3) == 2
    assert Record(course).of("09.2") == {**DONE, "hints": 2} and Record(course).of("09.1")["hints"] == 1


def test_many_at_the_same_time_lose_nothing(course):
    course.work.mkdir()

    def ask(number):
        for _ in range(20):
            Record(course).one_more_hint(number, 99)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, ["09.1", "09.1", "09.2", "09.3"]))
    assert [Record(course).of(number)["hints"] for number in ("09.1", "09.2", "09.3")] == [40, 20, 20]
    assert [path.name for path in course.work.iterdir()] == ["progress.json"]


def test_a_lock_that_a_killed_process_left_is_taken_over(course, monkeypatch):
    monkeypatch.setattr(record_module, "PATIENCE", 0.02)
    course.work.mkdir()
    (course.work / "progress.lock").touch()
    assert Record(course).one_more_hint("09.1", 3) == 1
    assert [path.name for path in course.work.iterdir()] == ["progress.json"]
