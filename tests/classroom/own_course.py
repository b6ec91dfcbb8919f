"""The course of the guide's page on exercises of one's own: its text is what the tests run."""

import re
import sys
from contextlib import contextmanager
from pathlib import Path

from minidl.classroom.course import Course

PAGE = Path(__file__).parents[2] / "lessons" / "book" / "guide" / "own_exercises.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def write_course(folder):
    """What the page says to write, into folder/my_course."""
    (exercises,) = blocks("python")
    (folder / "my_course" / "exercises").mkdir(parents=True)
    (folder / "my_course" / "01_layer_norm.py").write_text('"""01 Layer normalisation"""\n', encoding="utf-8")
    file = folder / "my_course" / "exercises" / "ex01_layer_norm.py"
    file.write_text(exercises, encoding="utf-8")
    return folder / "my_course"


@contextmanager
def imported(folder):
    """The course, for as long as the block lasts."""
    before = sys.path[:]
    try:
        yield Course.of_ones_own(folder)
    finally:
        sys.path[:] = before
        for name in [name for name in sys.modules if name.split(".")[0] == folder.name]:
            del sys.modules[name]
