"""Explanations and attacks on the real network are those that PyTorch computes by hand, on two photographs.

All in float64: in float32 a few of a million inputs of ReLU6 lie within rounding of 0 or 6.
"""

import numpy as np
import pytest

from minidl.attack import fgsm, pgd
from minidl.compress.fuse import fuse
from minidl.data import lesson_pictures, load_picture
from minidl.explain import gradcam, guided_gradcam, occlusion_map
from minidl.explain.gradients import deconvnet, guided_backprop, input_gradient, integrated_gradients
from minidl.nn.models import imagenet_names, imagenet_network
from minidl.train import predict

torch = pytest.importorskip("torch")
twin_module = pytest.importorskip("tests.crosscheck.efficientnet_in_torch")
torch.set_num_threads(1)
SHOWN = {"photos/chelsea": "Egyptian cat", "birds/rooster": "cock"}
LABELS = np.array([imagenet_names().index(name) for name in SHOWN.values()])
TARGETS = LABELS[::-1].copy()


@pytest.fixture(scope="module")
def model():
    return imagenet_network()


@pytest.fixture(scope="module")
def twin(model):
    other = twin_module.EfficientNetLite0()
    other.load_state_dict({key: torch.from_numpy(array) for key, array in model.state_dict().items()})
    return other.eval().double()


@pytest.fixture(scope="module")
def images():
    return np.stack([load_picture(lesson_pictures() / f"{name}.webp", 128)[0] for name in SHOWN]).astype(
        float
    )


def scores(twin, x):
    """The logit of each image's own class."""
    return twin(x)[torch.arange(len(LABELS)), torch.tensor(LABELS)]


def gradient(twin, images):
    x = torch.tensor(images, requires_grad=True)
    scores(twin, x).sum().backward()
    return x.grad.numpy()


def by_rule(passes):
    """ReLU6 whose gradient goes on where ``passes(x, grad)`` holds."""

    class Rectifier(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clamp(0, 6)

        @staticmethod
        def backward(ctx, grad):
            return torch.where(passes(ctx.saved_tensors[0], grad), grad, torch.zeros_like(grad))

    return Rectifier.apply


def guided(x, grad):
    return (x > 0) & (x < 6) & (grad > 0)


def deconvolved(x, grad):
    return (x < 6) & (grad > 0)


def close(found, expected):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


def test_gradients_are_pytorchs(model, twin, images):
    close(input_gradient(model, images, LABELS), gradient(twin, images))


@pytest.mark.parametrize("ours, rule", [(guided_backprop, guided), (deconvnet, deconvolved)])
def test_guided_backprop_and_deconvnet_are_those_of_a_rule_in_pytorch(
    model, twin, images, ours, rule, monkeypatch
):
    monkeypatch.setattr(twin_module, "relu6", by_rule(rule))
    close(ours(model, images, LABELS), gradient(twin, images))


def test_gradcam_is_pytorchs(model, twin, images, monkeypatch):
    maps = twin.maps(torch.tensor(images)).detach().requires_grad_()
    twin.logits(maps)[torch.arange(2), torch.tensor(LABELS)].sum().backward()
    cams = (maps.grad.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1).clamp(min=0).detach().numpy()
    close(gradcam(model, images, LABELS, model.gradcam_layer, upsample=False), cams)
    monkeypatch.setattr(twin_module, "relu6", by_rule(guided))
    product = gradient(twin, images) * gradcam(model, images, LABELS, model.gradcam_layer)[:, np.newaxis]
    close(guided_gradcam(model, images, LABELS, model.gradcam_layer), product)


def test_integrated_gradients_are_pytorchs(model, twin, images):
    steps = 4
    nodes = (np.arange(steps) + 0.5) / steps
    expected = images * np.mean([gradient(twin, alpha * images) for alpha in nodes], axis=0)
    close(integrated_gradients(model, images, LABELS, baseline=0.0, steps=steps, nodes="midpoint"), expected)


def test_occlusion_is_what_covering_costs_in_pytorch(model, twin, images):
    found = occlusion_map(model, images, LABELS, window=64, stride=64, baseline=0.0)
    with torch.no_grad():
        whole = scores(twin, torch.tensor(images))
        for row in (0, 64):
            for column in (0, 64):
                covered = torch.tensor(images)
                covered[:, :, row : row + 64, column : column + 64] = 0
                lost = (whole - scores(twin, covered)).numpy()
                np.testing.assert_allclose(found[:, row + 5, column + 60], lost, atol=1e-8)


def loss_step(twin, images, labels, size):
    x = torch.tensor(images, requires_grad=True)
    torch.nn.functional.cross_entropy(twin(x), torch.tensor(labels), reduction="sum").backward()
    return images + size * x.grad.sign().numpy()


def test_fgsm_is_pytorchs(model, twin, images):
    expected = np.clip(loss_step(twin, images, LABELS, 2 / 255), 0, 1)
    np.testing.assert_allclose(fgsm(model, images, LABELS, 2 / 255), expected, atol=1e-12)


def test_pgd_towards_a_class_is_pytorchs_and_reaches_it(model, twin, images):
    eps, size, x = 4 / 255, 1 / 255, images
    for _ in range(6):
        x = np.clip(np.clip(loss_step(twin, x, TARGETS, -size), images - eps, images + eps), 0, 1)
    settings = {"steps": 6, "step_size": size, "random_start": False, "targeted": True}
    found = pgd(model, images, TARGETS, eps, **settings)
    np.testing.assert_allclose(found, x, atol=1e-9)
    assert predict(model, found).argmax(axis=1).tolist() == TARGETS.tolist()


def test_the_fused_network_gives_the_same_logits(model, images):
    shown = images.astype(np.float32)
    np.testing.assert_allclose(predict(fuse(model), shown), predict(model, shown), atol=1e-4)
