"""What holds for every exercise of every lesson."""

import ast
import inspect
import sys

import numpy as np
import pytest

import lessons.exercises
from lessons.exercises import all_exercises, find
from minidl.classroom.recognize import mistakes_like
from minidl.classroom.stubs import imports, plain_function, source, stub
from tests.classroom.learner import check_here, empty_course, replayed, write_work
from tests.lessons.wrong_answers import ALIKE, WRONG

EXERCISES = all_exercises()
every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: f"{e.number} {e.name}")


def reference_text(exercise):
    """The library's own source, and imports of the private names that a stub does without."""
    target = plain_function(exercise.target)
    module = sys.modules[target.__module__]
    names = {node.id for node in ast.walk(ast.parse(source(target))) if isinstance(node, ast.Name)}
    private = sorted(name for name in names if name.startswith("_") and name in vars(module))
    return "".join(f"from {module.__name__} import {name}\n" for name in private) + source(target)


@every_exercise
def test_the_librarys_source_in_the_learners_file_passes_every_law(exercise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    course, lesson = empty_course(tmp_path), exercise.number[:2]
    write_work(course, lesson, reference_text(exercise))
    (outcome,) = check_here(course, lesson, exercise.number)
    assert outcome.passed, outcome
    assert outcome.held == outcome.laws == len(exercise.laws)
    assert outcome.calls >= len(exercise.laws)
    assert outcome.library_calls == 0


@every_exercise
def test_the_stub_fails_every_law(exercise):
    namespace = {"__name__": "stub"}
    exec(compile(imports(exercise.target) + "\n\n" + stub(exercise.target), "stub", "exec"), namespace)
    stubbed = namespace[exercise.name]
    assert stubbed is not exercise.target
    for law in exercise.laws:
        result = exercise.try_law(law.text, stubbed)
        assert not result.passed
        assert result.message == f"{exercise.name} is not written yet: it raises NotImplementedError"


@pytest.mark.parametrize("number, text, answer", [pytest.param(*w, id=f"{w[0]} {w[1]}") for w in WRONG])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the wrong answers' own making
def test_a_wrong_answer_that_looks_right_fails_with_a_reason(number, text, answer):
    exercise = find(number)
    implementation = exercise.adapt(answer)
    *_, last = exercise.check(implementation)
    assert not last.passed and last.message
    named = mistakes_like(exercise, exercise.find_law(last.law), implementation, last.case)
    assert [mistake.text for mistake in named] == ALIKE.get(text, [])


def in_lists(answer):
    if isinstance(answer, np.ndarray):
        return answer.tolist() if answer.ndim else [answer.item()]
    return tuple(map(in_lists, answer)) if isinstance(answer, tuple) else answer


@pytest.mark.parametrize(
    "exercise", [e for e in EXERCISES if "np.ndarray" in e.returns], ids=lambda e: f"{e.number} {e.name}"
)
def test_lists_in_place_of_arrays_are_refused_by_one_rule_everywhere(exercise):
    implementation = exercise.adapt(exercise.target)
    raw = implementation.raw
    implementation.raw = lambda *arguments, **params: in_lists(raw(*arguments, **params))
    result = exercise.try_law(exercise.laws[0].text, implementation)
    assert "returned a list" in result.message
    assert "its signature says np.ndarray" in result.message


@pytest.mark.parametrize(
    "exercise, mistake",
    [
        pytest.param(exercise, mistake, id=f"{exercise.number} {mistake.text}")
        for exercise in EXERCISES
        for mistake in exercise.mistakes
    ],
)
def test_a_named_mistake_is_recognised_fails_the_law_that_it_names_and_so_does_a_replay(
    exercise, mistake, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    course, lesson, which = empty_course(tmp_path), exercise.number[:2], exercise.mistakes.index(mistake)
    write_work(
        course,
        lesson,
        f"from lessons.exercises import find\n\n"
        f"{exercise.name} = find({exercise.number!r}).mistakes[{which}].implementation\n",
    )
    (outcome,) = check_here(course, lesson, exercise.number)
    assert not outcome.passed
    assert outcome.law == mistake.breaks
    assert outcome.calls > 0
    assert outcome.looks_like[:1] == [mistake.text], outcome
    assert "the law cannot use the answer" not in outcome.message
    assert (course.root / outcome.replay).exists()
    if which > 0:
        return  # one replay an exercise shows that its cases can be written down

    printed, stops = replayed(course.root / outcome.replay, monkeypatch)
    assert stops >= 1
    reason = outcome.message.splitlines()[0]
    assert reason in printed or reason.split(" raised ")[-1] in printed, printed


@every_exercise
def test_an_exercise_has_a_few_laws_a_worked_example_and_a_mistake(exercise):
    assert 3 <= len(exercise.laws) <= 8
    assert any(law.is_example for law in exercise.laws)
    assert exercise.mistakes


@every_exercise
def test_the_hints_lead_from_words_to_the_line(exercise):
    assert len(exercise.hints) >= 2
    assert len(set(exercise.hints)) == len(exercise.hints)


@every_exercise
def test_what_is_to_be_written_is_short(exercise):
    limit = 25 if exercise.level == 3 else 20 if exercise.kind == "kernel" else 15  # nested loops take lines
    tree = ast.parse(source(exercise.target))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            statements = node.body[1:] if ast.get_docstring(node) else node.body
            assert statements[-1].end_lineno - statements[0].lineno < limit, node.name


@every_exercise
def test_what_is_to_be_written_says_so_in_a_docstring(exercise):
    assert inspect.getdoc(plain_function(exercise.target))


def test_exercises_are_found_by_number():
    assert [find(exercise.number) for exercise in EXERCISES] == EXERCISES
    assert [exercise.number for exercise in EXERCISES] == sorted({e.number for e in EXERCISES})


def test_an_unknown_number_is_refused_with_the_known():
    with pytest.raises(ValueError, match="there is no exercise '99.9'; there are 01.1, "):
        find("99.9")


SET_TWICE = """
from minidl.classroom.exercise import Exercise
one, other = (Exercise({number!r}, Exercise, points=1, hints=("a",)) for _ in range(2))
"""


@pytest.mark.parametrize(
    "number, message",
    [
        ("98.1", "two exercises have the number 98.1, in ex98_twice"),
        ("97.1", "exercise 97.1 stands in ex98_twice"),
    ],
)
def test_two_of_one_number_and_one_in_another_lessons_module_are_refused(
    tmp_path, monkeypatch, number, message
):
    (tmp_path / "ex98_twice.py").write_text(SET_TWICE.format(number=number))
    (tmp_path / "helper.py").write_text("raise AssertionError('is not an exercise module')")
    monkeypatch.setattr(lessons.exercises, "__path__", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "lessons.exercises.ex98_twice", raising=False)
    with pytest.raises(ValueError, match=message):
        all_exercises()
