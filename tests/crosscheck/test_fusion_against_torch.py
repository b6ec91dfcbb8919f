"""Folding BatchNorm into a convolution, and a whole fused network, against PyTorch's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl.nn as nn
from minidl import no_grad
from minidl.compress.fuse import fold_batchnorm, fuse
from minidl.nn.models import small_cnn

torch = pytest.importorskip("torch")
from torch.nn.utils.fusion import fuse_conv_bn_eval  # noqa: E402 (only where there is PyTorch)


def tensors(module):
    return {key: torch.from_numpy(value) for key, value in module.state_dict().items()}


@given(seed=st.integers(0, 99), groups=st.sampled_from([1, 2]), bias=st.booleans(), affine=st.booleans())
@settings(max_examples=20)
def test_a_folded_convolution_has_pytorchs_weights(seed, groups, bias, affine):
    rng = np.random.default_rng(seed)
    conv, bn = nn.Conv2d(4, 6, 3, groups=groups, bias=bias, rng=rng), nn.BatchNorm2d(6, affine=affine)
    bn.running_mean, bn.running_var = (rng.uniform(0.5, 2, 6).astype(np.float32) for _ in range(2))
    their_conv = torch.nn.Conv2d(4, 6, 3, groups=groups, bias=bias).eval()
    their_bn = torch.nn.BatchNorm2d(6, affine=affine).eval()
    their_conv.load_state_dict(tensors(conv))
    their_bn.load_state_dict(tensors(bn))
    ours, theirs = fold_batchnorm(conv, bn.eval()), fuse_conv_bn_eval(their_conv, their_bn)
    np.testing.assert_allclose(ours.weight.data, theirs.weight.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.bias.data, theirs.bias.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_one_fused_block_gives_pytorchs_outputs():
    rng = np.random.default_rng(0)
    block = small_cnn(10, 3, rng=rng).layer("block1")
    block.bn.running_mean, block.bn.running_var = (
        rng.uniform(0.5, 2, 16).astype(np.float32) for _ in range(2)
    )
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1, bias=False), torch.nn.BatchNorm2d(16), torch.nn.ReLU()
    ).eval()
    state = tensors(block)
    theirs[0].weight.data = state["conv.weight"]
    theirs[1].load_state_dict({key[3:]: value for key, value in state.items() if key.startswith("bn.")})
    x = rng.normal(size=(4, 3, 9, 9)).astype(np.float32)
    with no_grad(), torch.no_grad():
        ours = fuse(block.eval())(x).data
        np.testing.assert_allclose(ours, theirs(torch.from_numpy(x)).numpy(), rtol=1e-4, atol=1e-5)
