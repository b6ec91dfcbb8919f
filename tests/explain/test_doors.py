"""What every explanation refuses at its door, how it batches, and what the package's names mean."""

import numpy as np
import pytest
from explained import images_of, network

import minidl.explain
import minidl.figures
import minidl.nn as nn
from minidl.explain import (
    Explainer,
    deconvnet,
    deletion_curve,
    easy_and_hard,
    gradcam,
    guided_backprop,
    guided_gradcam,
    hardest_examples,
    input_gradient,
    input_x_gradient,
    insertion_curve,
    integrated_gradients,
    most_confident_mistakes,
    occlusion_map,
    receptive_field,
    saliency,
    shapley_paths,
    smoothgrad,
    top_patches,
)
from minidl.nn import Module, Sequential
from minidl.train import evaluate, predict
from minidl.train.metrics import batch_slices
from minidl.transfer import extract_features

MAPS, LABELS = np.ones((2, 6, 6)), np.array([0, 1])
OF_IMAGES = {
    "input_gradient": lambda m, x: input_gradient(m, x, 1),
    "input_x_gradient": lambda m, x: input_x_gradient(m, x, 1),
    "saliency": lambda m, x: saliency(m, x, 1),
    "integrated_gradients": lambda m, x: integrated_gradients(m, x, 1, steps=2),
    "smoothgrad": lambda m, x: smoothgrad(m, x, 1, samples=2),
    "deconvnet": lambda m, x: deconvnet(m, x, 1),
    "guided_backprop": lambda m, x: guided_backprop(m, x, 1),
    "gradcam": lambda m, x: gradcam(m, x, 1, "act"),
    "guided_gradcam": lambda m, x: guided_gradcam(m, x, 1, "act"),
    "occlusion_map": lambda m, x: occlusion_map(m, x, 1),
    "deletion_curve": lambda m, x: deletion_curve(m, x, 1, MAPS, steps=2),
    "insertion_curve": lambda m, x: insertion_curve(m, x, 1, MAPS, steps=2),
    "top_patches": lambda m, x: top_patches(m, "act", x, 1),
    "easy_and_hard": lambda m, x: easy_and_hard(m, x, LABELS),
    "hardest_examples": lambda m, x: hardest_examples(m, x, LABELS),
    "most_confident_mistakes": lambda m, x: most_confident_mistakes(m, x, LABELS),
}
of_images = pytest.mark.parametrize("explain", OF_IMAGES.values(), ids=OF_IMAGES.keys())


@of_images
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_integer_images_are_refused_with_the_mend(explain, dtype):
    images = (255 * images_of(0)).astype(dtype)
    explain(network(0), images / 255)
    with pytest.raises(TypeError, match="images must be floats, got .*: divide pixels 0 ... 255 by 255"):
        explain(network(0), images)


@of_images
@pytest.mark.parametrize(
    "images", [[[1, 2], [3]], None, "cat", 3.0, np.zeros((0, 2, 6, 6)), {"a": 1}, [10**400], np.nan]
)
def test_what_is_no_image_is_refused_by_the_name_of_the_argument(explain, images):
    with pytest.raises((TypeError, ValueError), match="^images must "):
        explain(network(0), images)


@pytest.mark.parametrize("flag", ["False", 1, 0, None, "no", np.array([True, False])])
@pytest.mark.parametrize(
    "name, call",
    [
        ("upsample", lambda flag: gradcam(network(0), images_of(0), 1, "act", upsample=flag)),
        ("probability", lambda flag: occlusion_map(network(0), images_of(0), 1, probability=flag)),
        ("probability", lambda flag: deletion_curve(network(0), images_of(0), 1, MAPS, probability=flag)),
        ("antithetic", lambda flag: shapley_paths([0, 1.0], 1, 4, antithetic=flag)),
    ],
)
def test_what_is_neither_true_nor_false_is_no_flag(name, call, flag):
    with pytest.raises(TypeError, match=f"{name} must be True or False"):
        call(flag)


@pytest.mark.parametrize(
    "call",
    [
        lambda: integrated_gradients(network(0), images_of(0), 1, steps=True),
        lambda: smoothgrad(network(0), images_of(0), 1, samples=True),
        lambda: top_patches(network(0), "act", images_of(0), True),
        lambda: input_gradient(network(0), images_of(0), True),
        lambda: integrated_gradients(network(0), images_of(0), 1, baseline=True),
        lambda: minidl.explain.kernel_weights(True),
    ],
)
def test_true_is_not_taken_for_1(call):
    with pytest.raises(TypeError, match="must be (an integer|integers|real numbers), got True"):
        call()


@pytest.mark.parametrize(
    "shape, expected",
    [((300, 1, 8, 8), 256), ((9, 3, 224, 224), 3), ((9, 3, 320, 320), 1), ((9, 3, 600, 600), 1)],
)
def test_a_batch_holds_as_many_images_as_half_a_million_numbers_and_at_least_one(shape, expected):
    images = np.broadcast_to(np.float32(0), shape)
    parts = batch_slices(images)
    assert parts[0] == slice(0, expected)
    assert np.concatenate([np.arange(shape[0])[part] for part in parts]).tolist() == list(range(shape[0]))


class Seen(Module):
    """Two logits of an image; it notes how many images it gets at a time."""

    def __init__(self):
        self.counts = []

    def forward(self, x):
        self.counts.append(len(x))
        return x.reshape(len(x), -1)[:, :2]


LARGE, KINDS = np.zeros((7, 3, 224, 224), np.float32), np.array([0, 1] * 3 + [0])


@pytest.mark.parametrize(
    "look",
    [
        predict,
        lambda model, images: evaluate(model, images, KINDS),
        lambda model, images: easy_and_hard(model, images, KINDS),
        lambda model, images: hardest_examples(model, images, KINDS),
        lambda model, images: extract_features(model, images, ""),
    ],
)
def test_large_images_are_looked_at_few_at_a_time_everywhere(look):
    model = Seen()
    look(model, LARGE)
    assert model.counts == [3, 3, 1]


@pytest.mark.parametrize(
    "look",
    [
        predict,
        lambda *of, batch_size: evaluate(*of, KINDS, batch_size=batch_size),
        lambda *of, batch_size: extract_features(*of, "", batch_size=batch_size),
    ],
)
def test_a_given_batch_size_is_obeyed(look):
    model = Seen()
    look(model, LARGE, batch_size=5)
    assert model.counts == [5, 2]


class Block(Module):
    """A block whose own forward adds its input, as those of many published networks do."""

    def __init__(self):
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.conv(x)) + x


@pytest.mark.parametrize("layer", ["1.act", "2", "3.conv"])
def test_a_layer_behind_a_block_with_its_own_forward_is_refused_by_the_blocks_path(layer):
    model = Sequential(nn.Conv2d(2, 2, 3, padding=1), Block(), nn.ReLU(), Block())
    if layer == "1.act":
        assert receptive_field(model, layer).rows.size == 5
        return
    with pytest.raises(
        ValueError, match=rf"{layer}.*layer '1', a Block, computes its result in its own forward"
    ):
        receptive_field(model, layer)
    with pytest.raises(ValueError, match="layer '1', a Block, computes its result in its own forward"):
        top_patches(model, layer, np.zeros((1, 2, 8, 8)), 1)


def test_votes_count_as_0_and_1_in_a_game_and_in_an_explainer():
    majority = minidl.explain.per_coalition(lambda players: len(players) >= 2)
    np.testing.assert_allclose(minidl.explain.shapley_values(majority, 3), 1 / 3)
    rows = np.array([[True, False], [True, True]])
    values = Explainer(lambda x: x[:, 0] + 2 * x[:, 1], np.zeros((1, 2))).explain(rows).values
    np.testing.assert_allclose(values, [[1, 0], [1, 2]])
