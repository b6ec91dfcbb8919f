"""The checks of arguments. A public function starts with them: one line for each argument.

Every function takes the argument's name first, then its value. Each returns the value in the form that the
code after it uses. A wrong kind raises TypeError; a wrong size, shape or range raises ValueError. The
message says what was expected and what was given. True and False do not count as numbers: usually they mean
that an argument is in the wrong position.
"""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np

T = TypeVar("T")
_KINDS = {"number": "fiu", "integer": "iu", "float": "f", "bool": "b"}
_PLURALS = {"number": "real numbers", "integer": "integers", "float": "floats", "bool": "bools"}


# ---- one value


def check_number(
    name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, finite: bool = True
) -> float:
    """The value as a float. It must lie within [low, high] and be finite, unless ``finite`` is False."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:  # float() cannot hold an integer of more than 308 digits
        number = math.inf if value > 0 else -math.inf
    if not low <= number <= high or (finite and not math.isfinite(number)):
        limits = ["finite"] if finite else []
        if low > -math.inf:
            limits.append(f"at least {low:g}" if high == math.inf else f"within [{low:g}, {high:g}]")
        elif high < math.inf:
            limits.append(f"at most {high:g}")
        raise ValueError(f"{name} must be {' and '.join(limits) or 'a number'}, got {shown(value)}")
    return number


def positive_number(name: str, value: Any, high: float = math.inf) -> float:
    """The value as a float. It must be finite, above 0 and at most ``high``."""
    number, limit = check_number(name, value), "" if high == math.inf else f" and at most {high:g}"
    require(0 < number <= high, f"{name} must be above 0{limit}, got {shown(value)}")
    return number


def check_int(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> int:
    """The value as an int. It must be an integer within [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {shown(value)}")
    if not low <= value <= high:
        limits = f"at least {low}" if high == math.inf else f"within [{low}, {high}]"
        raise ValueError(f"{name} must be {limits}, got {shown(value)}")
    return int(value)


def positive_int(name: str, value: Any) -> int:
    """The value as an int. It must be an integer of at least 1 and below 2**31."""
    require(check_int(name, value, 1) < 2**31, f"{name} must be below 2**31, got {shown(value)}")
    return int(value)


def int_pair(name: str, value: Any, low: int) -> tuple[int, int]:
    """(height, width) from a pair of integers of at least ``low``, or from one integer for both."""
    pair = value if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2 or any(isinstance(n, bool) or not isinstance(n, int | np.integer) for n in pair):
        raise TypeError(f"{name} must be an integer or a pair of integers, got {shown(value)}")
    if min(pair) < low or max(pair) >= 2**31:
        limit = f"at least {low}" if min(pair) < low else "below 2**31"
        raise ValueError(f"{name} must be {limit}, got {shown(value)}")
    return int(pair[0]), int(pair[1])


def check_ints(
    name: str,
    value: Any,
    low: float = 1,
    high: float = math.inf,
    *,
    count: int | None = None,
    empty: bool = False,
) -> tuple[int, ...]:
    """The value as a tuple of integers within [low, high]. One integer stands for all of them.

    count: how many there must be.  empty: a tuple without integers is allowed.
    """
    several = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(several, int | np.integer):
        several = (several,) * (1 if count is None else count)
    require(check_sequence(name, several) or empty, f"{name} must not be empty")
    fits = count is None or len(several) == count
    require(fits, f"{name} must be {count} integers, or one for all of them, got {shown(value)}")
    for n in several:
        limit = f"each of {name} must be below 2**31, got {shown(n)}"
        require(check_int(f"each of {name}", n, low, high) < 2**31, limit)
    return tuple(map(int, several))


def check_flag(name: str, value: Any) -> bool:
    """The value, which must be True or False and nothing else."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def check_choice(name: str, value: T, choices: Collection[T]) -> T:
    """The value, which must be one of ``choices``."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {listed}, got {shown(value)}")
    return value


@overload
def check_instance(name: str, value: object, kind: type[T]) -> T: ...


@overload
def check_instance(name: str, value: T, kind: type | tuple[type, ...], *, optional: bool = False) -> T: ...


def check_instance(name: str, value: T, kind: type | tuple[type, ...], *, optional: bool = False) -> T:
    """The value, which must be an instance of ``kind``, or None if that is allowed."""
    if not isinstance(value, kind) and not (optional and value is None):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        named = " or ".join(one.__name__ for one in kinds)
        article = "an" if named[0] in "AEIOUaeiou" else "a"
        raise TypeError(f"{name} must be {article} {named}, got {shown(value)}")
    return value


def check_path(name: str, value: str | os.PathLike) -> Path:
    """The value as a Path. It must be a text or a Path, not empty and without characters that no path has."""
    check_instance(name, value, (str, os.PathLike))
    try:
        encoded = os.fsencode(value)
    except UnicodeEncodeError:
        encoded = b""
    require(encoded and b"\0" not in encoded, f"{name} must be a path, got {shown(value)}")
    return Path(value)


def check_function(name: str, value: T, takes: str = "", *, optional: bool = False) -> T:
    """The value, which must be callable, or None if that is allowed.

    takes: the arguments of the later call, such as "images and rng" or "(grad, x)"; "lr=lr" is an argument
    given by name. A function that does not accept these arguments is refused.
    """
    if optional and value is None:
        return value
    of = f" of {takes}" if takes else ""
    if not callable(value):
        raise TypeError(f"{name} must be a function{of}, got {shown(value)}")
    if not takes:
        return value
    given = re.split(", | and ", takes.strip("()"))
    called = value if isinstance(value, type) else getattr(value, "forward", value)  # what a Module calls
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):  # some functions written in C have no signature
        return value
    try:
        signature.bind(*(x for x in given if "=" not in x), **dict(x.split("=") for x in given if "=" in x))
    except TypeError as error:
        own = f"{getattr(value, '__name__', shown(value))}({', '.join(signature.parameters)})"
        raise TypeError(f"{name} must be a function{of}, got {own}: {error}") from None
    return value


def check_temperature(temperature: float) -> float:
    """The temperature itself if it is a finite number above 0 (also in float32); otherwise an error."""
    T = check_number("temperature", temperature, finite=False)
    fits = np.finfo(np.float32).tiny <= T < np.inf
    require(fits, f"temperature must be a finite number > 0, got {shown(temperature)}")
    return T


# ---- arrays


def check_array(
    name: str,
    value: Any,
    *shape: int | str | None,
    kind: str = "number",
    finite: bool = True,
    nan: bool = True,
    empty: bool = False,
    low: float = -math.inf,
    high: float = math.inf,
) -> np.ndarray:
    """The value as an array.

    shape: one entry for each axis: a number, or a letter for any size. A first entry ``"..."`` stands for any
    number of axes. Without entries any shape is right.  kind: "number" (floats and integers), "integer",
    "float" or "bool".
    finite: no NaN and no Inf.  nan: NaN is allowed if Inf is.  empty: a size of 0 is allowed.  low, high:
    bounds of every element.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array, but its rows are of different lengths") from error
    if array.dtype.kind not in _KINDS[kind] and (empty or array.size > 0):  # NumPy takes [] for floats
        raise TypeError(f"{name} must be {_PLURALS[kind]}, got {shown(value)} of {array.dtype}")
    if shape and not _fits(array.shape, shape):
        raise ValueError(f"{name} must have shape {_spelled(shape)}, got {array.shape}")
    if array.size == 0 and not empty:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)].flat[0]}")
    if not nan and np.isnan(array).any():
        raise ValueError(f"{name} hold NaN, which is neither above nor below another number")
    if array.dtype.kind == "f":  # a bound beyond the dtype's range becomes its largest number
        most = float(np.finfo(array.dtype).max)
        low, high = max(low, -most) if low > -math.inf else low, min(high, most) if high < math.inf else high
    outside = ((array < low) | (array > high)) if _bounded(low, high) else np.False_
    if outside.any():
        limits = f"at least {low:g}" if high == math.inf else f"within [{low:g}, {high:g}]"
        raise ValueError(f"{name} must be {limits}, got {array[outside].flat[0]}")
    return array


def number_array(name: str, value: object) -> np.ndarray:
    """The value as an array of numbers of any shape, finite or not, empty or not."""
    return check_array(name, value, finite=False, empty=True)


def array_pair(name: str, value: Any) -> tuple[np.ndarray, np.ndarray]:
    """The pair (images, labels) as two arrays of one length that is not 0, of numbers or bools."""
    pair = check_pair(name, value, "(images, labels)")
    try:
        images, labels = map(np.asarray, pair)
    except ValueError as error:
        raise ValueError(f"{name} must be arrays, but their rows are of different lengths") from error
    for array in (images, labels):
        require(array.dtype.kind in "fiub", f"{name} must be numbers, got {array.dtype}", TypeError)
    fits = images.ndim > 0 and labels.ndim > 0 and len(images) == len(labels) > 0
    require(fits, f"{name} must have the same length and not be empty, got {images.shape} and {labels.shape}")
    return images, labels


def check_labels(
    name: str, labels: Any, count: int | None = None, num_classes: int | None = None, *, empty: bool = False
) -> np.ndarray:
    """The labels as int64 (N,). There must be ``count`` labels, each in 0 ... num_classes - 1."""
    array = check_array(name, labels, "N" if count is None else count, kind="integer", empty=empty)
    limit = np.iinfo(np.int64).max if num_classes is None else num_classes - 1
    wrong = np.flatnonzero((array < 0) | (array > limit))
    if wrong.size:
        raise ValueError(f"{name} must be in 0 ... {limit}, got {array[wrong[0]]} at index {wrong[0]}")
    return array.astype(np.int64, copy=False)


def check_images(name: str, images: Any, low: float = -math.inf, high: float = math.inf) -> np.ndarray:
    """Images (N, C, H, W), or rows (N, D), of finite floats. float64 stays, other dtypes become float32."""
    array = check_array(name, float_images(name, images), low=low, high=high)
    if array.ndim < 2:
        raise ValueError(f"{name} must be images (N, C, H, W) or rows (N, D), got {array.shape}")
    return array.astype(np.float64 if array.dtype == np.float64 else np.float32, copy=False)


def float_images(name: str, images: Any) -> np.ndarray:
    """Images (N, ...) of floats, finite or not. Integers, most often pixels 0 ... 255, are refused."""
    array = check_array(name, images, finite=False)
    mend = "divide pixels 0 ... 255 by 255, as in images.astype(np.float32) / 255"
    require(array.dtype.kind == "f", f"{name} must be floats, got {array.dtype}: {mend}", TypeError)
    require(array.ndim > 0, f"{name} must be an array (N, ...), got one number")
    return array


def check_sequence(name: str, value: Any) -> Sequence:
    """The value, which must be a tuple or a list."""
    return check_instance(name, value, (tuple, list))


def check_pair(name: str, value: Any, of: str = "two values") -> tuple:
    """The value as a tuple of two. ``of`` names the two, as in "(low, high)"."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{name} must be a pair {of}, got {shown(value)}")
    return tuple(value)


def check_bounds(name: str, value: Any) -> tuple[float, float]:
    """The value as (low, high), two numbers with low < high, which may be infinite."""
    low, high = check_pair(name, value, "(low, high)")
    low, high = check_number(name, low, finite=False), check_number(name, high, finite=False)
    if not low < high:
        raise ValueError(f"{name} must be (low, high) with low < high, got {shown(value)}")
    return low, high


def check_same_length(**arrays: Sequence) -> int:
    """The common length of the named arrays."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"{' and '.join(lengths)} must have the same length, got {listed}")
    return next(iter(lengths.values()))


def require(condition: object, message: str, error: type[Exception] = ValueError) -> None:
    """Raise the error with the message unless the condition holds.

    Python builds the message even if the condition holds. So the message must be cheap and must not fail.
    """
    if not condition:
        raise error(message)


def shown(value: object) -> str:
    """The value as an error may print it: an array by its shape, a long text by its beginning."""
    if isinstance(value, np.ndarray):
        return f"an array {value.shape}"
    try:
        text = repr(value)
    except Exception:  # an int of more than 4,300 digits, or a repr that fails
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:60]} ... ({type(value).__name__})"


def _fits(actual: tuple[int, ...], wanted: tuple) -> bool:
    if wanted[0] == "...":
        wanted = wanted[1:]
        actual = actual[len(actual) - len(wanted) :] if len(actual) >= len(wanted) else ()
    sizes: dict[str, int] = {}
    return len(actual) == len(wanted) and all(
        have == (sizes.setdefault(want, have) if isinstance(want, str) else have if want is None else want)
        for have, want in zip(actual, wanted, strict=True)
    )


def _spelled(shape: tuple) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)}{',' * (len(shape) == 1)})"


def _bounded(low: float, high: float) -> bool:
    return low > -math.inf or high < math.inf
