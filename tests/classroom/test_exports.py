"""What ``export`` is made of: the wheel, right and wrong answers."""

import subprocess
import sys
import zipfile

import pytest
from learner import REAL, check_here, empty_course

import minidl
from minidl.classroom.exports.right import right_file, wrong_file
from minidl.classroom.exports.wheel import write_wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return write_wheel(tmp_path_factory.mktemp("wheel"))


def test_pip_installs_the_wheel_and_python_finds_minidl_and_its_data_in_it(wheel, tmp_path):
    options = (
        "--quiet",
        "--no-deps",
        "--no-index",
        "--disable-pip-version-check",
        "--target",
        tmp_path / "site",
    )
    subprocess.run([sys.executable, "-m", "pip", "install", *options, wheel], check=True, capture_output=True)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import minidl; from minidl.data import load_digits; "
        "from importlib.metadata import requires; "
        "print(minidl.__file__, len(load_digits()[0][0]), 'numpy>=1.24' in requires('minidl'))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "site")]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    where, *found = run.stdout.split()
    assert where.startswith(str(tmp_path / "site")) and found == ["1437", "True"]


def test_the_wheel_is_the_same_each_time_and_holds_no_compiled_files(wheel, tmp_path):
    assert write_wheel(tmp_path).read_bytes() == wheel.read_bytes()
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names)) and not [name for name in names if "__pycache__" in name]


def test_a_wheel_of_another_version_than_pip_installed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(minidl, "__version__", "9.9.9")
    with pytest.raises(ValueError, match="pip installed minidl .*, but this is 9.9.9: call  pip install"):
        write_wheel(tmp_path)


@pytest.mark.parametrize("lesson", ["04", "15"])  # a name that two things have; a helper of the course's own
def test_right_answers_pass_and_a_wrong_first_one_alone_fails(lesson, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_DEBUG", "1")
    course, exercises = empty_course(tmp_path), REAL.exercises(lesson)
    course.work.mkdir()
    course.work_file(lesson).write_text(right_file(exercises), encoding="utf-8")
    assert all(outcome.passed for outcome in check_here(course, lesson))
    course.work_file(lesson).write_text(wrong_file(exercises), encoding="utf-8")
    assert [outcome.number for outcome in check_here(course, lesson) if not outcome.passed] == [f"{lesson}.1"]
