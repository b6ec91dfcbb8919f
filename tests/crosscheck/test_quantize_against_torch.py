"""Scales, zero points, integers and straight-through gradients are PyTorch's, away from ties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import Tensor
from minidl.compress.quantize import (
    affine_params,
    channel_absmax,
    dequantize,
    fake_quantize,
    quantize,
    symmetric_params,
)

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
seeds = st.integers(0, 10_000)
bits_of = st.integers(2, 8)


def draw(seed, shape=(4, 3, 5)):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) * rng.uniform(0.1, 10)).astype(np.float32)


def far_from_ties(r, params, reach=1e-3):
    """PyTorch multiplies by 1/S and rounds after Z was added: only where r/S is about a half that matters."""
    S, _ = params.aligned(r.shape)
    steps = r.astype(np.float64) / S
    return np.abs(np.abs(steps - np.floor(steps)) - 0.5) > reach


@settings(max_examples=40)
@given(seed=seeds, signed=st.booleans())
def test_integers_of_a_tensor_and_back(seed, signed):
    r = draw(seed)
    params = affine_params(r.min(), r.max(), 8, signed)
    kind = torch.qint8 if signed else torch.quint8
    theirs = torch.quantize_per_tensor(torch.tensor(r), float(params.scale), params.zero_point, kind)
    clear, q = far_from_ties(r, params), quantize(r, params)
    assert (q == theirs.int_repr().numpy())[clear].all()
    np.testing.assert_allclose(dequantize(q, params)[clear], theirs.dequantize().numpy()[clear], rtol=1e-6)


@settings(max_examples=40)
@given(seed=seeds, bits=bits_of, axis=st.integers(0, 2))
def test_fake_quantized_channels_and_their_gradient(seed, bits, axis):
    r = draw(seed)
    # so that some is clipped
    params = symmetric_params(channel_absmax(r, axis) * np.float32(0.6), bits, axis)
    clear = far_from_ties(r, params)
    upstream = draw(seed + 1)

    x = Tensor(r, requires_grad=True)
    y = fake_quantize(x, params)
    y.backward(upstream)
    t = torch.tensor(r, requires_grad=True)
    zeros = torch.zeros(r.shape[axis], dtype=torch.int32)
    theirs = torch.fake_quantize_per_channel_affine(
        t, torch.tensor(params.scale), zeros, axis, params.qmin, params.qmax
    )
    theirs.backward(torch.tensor(upstream))

    np.testing.assert_allclose(y.data[clear], theirs.detach().numpy()[clear], rtol=1e-6)
    assert (x.grad == t.grad.numpy())[clear].all()
    assert (x.grad == 0).any() and (x.grad != 0).any()


@settings(max_examples=40)
@given(seed=seeds, shift=st.floats(-3, 3), bits=bits_of, signed=st.booleans())
def test_fake_quantized_with_a_zero_point_and_its_gradient(seed, shift, bits, signed):
    r = draw(seed) + np.float32(shift)
    params = affine_params(min(r.min() / 2, 0), max(r.max() / 2, 0), bits, signed)
    clear = far_from_ties(r, params)
    x = Tensor(r, requires_grad=True)
    y = fake_quantize(x, params)
    y.sum().backward()
    t = torch.tensor(r, requires_grad=True)
    theirs = torch.fake_quantize_per_tensor_affine(
        t, float(params.scale), params.zero_point, params.qmin, params.qmax
    )
    theirs.sum().backward()
    np.testing.assert_allclose(y.data[clear], theirs.detach().numpy()[clear], rtol=1e-5, atol=1e-6)
    assert (x.grad == t.grad.numpy())[clear].all()


@settings(max_examples=40)
@given(seed=seeds, shift=st.floats(-5, 5))
def test_scale_and_zero_point_of_an_observed_range(seed, shift):
    observer = pytest.importorskip("torch.ao.quantization").MinMaxObserver(dtype=torch.quint8)
    r = draw(seed) + np.float32(shift)
    observer(torch.tensor(r))
    scale, zero_point = observer.calculate_qparams()
    params = affine_params(r.min(), r.max(), 8, signed=False)
    assert params.scale == pytest.approx(scale.item(), rel=1e-6)
    assert abs(params.zero_point - zero_point.item()) <= (abs(r.min() / params.scale % 1 - 0.5) < 1e-3)


def test_at_ties_the_conventions_differ():
    params = affine_params(0.0, 255.0, 8, signed=False)
    odd = affine_params(-1.0, 254.0, 8, signed=False)  # Z = 1
    r = np.float32([0.5, 1.5, 2.5])
    theirs = [
        torch.quantize_per_tensor(torch.tensor(r), 1.0, p.zero_point, torch.quint8).int_repr().tolist()
        for p in (params, odd)
    ]
    assert quantize(r, params).tolist() == theirs[0] == [0, 2, 2]
    assert quantize(r, odd).tolist() == [1, 3, 3] and theirs[1] == [2, 2, 4]
