"""Whether an answer is of the kind that the signature says."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.classroom.compare import short


class WrongAnswer(AssertionError):
    """An answer that is wrong for every law: None, a value that is not plain, a changed input, an exit."""


def check_class(answer: Any, returns: str, name: str) -> Any:
    """The answer. Raise WrongAnswer for a plain tuple or list where an annotation is a NamedTuple.

    The annotations are that of the function and those of the fields of a NamedTuple in the answer.
    """
    check_record(answer, returns, f"{name} returned", "its signature")
    return answer


def check_record(value: Any, annotation: str, what: str, who: str) -> None:
    """Check a value and what is in it; what and who begin the message."""
    if type(value) in (tuple, list) and annotation.isidentifier() and annotation[0].isupper():
        raise WrongAnswer(f"{what} {short(value)}: {who} says {annotation}")
    if type(value) is list and annotation.startswith("list["):
        for row in value:
            check_record(row, annotation[len("list[") : -1], what, who)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        kind = type(value).__name__
        for field, inside in getattr(type(value), "__annotations__", {}).items():
            said = str(getattr(inside, "__forward_arg__", inside))  # typing keeps a text as a ForwardRef
            check_record(getattr(value, field), said, f"{what} a {kind} whose {field} has", kind)


def check_kind(answer, returns: str, name: str) -> None:
    """Raise WrongAnswer if the annotation is an array, list, tuple or number, and the answer is another kind.

    A number is accepted as an array, since laws check shapes. An array with axes is not accepted as a number.
    Other annotations are not checked.
    """
    said = f"its signature says {returns}"
    if returns.startswith("tuple["):
        kinds = returns[len("tuple[") : -1].split(", ")
        if not isinstance(answer, tuple) or len(answer) != len(kinds):
            raise WrongAnswer(f"{name} returned {short(answer)}: {said}")
        for i, (part, kind) in enumerate(zip(answer, kinds, strict=True)):
            check_kind(part, kind, f"{name}, part {i} of the tuple,")
    elif returns in ("np.ndarray", "float", "int") and isinstance(answer, list | tuple):
        raise WrongAnswer(f"{name} returned a {type(answer).__name__} {short(answer)}: {said}")
    elif returns in ("float", "int") and np.ndim(answer) > 0:
        raise WrongAnswer(f"{name} returned an array of shape {np.shape(answer)}: {said}")
    elif returns.startswith("list") and not isinstance(answer, list):
        raise WrongAnswer(f"{name} returned {short(answer)}: {said}")
