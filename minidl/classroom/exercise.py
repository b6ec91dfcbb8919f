"""Exercise: a library function that learners write themselves, and the laws that it must keep.

    softmax = Exercise("09.1", reduce.stable_softmax, points=2, hints=("Each row is a probability ...",))

    @softmax.law("each row sums to 1")
    @given(z=logits(), temperature=temperatures())
    def rows_sum_to_one(softmax, z, temperature):
        assert_close(softmax(z, temperature=temperature).sum(axis=-1), 1.0)

A law gets the implementation as its first argument. So no function of the library is patched.
A law without ``@given`` is a worked example. Worked examples are tried first.
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis.errors import Flaky, HypothesisDeprecationWarning, HypothesisException

from minidl.classroom.compare import readable
from minidl.classroom.exercise_kinds import KINDS, Answerer, LibraryCall
from minidl.classroom.implementation import Implementation
from minidl.classroom.returned import WrongAnswer
from minidl.classroom.stubs import plain_function
from minidl.engine.checks import (
    check_choice,
    check_function,
    check_instance,
    check_int,
    positive_int,
    require,
)

EXAMPLES = 100  # the number of cases that a law tries; all learners get the same cases


class Unshrunk(BaseException):
    """The law fails, and no smaller case is needed. Hypothesis does not catch this exception."""


@dataclass(frozen=True)
class Law:
    text: str
    function: Any  # a function; with ``@given`` it has an attribute ``hypothesis``

    @property
    def is_example(self) -> bool:
        return not hasattr(self.function, "hypothesis")

    @property
    def test(self) -> Callable[..., None]:
        """The function without ``@given``; it takes a case as keyword arguments."""
        return self.function if self.is_example else self.function.hypothesis.inner_test

    def run(self, implementation: Callable, case: dict[str, object]) -> None:
        """Try one case. The case of a worked example is empty. An error in the law is not caught here."""
        with warnings.catch_warnings():  # without @given, assume() warns
            warnings.simplefilter("ignore", HypothesisDeprecationWarning)
            self.test(implementation, **copy.deepcopy(case))


@dataclass(frozen=True)
class Mistake:
    text: str
    implementation: Callable | type
    breaks: str


@dataclass(frozen=True)
class Result:
    """The result of one law: how often it called the implementation, and for which case and why it failed."""

    law: str
    passed: bool
    calls: int
    message: str = ""
    case: dict[str, object] = field(default_factory=dict)
    error: BaseException | None = None

    def __str__(self) -> str:
        verdict, calls = "passes" if self.passed else "FAILS", "call" if self.calls == 1 else "calls"
        lines = [f'law "{self.law}"   {verdict}   {self.calls} {calls}']
        lines += [f"  {name} = {readable(value)}" for name, value in self.case.items()]
        lines += [f"  {line}" for line in self.message.splitlines()]
        return "\n".join(lines)


class Exercise:
    """A function, Op class or kernel of the library that a learner writes.

    number: the lesson and the place in the lesson, such as "09.1".  target: the function in the library.
    hints: the first hint says the law in words, the last hint is nearly the line of code.
    title: the task in words; if there is no title, the function's name is shown.  level: the difficulty, 1 to
    3.  minutes: the time that a learner needs.  helpers: names of functions in the target's module. The stub
    imports only these functions of the module (stubs.imports).
    kind: how a law calls an implementation ``impl``. All values are plain: numbers, arrays, text, tuples,
    lists, dicts.

        function   impl(*arguments, **params) -> values
        op         impl(*arrays, grad=g, **params) -> (y, grads): params go to __init__, a gradient per input.
                   Equal arrays come as one array, as in x · x. A second op of the class must not change grads
        tensor     the same for a function of Tensors: floating arrays become Tensors, params go to the call
        kernel     impl(*arguments) -> the array named by ``writes`` after the loops; a tuple if several
        model      impl(*arguments, **params) -> values. A ``Built`` among the arguments is built first. The
                   call must not change its model, also if it raises. Tensors come back as arrays (but no
                   Tensor is taken for a float), a model as its ``contents``. With ``writes`` (the models
                   that impl trains): (value, contents of each)

    Without ``grad`` an op or tensor returns (y, ()). A law passes an output array to a kernel, as callers do.
    The array is copied like every argument, so the law's own array does not change.
    Raises ValueError if an argument is not in the form above.
    """

    def __init__(
        self,
        number: str,
        target: Callable | type,
        *,
        points: int,
        hints: tuple[str, ...],
        title: str = "",
        level: int = 1,
        minutes: int = 10,
        helpers: tuple[str, ...] = (),
        kind: str = "function",
        writes: tuple[str, ...] = (),
    ) -> None:
        place = re.fullmatch(r"\d\d\.\d", check_instance("number", number, str))
        require(bool(place), f"number must be a lesson and a place, such as '09.1', got {number!r}")
        one_line = len(check_instance("title", title, str).splitlines()) < 2
        require(one_line, f"title must be one line, got {title!r}")
        check_choice("kind", kind, KINDS)
        positive_int("points", points)
        check_int("level", level, 1, 3)
        positive_int("minutes", minutes)
        texts = isinstance(hints, tuple | list) and all(isinstance(h, str) and h for h in hints)
        require(texts and len(hints) > 0, f"hints must be a tuple of at least one text, got {hints!r}")
        fits = isinstance(writes, tuple | list) and (kind == "model" or bool(writes) == (kind == "kernel"))
        said = "a tuple of the arrays that a kernel fills, or the models that a function trains"
        require(fits, f"writes is {said}, got {writes!r} for a {kind}")
        function = check_function("target", plain_function(target))
        for name in check_instance("helpers", helpers, tuple):
            known = isinstance(name, str) and name in vars(sys.modules[function.__module__])
            require(known, f"helpers names {name!r}, but {function.__module__} has no such function")
        parameters = list(inspect.signature(function).parameters) if writes else []
        for name in writes:
            listed = ", ".join(parameters)
            require(name in parameters, f"writes names {name!r}, but {function.__name__} takes {listed}")

        self.number, self.target, self.kind = number, target, kind
        self.points, self.hints, self.writes = points, tuple(hints), tuple(writes)
        self.title, self.level, self.minutes, self.helpers = title, level, minutes, helpers
        self.written = tuple(parameters.index(name) for name in writes)
        self.name = function.__name__
        typed = kind in ("function", "model")  # an op and a Tensor have other forms in a law
        annotation = inspect.signature(function).return_annotation if typed else None
        self.returns = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
        self.laws: list[Law] = []
        self.mistakes: list[Mistake] = []

    def __repr__(self) -> str:
        return f"Exercise({self.number} {self.name}, {self.kind}, {len(self.laws)} laws)"

    @property
    def heading(self) -> str:
        """The number, the function's name and the title."""
        return f"{self.number} {self.name}" + (f": {self.title}" if self.title else "")

    @property
    def effort(self) -> str:
        """Points, difficulty and time, such as "2 points, ●●, 15 minutes"."""
        points = f"{self.points} point{'s' if self.points > 1 else ''}"
        return f"{points}, {'●' * self.level}, {self.minutes} minutes"

    def law(self, text: str) -> Callable[[Callable], Callable]:
        """Decorator: makes a function a law. Its arguments are an implementation and the values of a case.

        The function raises an error if the implementation is wrong.
        """
        check_instance("text", text, str)
        require(all(law.text != text for law in self.laws), f"{self.number} already has a law {text!r}")

        def declare(function: Callable) -> Callable:
            check_function("function", function, "an implementation")
            law = Law(text, function)
            if not law.is_example:
                same_for_everybody(function)
            self.laws.append(law)
            self.laws.sort(key=lambda law: not law.is_example)  # the rest keep their order
            return function

        return declare

    def mistake(self, text: str, *, breaks: str) -> Callable[[Callable], Callable]:
        """Decorator for a typical wrong implementation. ``breaks`` is the text of the law that it breaks."""
        self.find_law(breaks)

        def declare(implementation: Callable | type) -> Callable | type:
            self.mistakes.append(Mistake(text, implementation, breaks))
            return implementation

        return declare

    def find_law(self, text: str) -> Law:
        check_instance("text", text, str)
        for law in self.laws:
            if law.text == text:
                return law
        known = "; ".join(law.text for law in self.laws) or "none yet"
        raise ValueError(f"{self.number} has no law {text!r}; its laws: {known}")

    def adapt(self, implementation: Callable | type | Answerer) -> Implementation:
        """The implementation in the form that laws call (see kind). An Implementation does not change."""
        if isinstance(implementation, Implementation):
            return implementation
        return Implementation(implementation, self.kind, self.written, self.returns)

    def check(self, implementation: Callable | type) -> list[Result]:
        """Try the laws, worked examples first. Stop after the first law that fails."""
        implementation = self.adapt(implementation)
        results = []
        for law in self.laws:
            results.append(self.try_law(law.text, implementation))
            if not results[-1].passed:
                break
        return results

    def try_law(
        self, text: str, implementation: Callable | type, case: dict[str, object] | None = None
    ) -> Result:
        """Try all cases of one law, or one given case. If the law itself has an error, this error is raised.

        A law that never calls the implementation does not pass.
        """
        law, implementation = self.find_law(text), self.adapt(implementation)
        check_instance("case", case, dict, optional=True)
        if case is not None or law.is_example:
            given = case or {}
            return result_of(law, implementation, given, lambda: law.run(implementation, given))
        test = law.test
        law.function.hypothesis.inner_test = noting(test, implementation)
        try:
            return result_of(law, implementation, {}, lambda: law.function(implementation))
        finally:
            law.function.hypothesis.inner_test = test


def result_of(
    law: Law, implementation: Implementation, case: dict[str, object], run: Callable[[], None]
) -> Result:
    before = implementation.calls
    implementation.case, implementation.first_calls, implementation.first_failure = case, [], None
    error = None
    try:
        run()
    except Exception as raised:
        error = raised
    calls = implementation.calls - before
    if calls > 0:
        message = explained(error, implementation) if error else ""
        return Result(law.text, not error, calls, message, implementation.case if error else {}, error)
    if error:
        raise error  # the law's own fault, not the learner's
    return Result(law.text, False, 0, f"0 calls: the law never called {implementation.name}")


def same_for_everybody(function: Callable) -> None:
    """Give fixed cases to a law with ``@given``: a fixed seed, no time limit, no database of old failures."""
    settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.differing_executors),
        verbosity=Verbosity.quiet,
    )(function)


def noting(test: Callable[..., None], implementation: Implementation) -> Callable[..., None]:
    """Wrap the test: store a copy of each case in ``implementation.case``. The last case is the shrunk case.

    ``implementation.first_failure`` is the last call of the first failing run, before any shrinking.
    """

    @functools.wraps(test)
    def run(**drawn):
        case = {name: x for name, x in drawn.items() if x is not implementation}
        implementation.case = copy.deepcopy(case)
        try:
            test(**drawn)
        except HypothesisException:
            raise
        except Exception as error:
            implementation.first_failure = implementation.first_failure or implementation.last_call
            if not implementation.goes_on:
                return  # only the calls are wanted, those of the next cases too
            if not implementation.shrinks:
                raise Unshrunk from error
            raise

    return run


def explained(error: Exception, implementation: Implementation) -> str:
    """A text for the learner that says what went wrong."""
    name = implementation.name
    if isinstance(error, Flaky):
        return different_answers(name)
    if isinstance(error, WrongAnswer):
        return str(error)
    if error is implementation.raised:
        if isinstance(error, NotImplementedError):
            return f"{name} is not written yet: it raises NotImplementedError"
        if isinstance(error, LibraryCall):
            return str(error)
        place = implementation.answerer.place_of(error)
        return f"{name} raised {type(error).__name__}: {error}" + (f"\nat {place}" if place else "")
    if isinstance(error, AssertionError) and str(error):
        return str(error)
    last_line = traceback.extract_tb(error.__traceback__)[-1].line
    if isinstance(error, AssertionError):
        return f"does not hold: {last_line}"
    return f"the law cannot use the answer: {type(error).__name__}: {error}\nat: {last_line}"


def different_answers(name: str) -> str:
    return f"{name} gave different answers to the same call: it may draw numbers only from a given rng"
