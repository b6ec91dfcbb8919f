"""Masks are those of torch.nn.utils.prune where no two magnitudes are equal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import nn, train
from minidl.compress.masks import apply_masks, filter_mask, global_magnitude_masks, magnitude_mask
from minidl.compress.scores import filter_masks, filter_norms
from minidl.nn import functional as F
from minidl.nn.models import small_cnn

torch = pytest.importorskip("torch")
prune = pytest.importorskip("torch.nn.utils.prune")

amounts = st.one_of(st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.75, 0.9]), st.integers(0, 8))


def draw(seed):
    """A weight (O, C, kh, kw) with magnitudes all different, and so with norms that are."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(2, 6, size=2)) + tuple(rng.integers(1, 4, size=2))
    size = int(np.prod(shape))
    weight = (rng.permutation(size) + rng.uniform(0.1, 0.9, size)) * rng.choice([-1, 1], size)
    return weight.reshape(shape)


def twin_of(weight):
    out, channels, *kernel = weight.shape
    twin = torch.nn.Conv2d(channels, out, kernel, bias=False).double()
    twin.weight.data = torch.tensor(weight)
    return twin


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), amount=amounts)
def test_single_weights_of_a_layer(seed, amount):
    weight = draw(seed)
    if (amount if isinstance(amount, int) else round(amount * weight.size)) >= weight.size:
        return
    twin = prune.l1_unstructured(twin_of(weight), "weight", amount=amount)
    assert np.array_equal(magnitude_mask(weight, amount), twin.weight_mask.numpy().astype(bool))


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), amount=amounts, order=st.sampled_from([1, 2]))
def test_filters_of_a_layer(seed, amount, order):
    weight = draw(seed)
    count = amount if isinstance(amount, int) else round(amount * len(weight))
    if count >= len(weight):
        return
    twin = prune.ln_structured(twin_of(weight), "weight", amount=amount, n=order, dim=0)
    keep = filter_mask(filter_norms(weight, order), amount=amount)
    expected = twin.weight_mask.numpy().astype(bool)
    assert np.array_equal(np.broadcast_to(keep.reshape(-1, 1, 1, 1), weight.shape), expected)


@pytest.mark.parametrize("amount", [0.2, 0.5, 0.8, 17])
def test_single_weights_of_all_layers(amount):
    model = small_cnn(3, 1, (4, 5), rng=np.random.default_rng(0))
    layers = {path: m for path, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    sizes = np.concatenate([np.abs(m.weight.data).ravel() for m in layers.values()])
    assert len(np.unique(sizes)) == len(sizes)  # no ties
    twins = {}
    for path, module in layers.items():
        twins[path] = torch.nn.Linear(1, 1, bias=False)
        twins[path].weight = torch.nn.Parameter(torch.tensor(module.weight.data))
    parameters = [(twin, "weight") for twin in twins.values()]
    prune.global_unstructured(parameters, prune.L1Unstructured, amount=amount)
    masks = global_magnitude_masks(model, amount)
    for path, twin in twins.items():
        assert np.array_equal(masks[f"{path}.weight"], twin.weight_mask.numpy().astype(bool))


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_masked_training_steps_are_those_of_a_pruned_layer(optimizer):
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, rng=rng), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3, rng=rng))
    twin = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 3)
    )
    twin.load_state_dict({key: torch.tensor(array) for key, array in model.state_dict().items()})
    apply_masks(model, {"0.weight": magnitude_mask(model.layer("0").weight.data, 0.6)})
    prune.l1_unstructured(twin[0], "weight", amount=0.6)

    options = {"lr": 0.01, "momentum": 0.9} if optimizer == "SGD" else {"lr": 0.01}
    ours = getattr(train, optimizer)(model.parameters(), **options)
    theirs = getattr(torch.optim, optimizer)(twin.parameters(), **options)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        images, labels = rng.normal(size=(5, 2, 6, 6)).astype(np.float32), rng.integers(0, 3, 5)
        ours.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        ours.step()
        theirs.zero_grad()
        torch.nn.functional.cross_entropy(twin(torch.tensor(images)), torch.tensor(labels)).backward()
        theirs.step()
    twin(torch.zeros(1, 2, 6, 6))  # the pruned weight is computed in the forward pass
    np.testing.assert_allclose(
        model.layer("0").weight.data, twin[0].weight.detach().numpy(), rtol=1e-4, atol=1e-6
    )
    assert np.mean(model.layer("0").weight.data == 0) == pytest.approx(0.6, abs=0.01)


def test_filter_masks_of_a_model_are_those_of_its_layers():
    model = small_cnn(3, 1, (6, 8), rng=np.random.default_rng(2))
    for path, keep in filter_masks(model, 0.5).items():
        weight = model.layer(path).weight.data.astype(np.float64)
        twin = prune.ln_structured(twin_of(weight), "weight", amount=0.5, n=1, dim=0)
        assert np.array_equal(keep, twin.weight_mask.numpy().astype(bool).any(axis=(1, 2, 3)))
