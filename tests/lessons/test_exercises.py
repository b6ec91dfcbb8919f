"""What holds for every exercise of every lesson."""

import ast
import copy
import functools
import inspect
import re
import sys
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from hypothesis import settings
from hypothesis.errors import UnsatisfiedAssumption

import lessons.exercises
from lessons.exercises import all_exercises, find
from minidl.classroom.exercise import Law
from minidl.classroom.recognize import mistakes_like
from minidl.classroom.stubs import imports, plain_function, source, stub
from tests.classroom.learner import check_here, empty_course, replayed, write_work
from tests.lessons.right_answers import RIGHT
from tests.lessons.wrong_answers import ALIKE, WRONG

EXERCISES = all_exercises()
every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: f"{e.number} {e.name}")


def reference_text(exercise):
    """The library's own source, and imports of the names of its module that a stub does without."""
    target = plain_function(exercise.target)
    module = sys.modules[target.__module__]
    names = {node.id for node in ast.walk(ast.parse(source(target))) if isinstance(node, ast.Name)}
    there = sorted(name for name in names - {exercise.name} if name in vars(module))
    return "".join(f"from {module.__name__} import {name}\n" for name in there) + source(target)


@every_exercise
def test_the_librarys_source_in_the_learners_file_passes_every_law(exercise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    course, lesson = empty_course(tmp_path), exercise.number[:2]
    write_work(course, lesson, reference_text(exercise))
    with a_quarter_of_the_cases(exercise):  # test_check_isolated.py tries right answers in all cases
        (outcome,) = check_here(course, lesson, exercise.number)
    assert outcome.passed, outcome
    assert outcome.held == outcome.laws == len(exercise.laws)
    assert outcome.calls >= len(exercise.laws)
    assert outcome.library_calls == 0


@every_exercise
def test_the_stub_fails_every_law(exercise):
    namespace = {"__name__": "stub"}
    exec(
        compile(
            imports(exercise.target, helpers=exercise.helpers) + "\n\n" + stub(exercise.target),
            "stub",
            "exec",
        ),
        namespace,
    )
    stubbed = namespace[exercise.name]
    assert stubbed is not exercise.target
    for law in exercise.laws:
        result = exercise.try_law(law.text, stubbed)
        assert not result.passed
        assert result.message == f"{exercise.name} is not written yet: it raises NotImplementedError"


class FirstCases:
    """A law with ``@given`` that tries a quarter of its cases, drawn once: to draw takes longer than to try.

    A case that fails is looked for by the law itself, which shrinks it.
    """

    def __init__(self, function):
        self.function, self.hypothesis, self.cases = function, function.hypothesis, []
        self.first = next(iter(inspect.signature(function.hypothesis.inner_test).parameters))
        usual = function._hypothesis_internal_use_settings
        with pytest.MonkeyPatch.context() as patch:
            fewer = settings(usual, max_examples=usual.max_examples // 4)
            patch.setattr(function, "_hypothesis_internal_use_settings", fewer)
            patch.setattr(function.hypothesis, "inner_test", self.keep)
            function(self)

    def keep(self, **drawn):
        self.cases.append({name: copy.deepcopy(x) for name, x in drawn.items() if x is not self})

    def __call__(self, implementation):
        try:
            for case in self.cases:
                with suppress(UnsatisfiedAssumption):
                    self.hypothesis.inner_test(**{self.first: implementation}, **copy.deepcopy(case))
        except Exception:
            self.function(implementation)  # it shrinks the case, and its error is the one that is shown
            raise


@functools.cache
def with_first_cases(law):
    return law if law.is_example else Law(law.text, FirstCases(law.function))


@contextmanager
def a_quarter_of_the_cases(exercise):
    """Each law tries a quarter of its cases: enough for nearly all that is wrong, in a quarter of the time.

    What fails within these fails. The recogniser has less to tell mistakes apart by, so it names no fewer.
    What is not found is looked for in all cases.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exercise, "laws", [with_first_cases(law) for law in exercise.laws])
        yield


def fails_and_looks_like(exercise, answer):
    implementation = exercise.adapt(answer)
    *_, last = exercise.check(implementation)
    if last.passed:
        return last, []
    named = mistakes_like(exercise, exercise.find_law(last.law), implementation, last.case)
    return last, [mistake.text for mistake in named]


@pytest.mark.slow  # a thousand answers: for those who change laws, and for .ci/run
@pytest.mark.parametrize("number, text, answer", [pytest.param(*w, id=f"{w[0]} {w[1]}") for w in WRONG])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the wrong answers cause these warnings
def test_a_wrong_answer_that_looks_right_fails_with_a_reason(number, text, answer):
    exercise, alike = find(number), ALIKE.get(text, [])
    with a_quarter_of_the_cases(exercise):
        last, named = fails_and_looks_like(exercise, answer)
    if last.passed or named != alike:
        last, named = fails_and_looks_like(exercise, answer)
    assert not last.passed and last.message
    assert named == alike


@pytest.mark.parametrize("number, answer", [pytest.param(*r, id=f"{r[0]} {r[1].__name__}") for r in RIGHT])
def test_a_right_answer_in_other_words_passes(number, answer):
    exercise = find(number)
    with a_quarter_of_the_cases(exercise):
        *_, last = exercise.check(exercise.adapt(answer))
    assert last.passed, last.message


def in_lists(answer):
    if isinstance(answer, np.ndarray):
        return answer.tolist() if answer.ndim else [answer.item()]
    return tuple(map(in_lists, answer)) if isinstance(answer, tuple) else answer


@pytest.mark.parametrize(
    "exercise", [e for e in EXERCISES if "np.ndarray" in e.returns], ids=lambda e: f"{e.number} {e.name}"
)
def test_lists_in_place_of_arrays_are_refused_by_one_rule_everywhere(exercise):
    raw = plain_function(exercise.target)
    implementation = exercise.adapt(lambda *arguments, **params: in_lists(raw(*arguments, **params)))
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
    with a_quarter_of_the_cases(exercise):
        (outcome,) = check_here(course, lesson, exercise.number)
    if outcome.law != mistake.breaks or outcome.looks_like[:1] != [mistake.text]:
        (outcome,) = check_here(course, lesson, exercise.number)
    assert not outcome.passed
    assert outcome.law == mistake.breaks
    assert outcome.calls > 0
    assert outcome.looks_like[:1] == [mistake.text], outcome
    assert "the law cannot use the answer" not in outcome.message
    assert (course.root / outcome.replay).exists()
    if which > 0:
        return  # one replay per exercise shows that its cases can be saved

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
def test_an_exercise_has_a_title_of_its_own(exercise):
    assert exercise.title and [other.title for other in EXERCISES].count(exercise.title) == 1


@every_exercise
def test_the_hints_lead_from_words_to_the_line(exercise):
    assert len(exercise.hints) >= 2
    assert len(set(exercise.hints)) == len(exercise.hints)


# The main topics. Each of them has a building exercise of level 3.
TOPICS = {"01", "02", "03", "05", "09", "10", "12", "15", "16", "17", "18"}


def lines_to_write(exercise):
    """How many lines of code the functions of the reference have, without docstrings."""
    text = source(exercise.target)
    tree, lines = ast.parse(text).body[0], text.splitlines()
    functions = tree.body if isinstance(tree, ast.ClassDef) else [tree]
    count = 0
    for function in functions:
        if isinstance(function, ast.FunctionDef):
            statements = function.body[1:] if ast.get_docstring(function) else function.body
            body = lines[statements[0].lineno - 1 : statements[-1].end_lineno]
            count += sum(bool(line.split("#")[0].strip()) for line in body)
    return count


def withheld(exercise):
    """The functions of the reference's module that a hint names, and the learner's file does not have."""
    module = vars(sys.modules[plain_function(exercise.target).__module__])
    there = {other.name for other in EXERCISES if other.number[:2] == exercise.number[:2]}
    there.update(re.findall(r"\w+", imports(exercise.target, helpers=exercise.helpers)))
    named = re.findall(r"\w+_\w+|\w+(?=\()", " ".join(exercise.hints))
    return sorted({name for name in named if inspect.isfunction(module.get(name))} - there)


def limits_broken(lesson):
    """What the exercises of a lesson break: number, order, lengths, hints, and what a topic must have."""
    there = [exercise for exercise in EXERCISES if exercise.number[:2] == lesson]
    broken = [] if 3 <= len(there) <= 6 else [f"{len(there)} exercises, must be 3 to 6"]
    levels = [exercise.level for exercise in there]
    broken += [] if levels == sorted(levels) else [f"levels {levels} are not in order"]
    if lesson in TOPICS and 3 not in levels:
        broken.append("no exercise of level 3")
    for exercise in there:
        count = lines_to_write(exercise)
        builds = exercise.level == 3 or (exercise.level == 2 and exercise.kind == "model")
        low, high = (10, 25) if builds else (1, 15)
        if not low <= count <= high:
            broken.append(f"{exercise.number} {exercise.name} has {count} lines, must have {low} to {high}")
        for name in withheld(exercise):
            broken.append(f"{exercise.number}: a hint names {name}: is it one of the helpers?")
    return broken


@pytest.mark.parametrize("lesson", sorted({exercise.number[:2] for exercise in EXERCISES}))
def test_a_lesson_has_three_to_six_exercises_by_difficulty_and_none_is_long(lesson):
    assert limits_broken(lesson) == []


@every_exercise
def test_what_is_to_be_written_says_so_in_a_docstring(exercise):
    assert inspect.getdoc(plain_function(exercise.target))


@every_exercise
def test_a_parameter_that_is_a_pair_says_so(exercise):
    implementation = exercise.adapt(exercise.target)
    if exercise.kind == "op":
        return  # its arguments are arrays
    target = plain_function(exercise.target)
    signature, doc = inspect.signature(target), inspect.getdoc(target)
    for law in filter(lambda law: law.is_example, exercise.laws):
        exercise.try_law(law.text, implementation)
        for call in implementation.first_calls:
            given = {k: v for k, v in call.params.items() if k in signature.parameters}
            for name, value in signature.bind_partial(*call.arguments, **given).arguments.items():
                if isinstance(value, tuple) and len(value) == 2 and not hasattr(value, "_fields"):
                    said = f"{signature.parameters[name].annotation} {doc}"
                    assert any(word in said for word in ("tuple", "pair", "Bounds")), name


def test_exercises_are_found_by_number():
    assert [find(exercise.number) for exercise in EXERCISES] == EXERCISES
    assert [exercise.number for exercise in EXERCISES] == sorted({e.number for e in EXERCISES})


def test_an_unknown_number_is_refused_with_the_known():
    with pytest.raises(ValueError, match="there is no exercise '99.9'; known are 01.1, "):
        find("99.9")


SET_TWICE = """
from minidl.classroom.exercise import Exercise
one, other = (Exercise({number!r}, Exercise, points=1, hints=("a",)) for _ in range(2))
"""


@pytest.mark.parametrize(
    "number, message",
    [
        ("98.1", "two exercises have the number 98.1, in ex98_twice"),
        ("97.1", "exercise 97.1 is in the wrong module, ex98_twice"),
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
