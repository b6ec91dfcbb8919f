"""FGSM and PGD are what the formulas give when they are written out in PyTorch, with the same weights."""

import numpy as np
import pytest

from minidl import nn
from minidl.attack import deepfool, fgsm, pgd
from minidl.nn.models import small_cnn
from minidl.train import predict

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

seeds = pytest.mark.parametrize("seed", range(3))


def pair(seed):
    """One network in both libraries, with BatchNorm's statistics far from the start, images and labels."""
    rng = np.random.default_rng(seed)
    ours = small_cnn(4, 3, (6, 8), pool_after=(1,), rng=rng).eval()
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean += rng.normal(size=module.running_mean.shape).astype(np.float32) / 4
            module.running_var *= rng.uniform(0.5, 2, module.running_var.shape).astype(np.float32)
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


def torch_sign(theirs, x, labels):
    x = x.clone().requires_grad_(True)
    torch.nn.functional.cross_entropy(theirs(x), labels, reduction="sum").backward()
    return x.grad.sign()


@seeds
@pytest.mark.parametrize("targeted", [False, True])
def test_fgsm(seed, targeted):
    ours, theirs, images, labels = pair(seed)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    sign = torch_sign(theirs, x, y) * (-1 if targeted else 1)
    expected = (x + 0.1 * sign).clamp(0, 1)
    np.testing.assert_allclose(fgsm(ours, images, labels, 0.1, targeted=targeted), expected, atol=1e-12)


@seeds
@pytest.mark.parametrize("targeted", [False, True])
def test_pgd(seed, targeted):
    ours, theirs, images, labels = pair(seed)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    moved = x.clone()
    for _ in range(4):
        moved = moved + 0.03 * torch_sign(theirs, moved, y) * (-1 if targeted else 1)
        moved = torch.max(torch.min(moved, x + 0.1), x - 0.1).clamp(0, 1)
    found = pgd(ours, images, labels, 0.1, steps=4, step_size=0.03, random_start=False, targeted=targeted)
    np.testing.assert_allclose(found, moved, atol=1e-12)


def torch_deepfool(theirs, x, steps=50):
    """Moosavi-Dezfooli et al. 2016, algorithm 2, without a box."""
    answer, total = int(theirs(x[None]).argmax()), torch.zeros_like(x)
    for _ in range(steps):
        moved = (x + 1.02 * total).requires_grad_(True)
        z = theirs(moved[None])[0]
        if int(z.argmax()) != answer:
            break
        slopes = [torch.autograd.grad(z_k, moved, retain_graph=True)[0] for z_k in z]
        ways = []
        for k in range(len(z)):
            if k != answer:
                w, f = slopes[k] - slopes[answer], (z[k] - z[answer]).detach()
                ways.append((float(f.abs() / w.norm()), f.abs() / w.norm() ** 2 * w))
        total = total + min(ways, key=lambda way: way[0])[1]
    return x + 1.02 * total


@seeds
def test_deepfool_without_a_box(seed):
    ours, theirs, images, _ = pair(seed)
    found = deepfool(ours, images[0], bounds=(-np.inf, np.inf))
    np.testing.assert_allclose(
        found.image, torch_deepfool(theirs, torch.from_numpy(images[0])).detach(), atol=1e-9
    )
    assert found.success and predict(ours, found.image[None]).argmax() != predict(ours, images[:1]).argmax()
