"""Figures for photographs: what they show, and text that stays legible at 400 pixels of width."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from minidl.figures import (
    patches_beside_patterns,
    perturbation_triple,
    photograph_strip,
    photograph_with_map,
    prediction_bars,
)
from minidl.figures.style import BLUE, VERMILLION

RNG = np.random.default_rng(0)
IMAGE, HEAT = RNG.random((3, 12, 16)), RNG.random((12, 16))
CHANGED = np.clip(IMAGE + 4 / 255 * np.sign(RNG.normal(size=IMAGE.shape)), 0, 1)
NAMES, P = ["tabby cat", "lynx", "a name that is far too long for its place"], [0.2, 0.7, 0.1]
BEFORE, AFTER = ("Egyptian cat", 0.62), ("a bottle of mineral water", 0.991)
PATCHES = [[IMAGE[:, :4, :4]] * 4, [IMAGE[:, :3, :4]] * 2]
FIGURES = {
    "bars": lambda: prediction_bars(IMAGE, P, NAMES, title="What the network says"),
    "map": lambda: photograph_with_map(IMAGE, HEAT, caption="Grad-CAM, lynx"),
    "signed map": lambda: photograph_with_map(IMAGE[:1], HEAT - 0.5, signed=True, title="Signed"),
    "triple": lambda: perturbation_triple(IMAGE, CHANGED, 4 / 255, BEFORE, AFTER),
    "strip": lambda: photograph_strip(np.stack([IMAGE] * 6), [*NAMES, "ox", "deer", "bear"]),
    "patches": lambda: patches_beside_patterns(PATCHES, PATCHES, ["channel 1", "channel 2"]),
}
every_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())


def texts_of(figure):
    return [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]


@every_figure
def test_every_text_is_at_least_11_pixels_high_where_the_figure_is_400_pixels_wide(draw):
    figure = draw()
    for text in texts_of(figure):
        assert text.get_fontsize() / 72 * 400 / figure.get_figwidth() >= 11


@every_figure
def test_no_text_leaves_the_figure_or_covers_another(draw):
    figure = draw()
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in texts_of(figure)]
    for i, box in enumerate(boxes):
        assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_bars_stand_by_probability_with_their_names():
    figure = prediction_bars(IMAGE, P, NAMES, k=2)
    photo, bars = figure.axes
    np.testing.assert_allclose([bar.get_width() for bar in bars.patches], [0.7, 0.2])
    assert [text.get_text() for text in bars.texts] == ["lynx", "70.0%", "tabby cat", "20.0%"]
    np.testing.assert_allclose(np.asarray(photo.images[0].get_array())[..., :3], IMAGE.transpose(1, 2, 0))


def test_the_middle_of_the_triple_is_the_sign_of_the_change():
    inside = 0.1 + 0.8 * IMAGE
    signs = np.sign(RNG.normal(size=IMAGE.shape))
    figure = perturbation_triple(inside, inside + 0.05 * signs, 0.05, BEFORE, AFTER)
    middle = np.asarray(figure.axes[1].images[0].get_array())[..., :3]
    np.testing.assert_allclose(middle, (signs.transpose(1, 2, 0) + 1) / 2, atol=1e-9)
    assert [axes.get_xlabel().split("\n")[-1] for axes in figure.axes] == ["62.0%", "0.05 a pixel", "99.1%"]
    assert [text.get_text() for text in figure.texts[1:]] == ["", "+", "="]


def test_values_of_a_map_that_are_not_finite_are_counted_above_it():
    heat = HEAT.copy()
    heat[0, :2] = np.nan, np.inf
    _, right = photograph_with_map(IMAGE, heat, caption="Grad-CAM").axes
    assert " ".join(right.get_title().split()) == "Grad-CAM hatched: 2 of 192 values are NaN or Inf"


def test_a_strip_frames_right_and_wrong():
    figure = photograph_strip(np.stack([IMAGE, IMAGE]), ["lynx", "ox"], [True, False])
    colours = [axes.spines["left"].get_edgecolor() for axes in figure.axes]
    assert colours == [to_rgba(BLUE), to_rgba(VERMILLION)]


def test_names_of_five_columns_break_at_spaces_and_a_word_too_wide_is_shortened():
    names = ["Chesapeake Bay retriever", "curly-coated retriever", "hippopotamus", "WWWWWWWWWW", "lynx"]
    figure = photograph_strip(np.stack([IMAGE] * 5), names, columns=5)
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels[:2] == ["Chesapeake\nBay\nretriever", "curly-\ncoated\nretriever"]
    assert labels[2].startswith("hippopot") and labels[2].endswith("…") and labels[4] == "lynx"
    FigureCanvasAgg(figure).draw()
    boxes = [axes.xaxis.label.get_window_extent() for axes in figure.axes]
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))


def test_patches_stand_left_of_their_patterns():
    figure = patches_beside_patterns(PATCHES, [[1 - one for one in row] for row in PATCHES])
    assert len(figure.axes) == 12
    first = figure.axes[:8]
    assert [axes.get_position().x0 < 0.5 for axes in first] == [True] * 4 + [False] * 4
    heads = [(text.get_text(), text.get_position()[0] < 0.5) for text in figure.texts]
    assert heads.count(("patterns", False)) == len(PATCHES)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: prediction_bars(255 * IMAGE, P, NAMES), ValueError, r"image must lie in \[0, 1\]"),
        (
            lambda: prediction_bars(IMAGE, P, NAMES[:2]),
            ValueError,
            "names must have one entry for each of the 3",
        ),
        (lambda: prediction_bars(IMAGE, [0.5, 2], NAMES[:2]), ValueError, "probabilities must be within"),
        (lambda: prediction_bars(IMAGE, P, NAMES, k=True), TypeError, "k must be an integer"),
        (lambda: prediction_bars([[1], [1, 2]], P, NAMES), ValueError, "image must be an array"),
        (lambda: photograph_with_map(IMAGE, HEAT[:3]), ValueError, "must agree in number, height and width"),
        (lambda: photograph_with_map(IMAGE, -HEAT), ValueError, "give signed=True"),
        (lambda: photograph_with_map(IMAGE, HEAT, caption=3), TypeError, "caption must be a str"),
        (
            lambda: perturbation_triple(IMAGE, IMAGE[:, :3], 0.1, BEFORE, AFTER),
            ValueError,
            "changed must have the image's shape",
        ),
        (lambda: perturbation_triple(IMAGE, CHANGED, 0, BEFORE, AFTER), ValueError, "eps must be above 0"),
        (
            lambda: perturbation_triple(IMAGE, CHANGED, 4, BEFORE, AFTER),
            ValueError,
            "eps .* at most 1, got 4",
        ),
        (
            lambda: perturbation_triple(IMAGE, CHANGED, 1 / 255, BEFORE, AFTER),
            ValueError,
            "eps must be at least the largest change of a pixel, 0.0157, got",
        ),
        (lambda: perturbation_triple(IMAGE, CHANGED, 1e308, BEFORE, AFTER), ValueError, "eps .* at most 1"),
        (lambda: perturbation_triple(IMAGE, CHANGED, 0.1, "cat", AFTER), TypeError, "before must be a pair"),
        (
            lambda: photograph_strip(IMAGE, ["a"], [1]),
            ValueError,
            "names must have one entry for each of the 3",
        ),
        (lambda: photograph_strip(IMAGE, NAMES, [1, 0, 1]), TypeError, "right must be bools"),
        (lambda: patches_beside_patterns(PATCHES, PATCHES[:1]), ValueError, "the same number of rows"),
        (lambda: patches_beside_patterns(3, PATCHES), TypeError, "patches must be a list or tuple"),
        (lambda: patches_beside_patterns([[IMAGE] * 5], PATCHES), ValueError, r"patches\[0\] must be 1 to 4"),
    ],
)
def test_bad_input_of_photographs_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
