import pytest
from learner import REAL, empty_course


@pytest.fixture
def course(tmp_path, monkeypatch):
    """The real exercises with an empty work/, in a folder of its own that is the current one."""
    monkeypatch.setenv("PYTHONPATH", str(REAL.root))
    monkeypatch.chdir(tmp_path)
    return empty_course(tmp_path)
