import pytest
from learner import REAL, check_exercise_here, check_lesson_here, empty_course

from minidl.classroom import cli, record, run_mine


@pytest.fixture
def course(tmp_path, monkeypatch):
    """The real exercises with an empty work/, in a folder of its own that is the current one."""
    monkeypatch.setenv("PYTHONPATH", str(REAL.root))
    monkeypatch.chdir(tmp_path)
    return empty_course(tmp_path)


@pytest.fixture
def checks_here(monkeypatch):
    """Commands check in this process: what that of the check's own is for has tests of its own."""
    for module in (cli, record, run_mine):
        monkeypatch.setattr(module, "check_lesson", check_lesson_here)
    monkeypatch.setattr(cli, "check_exercise", check_exercise_here)
