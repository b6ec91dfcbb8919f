"""Explanations by gradients are what hand-written PyTorch hooks give with the same weights."""

import numpy as np
import pytest

from minidl import nn
from minidl.explain import (
    deconvnet,
    gradcam,
    guided_backprop,
    guided_gradcam,
    input_x_gradient,
    integrated_gradients,
    saliency,
)
from minidl.explain.cam import upsample_maps
from minidl.nn.models import small_cnn

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

BN2 = 6  # x, conv, bn, relu, pool, conv, bn: the place of block2.bn among the outputs
seeds = pytest.mark.parametrize("seed", range(3))


def pair(seed):
    """One network in both libraries, with BatchNorm's statistics and parameters far from the start."""
    rng = np.random.default_rng(seed)
    ours = small_cnn(4, 3, (6, 8), pool_after=(1,), rng=rng).eval()
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean += rng.normal(size=module.running_mean.shape).astype(np.float32) / 4
            module.running_var *= rng.uniform(0.5, 2, module.running_var.shape).astype(np.float32)
            module.weight.data = rng.normal(size=module.weight.shape)
            module.bias.data = rng.normal(size=module.bias.shape) / 4
    layers = []
    for channels, width, pools in ((3, 6, True), (6, 8, False)):
        conv = torch.nn.Conv2d(channels, width, 3, padding=1, bias=False)
        layers += [conv, torch.nn.BatchNorm2d(width), torch.nn.ReLU()]
        layers += [torch.nn.MaxPool2d(2)] if pools else []
    layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 4)]
    theirs = torch.nn.Sequential(*layers).double().eval()
    values = [torch.from_numpy(array) for array in ours.state_dict().values()]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), values, strict=True)))
    return ours, theirs, rng.random((5, 3, 8, 8)), rng.integers(0, 4, 5)


def plain(relu, grad_input, grad_output):
    return None


def by_deconvnet(relu, grad_input, grad_output):
    return (grad_output[0].clamp(min=0),)


def by_guided(relu, grad_input, grad_output):
    return (grad_input[0].clamp(min=0),)  # grad_input is already 0 where the ReLU was off


def torch_gradient(theirs, images, pick, hook=plain):
    """The gradient at the images of the sum of ``pick(outputs)``, with ``hook`` on the way through ReLUs."""
    relus = [module for module in theirs if isinstance(module, torch.nn.ReLU)]
    handles = [relu.register_full_backward_hook(hook) for relu in relus]
    x = torch.tensor(images, requires_grad=True)
    outputs = [x]
    for module in theirs:
        outputs.append(module(outputs[-1]))
    pick(outputs).sum().backward()
    for handle in handles:
        handle.remove()
    return x.grad.numpy()


def logits_of(labels):
    return lambda outputs: outputs[-1][torch.arange(len(labels)), torch.from_numpy(labels)]


def assert_same(found, expected):
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


@seeds
@pytest.mark.parametrize(
    "ours, hook", [(deconvnet, by_deconvnet), (guided_backprop, by_guided)], ids=["deconvnet", "guided"]
)
def test_the_rules_are_backward_hooks_on_relu(seed, ours, hook):
    model, theirs, images, labels = pair(seed)
    assert_same(ours(model, images, labels), torch_gradient(theirs, images, logits_of(labels), hook))
    unit = torch_gradient(theirs, images, lambda outputs: outputs[BN2][:, 3, 1, 2], hook)
    assert_same(ours(model, images, ("block2.bn", 3, 1, 2)), unit)


@seeds
def test_saliency_is_the_gradients_magnitude(seed):
    model, theirs, images, labels = pair(seed)
    gradients = torch_gradient(theirs, images, logits_of(labels))
    assert_same(saliency(model, images, labels, reduce="max"), abs(gradients).max(axis=1))
    assert_same(saliency(model, images, labels, reduce="l2"), np.sqrt((gradients**2).sum(axis=1)))
    assert_same(input_x_gradient(model, images, labels), images * gradients)


@seeds
def test_integrated_gradients_are_the_mean_over_the_middles(seed):
    model, theirs, images, labels = pair(seed)
    total = np.zeros_like(images)
    for k in range(20):
        total += torch_gradient(theirs, (k + 0.5) / 20 * images, logits_of(labels)) / 20
    assert_same(integrated_gradients(model, images, labels, steps=20, nodes="midpoint"), images * total)


@seeds
@pytest.mark.parametrize("layer, place", [("block1", 4), ("block2.bn", BN2), ("block2", 7)])
def test_gradcam_is_two_hooks_and_a_bilinear_interpolation(seed, layer, place):
    model, theirs, images, labels = pair(seed)
    kept = {}

    def keep_maps(module, inputs, output):
        kept["maps"] = output
        output.register_hook(lambda gradient: kept.update(gradients=gradient))

    handle = theirs[place - 1].register_forward_hook(keep_maps)
    x = torch.tensor(images, requires_grad=True)
    theirs(x)[torch.arange(len(labels)), torch.from_numpy(labels)].sum().backward()
    handle.remove()
    alpha = kept["gradients"].mean(dim=(2, 3), keepdim=True)
    small = torch.relu((alpha * kept["maps"]).sum(dim=1, keepdim=True)).detach()
    large = torch.nn.functional.interpolate(small, size=(8, 8), mode="bilinear", align_corners=False)
    assert_same(gradcam(model, images, labels, layer, upsample=False), small[:, 0].numpy())
    assert_same(gradcam(model, images, labels, layer), large[:, 0].numpy())
    guided = torch_gradient(theirs, images, logits_of(labels), by_guided)
    assert_same(guided_gradcam(model, images, labels, layer), guided * large.numpy())


@pytest.mark.parametrize(
    "old, new", [((8, 8), (16, 16)), ((3, 5), (10, 7)), ((4, 4), (3, 9)), ((1, 2), (5, 5))]
)
def test_enlarging_is_interpolate_without_aligned_corners(old, new):
    maps = np.random.default_rng(0).standard_normal((2, *old))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[:, None], size=new, mode="bilinear", align_corners=False
    )
    assert_same(upsample_maps(maps, new), expected[:, 0].numpy())
