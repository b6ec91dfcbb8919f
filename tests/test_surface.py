"""Every public function, called with one bad argument, refuses it in words or is right."""

from __future__ import annotations

import ast
import copy
import dataclasses
import importlib
import inspect
import linecache
import pydoc
import re
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from surface import CALLS, PACKAGES, public

import minidl
from minidl import Tensor, nn

PACKAGE = Path(minidl.__file__).parent
BAD: dict[str, Any] = {
    "None": None,
    "True": True,
    "text": "text",
    "empty text": "",
    "bytes": b"x",
    "minus one": -1,
    "zero": 0,
    "three halves": 1.5,
    "nan": float("nan"),
    "inf": float("inf"),
    "complex": 1j,
    "huge": 10**30,
    "object": object(),
    "list": [],
    "ragged": [[1, 2], [3]],
    "dict": {"a": 1},
    "one number": np.array(2.5),
    "empty array": np.zeros((0, 3)),
    "no features": np.zeros((3, 0)),
    "text array": np.array(["a", "b"]),
    "nan array": np.full((2, 3), np.nan),
    "long array": np.zeros((2, 1, 1, 1, 1, 2)),
    "array of objects": np.array([None, 1], dtype=object),
    "function": lambda *arguments, **more: None,
    "wrong model": nn.Linear(2, 2),
    "beyond floats": 10**400,
    "no arguments": lambda: 1,
}

# Functions whose task is to change an argument: to train it, to fill it, or to update its statistics.
WRITES = {
    "attack.adversarial_training",
    "attack.noise_training",
    "nn.functional.batch_norm",
    "nn.init.constant_",
    "nn.init.kaiming_normal_",
    "nn.init.kaiming_uniform_",
    "nn.init.normal_",
    "nn.init.ones_",
    "nn.init.uniform_",
    "nn.init.xavier_normal_",
    "nn.init.xavier_uniform_",
    "nn.init.zeros_",
    "train.checkpoint.load",
    "train.clip_grad_norm",
    "train.fit",
    "train.match_statistics",
    "train.reestimate_statistics",
    "transfer.distill.distill",
    "transfer.replace_head",
    "transfer.train_simclr",
}
# Calls that give NaN for a reason.
GIVES_NAN = {
    ("compress.iterative_prune", "lr"): "the history says that a step diverged; the model is the one before"
}
# Arguments that Matplotlib writes as text, whatever they are. A few values stand for all: figures are slow.
LABELS = {"label", "title", "xlabel", "ylabel"}
WRITTEN = ("None", "empty text", "ragged", "object")
# Public names without a valid call in CALLS, and why.
NO_CALL = {
    "Op": "a base class: the engine's tests of Ops call each of them",
    "apply": "takes an Op of one use and Tensors: the engine's tests of bad inputs",
    "debug": "takes no argument",
    "detect_anomaly": "takes no argument",
    "no_grad": "takes no argument",
    "manual_seed": "sets the state of the whole process: the engine's tests",
    "relu_rule": "a context for a rule: the engine's tests of rules",
    "nn.Identity": "takes no argument",
    "nn.Sigmoid": "takes no argument",
    "nn.Tanh": "takes no argument",
    "nn.Module": "a base class that takes no argument",
    "nn.Hook": "made by Module alone",
    "nn.eval_mode": "a context: the tests of modules",
    "train.Evaluation": "a record that functions return",
    "train.History": "a record that functions return",
    "train.Optimizer": "a base class: SGD, Adam and AdamW stand for it",
    "data.cache_folder": "takes no argument",
    "data.cached": "writes to the user's cache: the tests of the cache",
    "data.cached_runs": "writes to the user's cache: the tests of the cache",
    "data.fashion_mnist": "reads files that not every machine has: the tests of IDX files",
    "data.load_idx": "reads files: the tests of IDX files",
    "data.lesson_pictures": "takes no argument",
    "data.load_mnist": "takes no argument",
    "data.mnist": "reads files that not every machine has: the tests of IDX files",
    "transfer.photograph_features": "takes no argument",
    "transfer.pretrained_shapes": "trains for a minute: the tests of backbones",
    "compress.PruneResult": "a record that functions return",
    "export.to_onnx": "needs the package onnx; where it is installed, there is a call",
    "explain.Explanation": "a record that functions return",
    "nn.models.imagenet_names": "takes no argument",
    "nn.models.imagenet_network": "reads a file of weights: the tests of the network",
    **dict.fromkeys(
        (
            "engine.reduce.stable_softmax",
            "compress.prune.accepted_steps",
            "explain.classes.confident_mistakes",
            "explain.gradients.deconvnet_rule",
            "explain.gradients.guided_rule",
            "explain.patches.strongest_units",
        ),
        "a step behind a public function, which checks its arguments",
    ),
    "attack.Perturbation": "a record that functions return",
    "attack.Robustness": "a record that functions return",
}


def found(name: str) -> Callable[..., Any]:
    """The function of a dotted name in ``CALLS``."""
    if name.startswith("Tensor."):
        return getattr(Tensor, name.partition(".")[2])
    room, _, last = name.rpartition(".")
    return getattr(importlib.import_module(f"minidl.{room}" if room else "minidl"), last)


def called(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    named = {name: value for name, value in arguments.items() if name not in ("*", "self")}
    first = [arguments["self"]] if "self" in arguments else []
    if "*" not in arguments:
        return function(*first, **named)
    before = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.kind is p.POSITIONAL_OR_KEYWORD and p.name in named
    ]
    return function(*first, *(named.pop(name) for name in before), *arguments["*"], **named)


def refusal(error: BaseException) -> str:
    """Empty if the error was raised in words by a ``raise`` of minidl; otherwise where it came from."""
    frames = [frame for frame, _ in walk(error.__traceback__)]
    file, line = frames[-1].f_code.co_filename, [number for _, number in walk(error.__traceback__)][-1]
    if isinstance(error, OSError) and error.filename:
        return ""  # a message of the system about a file, with the file's name
    if not file.startswith(str(PACKAGE)):
        return f"raised in {Path(file).name}"
    if line not in raising_lines(file):
        return f"raised by Python in {Path(file).name}:{line}: {linecache.getline(file, line).strip()}"
    return (
        "" if isinstance(error, (ValueError, TypeError, OSError, AssertionError)) else "another kind of error"
    )


def walk(traceback: Any) -> Iterator[tuple[Any, int]]:
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next


@cache
def raising_lines(file: str) -> set[int]:
    """The lines of a file that stand in ``raise`` statements."""
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    raises = [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    return {line for node in raises for line in range(node.lineno, (node.end_lineno or 0) + 1)}


def numbers_in(value: Any, depth: int = 0) -> Iterator[np.ndarray]:
    """The arrays and numbers that a value holds. A model holds its arrays, its gradients and its mode."""
    if isinstance(value, Tensor):
        value = value.data
    if isinstance(value, (bool, int, float, np.ndarray, np.generic)):
        array = np.asarray(value)
        if array.dtype.kind in "fiub":
            yield array
    elif isinstance(value, nn.Module):
        held = [item for module in value.modules() for item in vars(module).values()]
        yield from numbers_in([item for item in held if isinstance(item, (Tensor, np.ndarray))])
        yield from (parameter.grad for parameter in value.parameters() if parameter.grad is not None)
        yield np.array([module.training for module in value.modules()])
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from numbers_in(vars(value), depth)
    elif isinstance(value, (list, tuple, dict)) and depth < 4:
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers_in(item, depth + 1)


def has_nan(value: Any) -> bool:
    return any(np.isnan(array).any() for array in numbers_in(value))


def frozen(value: Any) -> Any:
    """What a later look compares an argument with: copies of its arrays."""
    return [array.copy() for array in numbers_in(value)]


def changed(before: dict[str, Any], arguments: dict[str, Any]) -> list[str]:
    """The arguments whose arrays are no longer those of ``before``."""
    now = {key: frozen(item) for key, item in arguments.items()}
    return [key for key, item in before.items() if not same(item, now[key], equal)]


def same(a: list[np.ndarray], b: list[np.ndarray], alike: Callable[..., Any]) -> bool:
    return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b, strict=True))


def equal(x: np.ndarray, y: np.ndarray) -> bool:
    return np.array_equal(x, y, equal_nan=x.dtype.kind == "f")


def close(x: np.ndarray, y: np.ndarray) -> bool:
    alike = (x.shape, x.dtype) == (y.shape, y.dtype)
    return alike and np.allclose(x, y, rtol=1e-4, atol=1e-6, equal_nan=True)


def faults(name: str, argument: str, bad: str) -> str | None:
    """What is wrong with the call of a function whose one argument is a bad value; None if nothing is."""
    arguments = CALLS[name]()
    value = copy.deepcopy(BAD[bad])
    arguments[argument] = [value, *arguments[argument][1:]] if argument == "*" else value
    before = {key: frozen(item) for key, item in arguments.items()}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            result = called(found(name), arguments)
        except Exception as error:
            where = refusal(error)
            if where:
                return f"{type(error).__name__}: {str(error)[:80]} ({where})"
            result = None
    if (name, argument) not in GIVES_NAN and has_nan(result) and not has_nan(list(arguments.values())):
        return f"NaN out of finite input: {result!r:.80}"
    if name not in WRITES and (written := changed(before, arguments)):
        return f"the argument {written[0]} was changed"
    return None


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", CALLS)
def test_a_bad_argument_is_refused_in_words(name):
    valid = CALLS[name]()
    before = {key: frozen(item) for key, item in valid.items()}
    called(found(name), valid)
    assert name in WRITES or not changed(before, valid)
    faulty = {
        f"{argument}={bad}": fault
        for argument in CALLS[name]()
        if argument != "self"
        for bad in (WRITTEN if name.startswith("figures.") and argument in LABELS else BAD)
        if (fault := faults(name, argument, bad))
    }
    assert not faulty


def other_forms(value: Any) -> list[Any]:
    """The same number as NumPy's, an integer in few bits; the same array in Fortran's order, read-only."""
    if type(value) is float:
        return [np.float64(value)]
    if type(value) is tuple and value and all(type(number) in (int, float) for number in value):
        return [tuple(map(np.float64, value))]
    if type(value) is int and 0 <= value < 128:
        return [np.int8(value), np.uint8(value)]
    if isinstance(value, np.ndarray):
        array = np.asfortranarray(value)
        array.setflags(write=False)
        return [array]
    return []


@pytest.mark.parametrize("name", CALLS)
def test_the_same_integer_or_array_in_another_form_gives_the_same(name):
    def numbers(arguments):
        minidl.manual_seed(0)
        return frozen(called(found(name), arguments))

    expected = numbers(CALLS[name]())
    for argument, value in CALLS[name]().items():
        for form in other_forms(value):
            try:
                got = numbers({**CALLS[name](), argument: form})
            except Exception as error:
                assert not refusal(error), (argument, error)
            else:
                assert same(got, expected, close), (argument, type(form))


# Arguments whose integers are not pixels, or of which only the shape counts, and why.
NO_PIXELS = {
    ("data.batches", "images"): "holds any arrays",
    ("compress.filter_norms", "conv"): "weights",
    ("compress.random_scores", "conv"): "weights",
    ("figures.filters_and_maps", "filters"): "weights",
    ("figures.signed_map", "maps"): "signed numbers, shown by their size",
    ("figures.image_grid", "images"): "shown between the smallest and the largest number",
    **{
        (f"compress.{name}", "x"): "only its shape counts"
        for name in (
            "apply_masks",
            "filter_masks",
            "fuse.fuse",
            "remove_filters",
            "remove_masked_filters",
        )
    },
}


def as_pixels(value: Any) -> Any:
    """Images of floats in 0 ... 1 as uint8 in 0 ... 255; None if the value is no images."""
    if isinstance(value, tuple) and len(value) == 2 and as_pixels(value[0]) is not None:
        return as_pixels(value[0]), value[1]
    is_images = isinstance(value, np.ndarray) and value.dtype == np.float32 and value.ndim == 4
    return np.clip(255 * value, 0, 255).astype(np.uint8) if is_images else None


def test_integer_images_are_refused_everywhere():
    taken = set()
    for name in CALLS:
        for argument, value in CALLS[name]().items():
            if as_pixels(value) is None:
                continue
            try:
                called(found(name), {**CALLS[name](), argument: as_pixels(value)})
            except Exception as error:
                assert not refusal(error), (name, argument, error)
            else:
                taken.add((name, argument))
    assert taken == set(NO_PIXELS)


def test_every_argument_has_a_value():
    for name in CALLS:
        signature = inspect.signature(found(name)).parameters.values()
        arguments = {"*" if each.kind is each.VAR_POSITIONAL else each.name for each in signature}
        assert set(CALLS[name]()) == arguments, name


def test_every_public_name_has_a_valid_call_or_a_reason():
    listed = {name for name in public() if name.rpartition(".")[0] in ("", *PACKAGES)}
    assert listed - set(CALLS) - set(NO_CALL) == set()
    assert all(callable(found(name)) for name in NO_CALL)


def test_every_function_that_readme_names_has_a_valid_call_or_a_reason():
    known = [found(name) for name in (*CALLS, *NO_CALL) if not name.startswith("Tensor.")]
    named = set()
    for row in re.findall(r"^\| \d\d \|.*$", (PACKAGE.parent / "README.md").read_text("utf-8"), re.M):
        room = "minidl"
        for word in re.findall(r"`([\w.]+)`", row):
            room, word = (word, "") if word.startswith("minidl") else (room, f".{word}")
            value = pydoc.locate(room + word)
            assert value is not None, f"README names {room + word}"
            if not inspect.ismodule(value) and value not in known:
                named.add(room + word)
    assert named == set()


def divides(x):
    return np.float64(x) / np.float64(x)


def writes(x, y):
    x[:] = 0


@pytest.mark.parametrize(
    "function, arguments, fault",
    [
        (len, {"*": [1.0]}, "TypeError: object of type 'int' has no len"),
        (divides, {"x": 1.0}, "NaN out of finite input"),
        (writes, {"y": 1.0, "x": np.ones(2)}, "the argument x was changed"),
    ],
)
def test_a_fault_is_seen(monkeypatch, function, arguments, fault):
    monkeypatch.setattr("test_surface.found", lambda name: function)
    monkeypatch.setitem(CALLS, "one", lambda: dict(arguments))
    assert fault in faults("one", next(iter(arguments)), "zero")
