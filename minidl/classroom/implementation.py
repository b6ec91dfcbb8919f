"""Implementation: what somebody wrote for an exercise, in the form in which laws call it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from hypothesis.errors import HypothesisException

from minidl.classroom.compare import short
from minidl.classroom.kinds import Direct, Told, WrongAnswer, same, unchanged

REMEMBERED = 60  # calls of a law, from its first, that are kept to tell what an answer looks like


class Elsewhere(Protocol):
    """A function in another process: it stands for the raw function, and answers as ``Direct`` does."""

    elsewhere: bool
    name: str
    told: Told

    def answer(self, arguments: tuple, params: dict) -> tuple[object, tuple, tuple]: ...


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
        raw: Any,  # a function or a class, or an Elsewhere
        kind: str = "function",
        written: tuple[int, ...] = (),
        returns: str = "",
    ) -> None:
        self.answering: Elsewhere | Direct = (
            raw if getattr(raw, "elsewhere", False) else Direct(raw, kind, written, returns)
        )
        self.raw: Any = getattr(self.answering, "raw", raw)
        self.told = self.answering.told
        self.kind, self.written, self.returns, self.name = kind, written, returns, self.answering.name
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
            answer, before, after = self.answering.answer(arguments, params)
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
