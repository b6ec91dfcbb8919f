"""Implementation: what somebody wrote for an exercise, in the form in which laws call it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis.errors import HypothesisException

from minidl.classroom.compare import short
from minidl.classroom.kinds import Answerer, Direct, WrongAnswer, same, unchanged

REMEMBERED = 60  # calls of a law, from its first, that are kept to tell what an answer looks like


@dataclass
class Call:
    """What a law gave, and what came of it: an answer, or the error that was raised instead."""

    arguments: tuple
    params: dict[str, object]
    answer: object = None
    raised: BaseException | None = None
    errstate: Any = field(default_factory=np.geterr)  # whether an overflow raised

    def again(self, implementation: Callable):
        """Call another implementation in the same way."""
        arguments, params = copy.deepcopy((self.arguments, self.params))
        with np.errstate(**self.errstate):
            return implementation(*arguments, **params)


class Implementation:
    """A function, Op class or kernel as laws call it: plain values in and out, on copies; it counts."""

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
        self.shrinks = True  # whether a failing case is made smaller; if not, a law raises Unshrunk
        self.case: dict[str, object] = {}  # the latest of the law that is being tried
        self.first_calls: list[Call] = []  # of the law that is being tried
        self.first_failure: Call | None = None  # the last call of that law's first run that failed
        self.raised: BaseException | None = None  # by the raw function itself, in its latest call

    def __call__(self, *arguments, **params):
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
        """The answer on a copy of the arguments, which it must leave as they were."""
        try:
            answer, before, after = self.answerer.answer(arguments, params)
        except (KeyboardInterrupt, WrongAnswer):
            raise
        except BaseException as error:
            if getattr(error, "ends_the_law", False):
                raise
            if isinstance(error, Exception) and not isinstance(error, HypothesisException):
                self.raised = error
                raise
            # An exit, or a test library's "skip this case": neither may decide whether the law holds.
            raise WrongAnswer(f"{self.name} raised {type(error).__name__} instead of returning") from error
        self.check_inputs(before, after)
        return answer

    def check_inputs(self, before: tuple[tuple, dict], after: tuple[tuple, dict]) -> None:
        """WrongAnswer if an input is not as it was, but for the arrays that are to be written."""
        (arguments, params), (given, given_params) = before, after
        inputs = [(f"input {i}", x, given[i]) for i, x in enumerate(arguments) if i not in self.written]
        inputs += [(name, x, given_params[name]) for name, x in params.items()]
        for which, was, now in inputs:
            if not same(was, now, unchanged):
                raise WrongAnswer(f"{self.name} changed its {which} from {short(was)} to {short(now)}")
