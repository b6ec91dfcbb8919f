"""How the crosschecks compare: the same float64 arrays through both libraries, values and gradients."""

import numpy as np
import pytest

from minidl import Tensor, grad

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # otherwise PyTorch's threads keep the cores busy while ours work
TOLERANCE = 1e-10


def agree(ours, theirs, *arrays, seed=0, tolerance=TOLERANCE):
    """Both functions give the same values, and for one random upstream gradient the same gradients."""
    tensors = [Tensor(np.array(a, np.float64), requires_grad=True) for a in arrays]
    twins = [torch.tensor(np.array(a, np.float64), requires_grad=True) for a in arrays]
    y, twin = ours(*tensors), theirs(*twins)
    close(y.data, twin, tolerance)
    upstream = np.random.default_rng(seed).normal(size=y.shape)
    twin.backward(torch.tensor(upstream))
    for found, expected in zip(grad(y, tensors, upstream), twins, strict=True):
        close(found, expected.grad, tolerance)


def close(found, expected, tolerance=TOLERANCE):
    expected = np.asarray(expected.detach())
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
