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
from tests import count
from tests.cells_twice import differing_cells

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
    (exercises,) = [i for i, line in enumerate(lines) if line.startswith("Exercises: ")]
    assert any(lines[1:exercises]), "the question stands between the title and the exercises"


@every_lesson
def test_the_head_names_the_exercises_that_are_set(path):
    named = re.findall(r"(\d\d\.\d)\s(\w+)", "\n".join(Lesson(path).head).split("Exercises:")[1])
    there = [(e.number, e.name) for e in all_exercises() if e.number[:2] == path.name[:2]]
    assert named == there
    assert 3 <= len(there) <= 6 or (path.name.startswith("00_") and not there)


def test_every_exercise_belongs_to_a_lesson():
    assert {e.number[:2] for e in all_exercises()} <= {path.name[:2] for path in LESSONS}


@every_lesson
def test_cells_begin_at_the_top_and_have_a_known_header(path):
    (_, _, preamble), *cells = cells_of(path.read_text(encoding="utf-8"))
    assert not preamble.strip(), "nothing stands before the first cell"
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
    allowed = {"minidl", "lessons", "numpy", "matplotlib", "scipy", "tqdm", "onnx", "onnxruntime"}
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
        assert f"{exercise.number} {exercise.name}" in out


# ---- a lesson is short, opens with its picture and ends with what to remember


def cells_with(path, header):
    return [body for found, _, body in cells_of(path.read_text(encoding="utf-8")) if found == header]


def code_lines(cell):
    """The lines of code: neither blank nor a comment."""
    return [line for line in cell.splitlines() if line.strip() and not line.strip().startswith("#")]


def calls_of(text, name):
    """The calls of a function by its plain name."""
    nodes = ast.walk(ast.parse(text))
    return [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == name]


def last_text(path):
    return path.read_text(encoding="utf-8").partition("# ## What to remember")[2]


@every_lesson
def test_a_lesson_opens_with_its_title_and_its_question(path):
    header, _, body = cells_of(path.read_text(encoding="utf-8"))[1]
    assert header == TEXT
    assert re.match(rf"# # {path.name[:2]} \w.+\n# [^#\n]", body), "a line  # # NN Title, then a text"
    assert "?" in body, "the question of the lecture"


@every_lesson
def test_a_lesson_opens_with_a_figure(path):
    assert any(calls_of(cell, "save") for cell in cells_with(path, CODE)[:2])


@every_lesson
def test_a_lesson_has_at_most_200_lines_of_code_and_25_a_cell(path):
    lengths = [len(code_lines(cell)) for cell in cells_with(path, CODE)]
    assert max(lengths) <= 25, lengths
    assert sum(lengths) <= 200


def test_the_first_page_has_at_most_60_lines_of_code():
    assert len(count.code_lines(LESSONS[0].read_text(encoding="utf-8"))) <= 60


@every_lesson
def test_a_lesson_has_88_columns(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not [number for number, line in enumerate(lines, 1) if len(line) > 88]


@every_lesson
def test_a_lesson_is_written_in_plain_statements(path):
    text = path.read_text(encoding="utf-8")
    assert "cached_runs" not in text, "a lesson computes no grid: a study does"
    comprehensions = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    for node in ast.walk(ast.parse(text)):
        inside = [other for other in ast.walk(node) if other is not node]
        if isinstance(node, comprehensions):
            nested = any(isinstance(other, comprehensions) for other in inside)
            assert not nested, f"line {node.lineno}: a comprehension inside a comprehension"
        if isinstance(node, ast.Dict):
            assert not any(isinstance(value, ast.Lambda) for value in node.values), f"line {node.lineno}"
        if isinstance(node, ast.FunctionDef):
            parts = node.args
            count = len(parts.args) + len(parts.kwonlyargs) + bool(parts.vararg) + bool(parts.kwarg)
            assert count <= 4, f"line {node.lineno}: {node.name} takes {count} arguments"


@every_lesson
def test_a_cell_does_not_end_with_a_number_of_a_study(path):
    """A notebook shows the value of a cell's last line: an Interval would stand in the output once more."""
    for cell in cells_with(path, CODE):
        last = ast.parse(cell).body[-1]
        shown = isinstance(last, ast.Expr) and ast.unparse(last).startswith("study(")
        assert not shown, f"{ast.unparse(last)} shows its Interval: give it a name"


@every_lesson
def test_each_figure_has_a_name_of_the_lesson_and_a_text_for_who_does_not_see_it(path):
    calls = calls_of(path.read_text(encoding="utf-8"), "save")
    for call in calls:
        name, alt = call.args[1], {word.arg: word.value for word in call.keywords}.get("alt")
        assert isinstance(name, ast.Constant), f"line {call.lineno}: the name is not written out"
        assert name.value.startswith(f"{path.stem}/"), f"line {call.lineno}: {name.value}"
        assert alt is not None, f"line {call.lineno}: alt is missing"
        assert not isinstance(alt, ast.Constant) or len(alt.value) >= 20, f"line {call.lineno}: {alt.value!r}"
    names = [call.args[1].value for call in calls]
    assert len(set(names)) == len(names), "each figure has a file of its own"


@every_lesson
def test_a_lesson_ends_with_what_to_remember_what_to_try_and_the_exercises(path):
    end = last_text(path)
    assert re.search(r"^# ## Try it$", end, re.MULTILINE), "What to remember, then Try it"
    assert CODE not in [header for header, _, _ in cells_of(end)], "no code after What to remember"
    for exercise in all_exercises(path.name[:2]):
        named = rf"{re.escape(exercise.number)}\W+{exercise.name}\b"
        assert re.search(named, end), f"{exercise.number} {exercise.name} is not named at the end"


def test_a_cell_that_gives_something_else_the_second_time_is_seen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "01_made.py"
    good = (
        "# %%\nx = [1]\nprint(sum(x), 'in 0.1 s')\n# %% [markdown]\n# ## text\n# %%\ny = sum(x)\nprint(y)\n"
    )
    script.write_text(good)
    assert differing_cells(script) == []
    script.write_text(good + "# %%\nx.append(1)\nprint(len(x))\n")
    assert differing_cells(script) == ["01_made.py, code cell 3: [('2', '3')]"]
