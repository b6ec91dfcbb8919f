"""The pretrained network that lessons share."""

import numpy as np

from minidl.data import SHAPES
from minidl.transfer import backbone
from minidl.transfer.backbone import SOURCE_SHAPES, TARGET_SHAPES, pretrained_shapes, shapes_cnn


def test_source_and_target_shapes_are_all_shapes_and_share_none():
    assert sorted(SOURCE_SHAPES + TARGET_SHAPES) == sorted(SHAPES)
    assert len(SOURCE_SHAPES) == 8 and len(TARGET_SHAPES) == 4


def test_an_untrained_network_is_drawn_from_its_generator_alone():
    one, same, other = (shapes_cnn(5, np.random.default_rng(seed)).state_dict() for seed in (0, 0, 1))
    assert one["head.weight"].shape == (5, 64)
    assert all(np.array_equal(one[key], same[key]) for key in one)
    assert not np.array_equal(one["head.weight"], other["head.weight"])


def test_the_pretrained_network_is_trained_once_a_seed_and_comes_in_evaluation_mode(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path))
    asked = []

    def quick(seed, images, epochs):
        asked.append(seed)
        return {
            **shapes_cnn(8, np.random.default_rng(99)).state_dict(),
            "head.bias": np.full(8, seed, np.float32),
        }

    monkeypatch.setattr(backbone, "train_on_source", quick)
    models = [pretrained_shapes(seed) for seed in (3, 3, 4)]
    assert asked == [3, 4]
    assert [model.head.bias.data[0] for model in models] == [3, 3, 4]
    assert not any(module.training for module in models[1].modules())


def test_training_on_the_source_is_repeatable_and_learns():
    state = backbone.train_on_source(seed=0, images=128, epochs=2)
    again = backbone.train_on_source(seed=0, images=128, epochs=2)
    start = shapes_cnn(8, np.random.default_rng(0)).state_dict()
    assert all(np.array_equal(state[key], again[key]) for key in state)
    assert not any(np.array_equal(state[key], start[key]) for key in start if key.endswith("weight"))
