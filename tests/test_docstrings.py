"""Every public function has an example in its docstring, and each example gives what it says."""

import doctest
import importlib
import inspect

import numpy as np
import pytest
from surface import PACKAGES, defined

import minidl

MODULES = (
    "nn.functional",
    "nn.init",
    "nn.models",
    "train.calibration",
    "train.metrics",
    "train.schedules",
    "train.intervals",
)
NO_EXAMPLE = {
    "attack.Perturbation": "a record that minimal_perturbation returns",
    "attack.Robustness": "a record that robust_accuracy returns",
    "compress.PruneResult": "a record that iterative_prune returns",
    "explain.Explanation": "a record that Explainer.explain returns",
    "train.Evaluation": "a record that evaluate returns",
    "train.calibration.Reliability": "a record that reliability returns",
    **dict.fromkeys(
        ("nn.functional.dropped", "nn.functional.padding_of", "nn.functional.without_none"),
        "a part that layers and functions of nn share",
    ),
    **dict.fromkeys(("nn.init.chosen_fan", "nn.init.leaf"), "a part that the functions of init share"),
    **dict.fromkeys(
        (
            *("train.calibration.as_probabilities", "train.calibration.bin_numbers"),
            *("train.metrics.classes_of", "train.metrics.has_accuracy", "train.metrics.predicted_and_actual"),
        ),
        "a part that metrics share",
    ),
    **dict.fromkeys(
        ("train.schedules.between", "train.schedules.of_steps"),
        "a part of schedules",
    ),
}


def documented() -> dict[str, str]:
    """The docstrings of the packages' public functions and classes, and of the modules in MODULES."""
    found = {}
    for path in ("", *PACKAGES, *MODULES):
        room = importlib.import_module(f"minidl.{path}" if path else "minidl")
        for name in getattr(room, "__all__", None) or defined(room):
            value = getattr(room, name)
            if inspect.isfunction(value) or inspect.isclass(value):
                found[f"{path}.{name}" if path else name] = inspect.getdoc(value) or ""
    return found


DOCUMENTED = documented()
WITH_EXAMPLE = sorted({*DOCUMENTED} - {*NO_EXAMPLE})


def example_of(docstring: str) -> str:
    """The lines from the first ``>>>`` to the end; "" without an example after an empty line."""
    words, found, example = docstring.partition("\n\n>>> ")
    return ">>> " + example if found and ">>>" not in words else ""


def test_the_names_without_an_example_are_those_that_are_listed():
    without = {name for name, docstring in DOCUMENTED.items() if not example_of(docstring)}
    assert without - {*NO_EXAMPLE} == set(), "the docstring must end with an example after an empty line"
    assert {*NO_EXAMPLE} - without == set(), "these have an example, or are no public names"


@pytest.mark.filterwarnings("ignore:invalid value encountered in log")  # the example of detect_anomaly
@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_the_example_shows_its_name_is_the_end_of_the_docstring_and_gives_what_it_says(name):
    example = example_of(DOCUMENTED[name])
    assert "\n\n" not in example, "the example must be last, without an empty line"
    assert example.startswith(">>> from minidl"), "a reader needs the import"
    assert name.rpartition(".")[2].lower() in example.lower()
    test = doctest.DocTestParser().get_doctest(example, {"np": np}, name, None, 0)
    said: list[str] = []
    with minidl.debug():  # this saves the time to compile kernels
        failed, _ = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert not failed, "".join(said)
