"""Implementation: a learner's function for an exercise, in the form in which laws call it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis.errors import HypothesisException

from minidl.classroom.compare import short
from minidl.classroom.exercise_kinds import Answerer, Direct, same, unchanged
from minidl.classroom.returned import WrongAnswer

REMEMBERED = 60  # so many first calls of a law are kept, to recognise named mistakes


class Remembered(BaseException):
    """No more calls are wanted than are kept. Hypothesis does not catch this exception."""


@dataclass
class Call:
    """One call by a law: the arguments, and the answer or the error."""

    arguments: tuple
    params: dict[str, object]
    answer: object = None
    raised: BaseException | None = None
    errstate: Any = field(default_factory=np.geterr)  # whether an overflow raises

    def again(self, implementation: Callable):
        """Call another implementation with the same arguments."""
        arguments, params = copy.deepcopy((self.arguments, self.params))
        with np.errstate(**self.errstate), warnings.catch_warnings():
            if isinstance(self.raised, Warning):
                warnings.simplefilter("error", type(self.raised))  # the law makes an error of this warning
            return implementation(*arguments, **params)


class Implementation:
    """A function, Op class or kernel in the form that laws call: it gets copies of plain values."""

    def __init__(
        self,
        raw: Callable | type | Answerer,
        kind: str = "function",
        written: tuple[int, ...] = (),
        returns: str = "",
    ) -> None:
        self.answerer = raw if isinstance(raw, Answerer) else Direct(raw, kind, written, returns)
        self.told, self.name = self.answerer.told, self.answerer.name
        self.kind, self.written, self.returns = kind, written, returns
        self.calls = 0
        self.last_call = Call((), {})
        self.goes_on = True  # if False, no case fails, and the law ends once REMEMBERED calls are kept
        self.shrinks = True  # if False, a failing case is not shrunk, and the law raises Unshrunk
        self.case: dict[str, object] = {}  # the latest case of the law that is being tried
        self.first_calls: list[Call] = []  # the first calls of this law
        self.first_failure: Call | None = None  # the last call in the first failing run of this law
        self.raised: BaseException | None = None  # the raw function's error in its latest call

    def __call__(self, *arguments, **params):
        if not self.goes_on and len(self.first_calls) == REMEMBERED:
            raise Remembered
        self.calls += 1
        self.last_call, self.raised = Call(arguments, params), None
        if len(self.first_calls) < REMEMBERED:
            self.first_calls.append(self.last_call)
        try:
            self.last_call.answer = self.answer_on_copies(arguments, params)
        except BaseException as error:
            self.last_call.raised = error
            raise
        return self.last_call.answer

    def answer_on_copies(self, arguments: tuple, params: dict):
        """The answer to a copy of the arguments. Raises WrongAnswer if the function changes this copy."""
        try:
            answer, before, after = self.answerer.answer(arguments, params)
        except (KeyboardInterrupt, WrongAnswer):
            raise
        except BaseException as error:
            if getattr(error, "ends_the_law", False):
                raise
            if isinstance(error, Exception) and not isinstance(error, HypothesisException):
                if isinstance(error, ValueError):  # a refusal; any other error is told as it is
                    self.check_inputs(*self.answerer.given, error)
                self.raised = error
                raise
            # The function must not decide the result with an exit, or with a test library's "skip this case".
            raise WrongAnswer(f"{self.name} raised {type(error).__name__} instead of returning") from error
        self.check_inputs(before, after)
        return answer

    def check_inputs(self, before: tuple, after: tuple, error: Exception | None = None) -> None:
        """Raise WrongAnswer for a changed input. error: what the function raised, if it returned nothing."""
        when = ""
        if error:
            at = self.answerer.place_of(error)
            when = f", before it raised {type(error).__name__}: {error}" + (f"\nat {at}" if at else "")
        for which, was, now in self.inputs_to_keep(before, after):
            if not same(was, now, unchanged):
                raise WrongAnswer(f"{self.name} changed its {which} from {short(was)} to {short(now)}{when}")

    def inputs_to_keep(self, before: tuple[tuple, dict], after: tuple[tuple, dict]) -> list[tuple]:
        """The name, old value and new value of each input, without the arrays that a kernel must fill."""
        (arguments, params), (given, given_params) = before, after
        inputs = [(f"input {i}", x, given[i]) for i, x in enumerate(arguments) if i not in self.written]
        return inputs + [(name, x, given_params[name]) for name, x in params.items()]
