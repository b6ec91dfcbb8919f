"""The figure of Grad-CAM's paper: photograph, guided backprop, Grad-CAM and their product for each class."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from minidl.figures import evidence_by_class

RNG = np.random.default_rng(0)
IMAGE, MAPS = RNG.random((3, 8, 16)), RNG.random((2, 8, 16))
PATTERNS = RNG.normal(size=(2, 3, 8, 16))
NAMES = ["Egyptian cat", "Eskimo dog"]


def test_each_class_has_a_column_under_the_photograph():
    figure = evidence_by_class(IMAGE, PATTERNS, MAPS, PATTERNS, NAMES, title="Two animals")
    photo, *panels = figure.axes
    assert photo.get_title() == "(a) photograph"
    methods = ("(b) guided backprop", "(c) Grad-CAM", "(d) guided Grad-CAM")
    assert {panel.get_title() for panel in panels} == {f"{m}: {name}" for m in methods for name in NAMES}
    for panel in panels:
        assert (panel.get_position().x0 > 0.4) == panel.get_title().endswith("Eskimo dog")
    FigureCanvasAgg(figure).draw()
    boxes = [panel.title.get_window_extent() for panel in figure.axes]
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])


def test_a_pattern_is_grey_at_0_and_bright_where_it_is_positive():
    pattern = np.zeros((1, 1, 2, 2))
    pattern[0, 0, 0] = 2, -2
    figure = evidence_by_class(IMAGE[:, :2, :2], pattern, MAPS[:1, :2, :2], 0 * pattern, ["cat"])
    (drawn,) = [axes for axes in figure.axes if axes.get_title().startswith("(b)")]
    np.testing.assert_allclose(np.asarray(drawn.images[-1].get_array()), [[1, 0], [0.5, 0.5]], atol=1e-6)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"maps": -MAPS}, "negative values"),
        ({"maps": MAPS[:, :4]}, "must agree in number, height and width"),
        ({"guided": PATTERNS[:1]}, "guided .* must agree in number"),
        ({"products": PATTERNS[..., :4]}, "products .* must agree in number"),
        ({"names": ["cat"]}, "names must have one entry for each of the 2"),
        ({"maps": np.ones((3, 8, 16))}, "maps must have 1 or 2 rows, one for each class"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    right = {"image": IMAGE, "guided": PATTERNS, "maps": MAPS, "products": PATTERNS, "names": NAMES}
    with pytest.raises(ValueError, match=message):
        evidence_by_class(**(right | change))
