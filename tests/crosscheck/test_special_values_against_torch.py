"""Every operation gives PyTorch's values and gradients for 0, -0, infinities, NaN, 1e30 and ties.

Where both differ on purpose, EXPECTED says where and why. There the test asks that nothing else differs.
"""

from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
import special_values
from against_torch import torch
from special_values import BINARY, EXPECTED, OF_ROWS, PAIRS, ROWS, SPECIAL, TF, UNARY, nowhere

import minidl.nn.functional as F
from minidl import Op, Tensor, grad
from minidl.engine.backward import topological_order

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
UPSTREAM = [1.0, 0.0, np.inf, np.nan]
INPUTS = {
    **dict.fromkeys(UNARY, [SPECIAL]),
    **dict.fromkeys(BINARY, PAIRS),
    **dict.fromkeys(OF_ROWS, [ROWS]),
}
CASES = {**UNARY, **BINARY, **OF_ROWS}


def difference(found, expected):
    return ~np.isclose(found, np.asarray(expected.detach()), rtol=1e-5, atol=1e-6, equal_nan=True)


def assert_alike(name, *inputs):
    (ours, theirs), (_, value_may, gradient_may) = CASES[name], EXPECTED.get(name, ("", nowhere, nowhere))
    for upstream in UPSTREAM:
        tensors = [Tensor(x.copy(), requires_grad=True) for x in inputs]
        twins = [torch.tensor(x, requires_grad=True) for x in inputs]
        y, twin = ours(*tensors), theirs(*twins)
        assert not (difference(y.data, twin) & ~value_may(*inputs)).any(), name
        twin.backward(torch.full_like(twin, upstream))
        gradients = grad(y, tensors, np.full(y.shape, upstream, np.float32))
        for found, other in zip(gradients, twins, strict=True):
            wrong = difference(found, other.grad) & ~np.bool_(gradient_may(*inputs, upstream))
            assert not wrong.any(), (
                name,
                upstream,
                [x[wrong] for x in inputs],
                found[wrong],
                other.grad[wrong],
            )


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_alike(name):
    assert_alike(name, *INPUTS[name])


@pytest.mark.parametrize("name", UNARY)
def test_the_compiled_kernels_give_the_same_for_large_arrays(name):
    many = 22_000 if name in ("relu", "F.relu", "clip", "clip low") else 110  # beyond 20,000 they compile
    assert_alike(name, np.resize(SPECIAL, many)) if name != "dropout2d" else None


@pytest.mark.parametrize("name", EXPECTED)
def test_an_expected_difference_is_still_there(name, monkeypatch):
    monkeypatch.delitem(EXPECTED, name)
    with pytest.raises(AssertionError):
        assert_alike(name, *INPUTS[name])


def subclasses(kind):
    return {kind}.union(*(subclasses(one) for one in kind.__subclasses__()))


def test_every_operation_of_the_engine_is_compared():
    used = set()
    for name, (ours, _) in CASES.items():
        y = ours(*[Tensor(x.copy(), requires_grad=True) for x in INPUTS[name]])
        used |= {type(t.op) for t in topological_order(y, lambda t: t.parents)}
    engine = {op for op in subclasses(Op) if op.__module__.startswith("minidl.engine")}
    bases = {"Op", "Move", "Reduction", "Pool2d"}
    assert {op.__name__ for op in engine - used} == bases


def test_every_function_that_pytorch_has_too_is_compared():
    names = {name for name, f in vars(F).items() if isinstance(f, FunctionType) and hasattr(TF, name)}
    text = Path(special_values.__file__).read_text(encoding="utf-8")
    text = text.replace("TF.", "")
    compared = {name for name in names if f"F.{name}" in text or f'("{name}"' in text}
    assert names - compared == {"one_hot"}
