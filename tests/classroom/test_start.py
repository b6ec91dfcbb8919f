"""``start``: what the written stubs hold, and that nothing of the learner's is lost."""

import ast
import re

import pytest
from learner import REAL, check_here, empty_course, write_work

from minidl.classroom.exercise import Exercise
from minidl.classroom.reading import FileProblem, load
from minidl.classroom.stubs import import_line, source
from minidl.classroom.work_file import lesson_stubs, stale, start
from minidl.engine.reduce import stable_softmax

EXERCISES = {lesson.number: REAL.exercises(lesson.number) for lesson in REAL.lessons()}
every_lesson = pytest.mark.parametrize("lesson", [number for number, there in EXERCISES.items() if there])


def definitions(text):
    return {n.name: n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef | ast.ClassDef)}


@every_lesson
def test_the_stubs_import_keep_signature_and_docstring_word_for_word_and_no_line_of_a_body(lesson, tmp_path):
    course = empty_course(tmp_path)
    start(course, lesson)
    text = course.work_file(lesson).read_text(encoding="utf-8")
    load(course.work_file(lesson))
    written = definitions(text)
    assert list(written) == [exercise.name for exercise in EXERCISES[lesson]]
    for exercise in EXERCISES[lesson]:
        original, emptied = definitions(source(exercise.target))[exercise.name], written[exercise.name]
        for before, after in zip(functions_in(original), functions_in(emptied), strict=True):
            assert ast.unparse(before.args) == ast.unparse(after.args)
            assert ast.get_docstring(before, clean=False) == ast.get_docstring(after, clean=False)
            assert ast.unparse(after.body[-1]) == "raise NotImplementedError"
            assert len(after.body) == 1 + (ast.get_docstring(after) is not None)
        assert ast.get_docstring(original, clean=False) == ast.get_docstring(emptied, clean=False)


def functions_in(node):
    """The function itself, or a class's methods; what is defined inside of one is part of its body."""
    inside = [node] if isinstance(node, ast.FunctionDef) else node.body
    return [inner for inner in inside if isinstance(inner, ast.FunctionDef)]


def test_a_stub_says_number_title_points_difficulty_and_minutes_and_is_recognised(course):
    titled = Exercise("09.1", stable_softmax, title="by rows", points=2, level=3, minutes=25, hints=("a",))
    text = lesson_stubs(course.lesson("09"), [titled])
    assert "\n# 09.1 stable_softmax: by rows, 2 points, ●●●, 25 minutes, minidl " in text
    assert stale(text, titled, [titled]) == ""
    assert stale(re.sub("reference .*", "reference 0123456789ab", text), titled, [titled]) != ""


@every_lesson
def test_no_stub_imports_what_the_file_is_to_define_and_nothing_shadows_a_parameter(lesson, tmp_path):
    course = empty_course(tmp_path)
    start(course, lesson)
    tree = ast.parse(course.work_file(lesson).read_text(encoding="utf-8"))
    imported = [
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    defined = {exercise.name for exercise in EXERCISES[lesson]}
    assert len(imported) == len(set(imported)) and "np" in imported
    assert not set(imported) & defined
    parameters = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    assert not parameters & {*imported, *defined}


def test_fresh_stubs_are_each_not_written_yet_and_not_stale(course):
    start(course, "01")
    for outcome in check_here(course, "01"):
        assert not outcome.written and not outcome.note
        assert outcome.message == f"{outcome.name} is not written yet: it raises NotImplementedError"


def test_a_file_that_is_there_is_never_overwritten(course):
    start(course, "09")
    path = course.work_file("09")
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match="work/09_temperature.py exists already and is not changed"):
        start(course, "09")
    assert path.read_text(encoding="utf-8") == "mine"


def test_reset_keeps_every_old_file_and_begins_anew(course):
    start(course, "09")
    path = course.work_file("09")
    fresh = path.read_bytes()
    for version in (b"first", b"second \xff"):
        path.write_bytes(version)
        done = start(course, "09", reset=True)
        assert path.read_bytes() == fresh
    assert done == "kept the old one as work/backup/09_temperature_2.py, wrote work/09_temperature.py"
    kept = {file.name: file.read_bytes() for file in (course.work / "backup").iterdir()}
    assert kept == {"09_temperature_1.py": b"first", "09_temperature_2.py": b"second \xff"}


def test_a_file_of_an_older_minidl_with_other_exercises_is_set_aside_with_a_word(course):
    write_work(course, "09", "def old(p):\n    return p\n")
    path = course.work_file("09")
    text = path.read_text(encoding="utf-8").replace("# 09.2 entropy:", "# 09.2 old:")
    path.write_text(re.sub(r"minidl \S+, reference", "minidl 0.1.0, reference", text), encoding="utf-8")
    _, entropy, *_ = check_here(course, "09")
    assert (entropy.name, entropy.passed) == ("entropy", False)
    assert entropy.note.startswith("your file is from minidl 0.1.0 with other exercises: start 09 ")
    kept = "kept the old one, of minidl 0.1.0, as work/backup/09_temperature_1.py"
    assert start(course, "09") == f"{kept}, wrote work/09_temperature.py"
    with pytest.raises(FileExistsError):
        start(course, "09")


def test_reset_with_nothing_to_keep_only_writes(course):
    assert start(course, "09", reset=True) == "wrote work/09_temperature.py"
    assert not (course.work / "backup").exists()


def test_an_unknown_lesson_and_one_without_exercises_are_refused(course):
    (course.folder / "98_nothing.py").write_text('"""98 Nothing"""')
    with pytest.raises(ValueError, match="there is no lesson 99; there are 00, 01, "):
        start(course, "99")
    with pytest.raises(ValueError, match="lesson 98 has no exercises"):
        start(course, "98")


def test_a_long_import_is_written_over_several_lines():
    names = [f"name_{i}" for i in range(20)]
    line = import_line("a_module", names)
    assert max(map(len, line.splitlines())) < 100
    assert [alias.name for alias in ast.parse(line).body[0].names] == names
    assert import_line("m", ["a", "b"]) == "from m import a, b"


def test_a_file_that_is_gone_cannot_be_read(tmp_path):
    with pytest.raises(FileProblem, match="it cannot be read: No such file"):
        load(tmp_path / "gone.py")
