"""The form of a lesson: a flat script of cells. Running the lessons is left to ``python -m lessons run``."""

import ast
import re
import sys
from pathlib import Path

import pytest

import lessons
from lessons.exercises import all_exercises
from minidl.classroom.cli import main
from minidl.classroom.course import Course, Lesson

FOLDER = Path(lessons.__file__).parent
LESSONS = sorted(FOLDER.glob("[0-9]*.py"))
every_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)

TEXT, CODE = "# %% [markdown]", "# %%"


def cells_of(text):
    """(header line, first line's number, body) of each cell; what precedes the first has the header ''."""
    cells = [["", 1, []]]
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("# %%"):
            cells.append([line, number, []])
        else:
            cells[-1][2].append(line)
    return [(header, number, "\n".join(lines)) for header, number, lines in cells]


def has_docstring(path):
    """Whether the title stands in a docstring, as in an older lesson, and not in the first text cell."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is not None


def test_there_are_lessons_and_each_has_its_own_number():
    numbers = [path.name[:2] for path in LESSONS]
    assert numbers and numbers == sorted(set(numbers))
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem) for path in LESSONS)


@every_lesson
def test_the_head_says_title_question_and_the_exercises(path):
    lines = Lesson(path).head
    assert re.fullmatch(rf"{path.name[:2]} \w.{{5,100}}", lines[0]), (
        "the first line is the number and the title"
    )
    if has_docstring(path):
        starts = [line.split(":")[0] for line in lines[1:] if re.match(r"[A-Z]\w+:", line)]
        assert starts == ["Question", "Measured", "Exercises"]
    else:
        (exercises,) = [i for i, line in enumerate(lines) if line.startswith("Exercises: ")]
        assert any(lines[1:exercises]), "the question stands between the title and the exercises"


@every_lesson
def test_the_head_names_the_exercises_that_are_set(path):
    named = re.findall(r"(\d\d\.\d) (\w+)", "\n".join(Lesson(path).head).split("Exercises:")[1])
    there = [(e.number, e.name) for e in all_exercises() if e.number[:2] == path.name[:2]]
    assert named == there
    assert 2 <= len(there) <= 4 or (path.name.startswith("00_") and not there)


def test_every_exercise_belongs_to_a_lesson():
    assert {e.number[:2] for e in all_exercises()} <= {path.name[:2] for path in LESSONS}


@every_lesson
def test_cells_begin_at_the_top_or_after_the_docstring_and_have_a_known_header(path):
    (_, _, preamble), *cells = cells_of(path.read_text(encoding="utf-8"))
    assert len(ast.parse(preamble).body) == has_docstring(path), "before the first cell stands nothing else"
    assert len(cells) >= 4
    for header, number, _ in cells:
        assert header in (TEXT, CODE), f"line {number}: {header!r}"


@every_lesson
def test_a_text_cell_is_comments_and_there_are_three_headings(path):
    cells = cells_of(path.read_text(encoding="utf-8"))[1:]
    for header, number, body in cells:
        lines = [line for line in body.splitlines() if line]
        if header == TEXT:
            assert lines and all(line == "#" or line.startswith("# ") for line in lines), f"line {number}"
    headings = [body for header, _, body in cells if header == TEXT and body.startswith("# ## ")]
    assert len(headings) >= 3


@every_lesson
def test_each_code_cell_compiles_by_itself_and_does_something(path):
    for header, number, body in cells_of(path.read_text(encoding="utf-8")):
        if header == CODE:
            assert ast.parse(body).body, f"the cell of line {number} is empty"
            compile(body, f"{path.name} line {number}", "exec")


@every_lesson
def test_a_lesson_is_a_flat_script(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {"__file__", "__name__"}
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert "main" not in defined
    attributes = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert "sys.argv" not in attributes
    backends = {"matplotlib.use", "mpl.use", "plt.switch_backend", "plt.show"}
    assert not attributes & backends


@every_lesson
def test_imports_of_a_lesson_are_the_library_and_what_it_needs(path):
    allowed = {"lessons", "minidl", "numpy", "matplotlib", "scipy", "tqdm"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            )
            for name in names:
                assert name.split(".")[0] in allowed | sys.stdlib_module_names, f"line {node.lineno}: {name}"


def test_the_list_shows_every_lesson_with_its_title_and_exercises(capsys):
    assert main([], Course(FOLDER)) == 0
    out = capsys.readouterr().out
    for path in LESSONS:
        number, title = Lesson(path).head[0].split(" ", 1)
        assert f"{number}  {title}" in out
    for exercise in all_exercises():
        assert f"{exercise.number}  {exercise.name}" in out
