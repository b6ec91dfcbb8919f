"""The trained networks that lessons share."""

import numpy as np
import pytest

from minidl.data import load_digits
from minidl.train import networks
from minidl.train.networks import (
    digits_network,
    digits_split,
    shapes_images,
    shapes_network,
    train_on_digits,
    train_on_shapes,
    untrained,
)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What was asked to be trained, with untrained weights given in its place."""
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path))
    asked = []

    def quick_digits(seed, epochs, lr):
        asked.append(seed)
        return networks.small_cnn(10, 1, rng=np.random.default_rng(seed)).state_dict()

    def quick_shapes(seed, spurious, architecture, images, epochs):
        asked.append((seed, spurious, architecture, images, epochs))
        return untrained(architecture, np.random.default_rng(seed)).state_dict()

    monkeypatch.setattr(networks, "train_on_digits", quick_digits)
    monkeypatch.setattr(networks, "train_on_shapes", quick_shapes)
    return asked


def test_the_three_parts_of_the_digits_share_no_image_and_are_always_the_same():
    train, held_out, test = digits_split()
    (images, _), (test_images, test_labels) = load_digits()
    assert [len(part[1]) for part in (train, held_out, test)] == [1149, 288, 360]
    together = np.concatenate([train[0], held_out[0]])
    assert sorted(image.tobytes() for image in together) == sorted(image.tobytes() for image in images)
    assert np.array_equal(test[0], test_images) and np.array_equal(test[1], test_labels)
    assert np.array_equal(digits_split()[1][0], held_out[0])


def test_each_network_is_trained_once_and_comes_in_evaluation_mode(asked):
    models = [digits_network(1), digits_network(1), digits_network(2)]
    models += [shapes_network(1), shapes_network(1), shapes_network(1, spurious=1.0)]
    models += [shapes_network(1, architecture="residual")]
    recipes = [(1, 0.0, "plain"), (1, 1.0, "plain"), (1, 0.0, "residual")]
    budget = (4000, 8)  # the same numbers for both networks, to compare them
    assert asked == [1, 2, *(recipe + budget for recipe in recipes)]
    assert not any(module.training for model in models for module in model.modules())
    assert models[-1].layer("stage1").training is False


def test_training_is_repeatable_and_changes_every_weight():
    runs = [train_on_digits(seed=3, epochs=1, lr=1e-3) for _ in range(2)]
    runs += [train_on_shapes(3, 1.0, "residual", images=64, epochs=1) for _ in range(2)]
    starts = [
        networks.small_cnn(10, 1, rng=np.random.default_rng(3)).state_dict(),
        untrained("residual", np.random.default_rng(3)).state_dict(),
    ]
    for once, again, start in zip(runs[::2], runs[1::2], starts, strict=True):
        assert all(np.array_equal(once[key], again[key]) for key in once)
        assert not any(np.array_equal(once[key], start[key]) for key in start if key.endswith("weight"))


def test_images_of_a_marked_set_carry_marks_and_others_none():
    marked, clean = (shapes_images(40, rng=np.random.default_rng(0), spurious=share) for share in (1.0, 0.0))
    assert marked[0].shape == (40, 3, 16, 16) and np.array_equal(marked[1], clean[1])
    assert set(clean[1]) == {0, 1, 2, 3}
    assert (np.abs(marked[0] - clean[0]).max(axis=1) > 0).sum(axis=(1, 2)).max() <= 4  # 2 x 2 pixels
    assert all((marked[0][i] != clean[0][i]).any() for i in range(40))


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match="architecture must be one of 'plain', 'residual', got 'deep'"):
        shapes_network(architecture="deep")
