"""Queries with their neighbours, read back from the figure."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from minidl.figures import neighbours_picture
from minidl.figures.style import BLUE, VERMILLION

rng = np.random.default_rng(0)
QUERIES, SUPPORT = rng.random((2, 3, 4, 4)), rng.random((5, 3, 4, 4))
NEAR = {"pixels": np.array([[4, 0], [1, 3]]), "features": np.array([[2, 4], [3, 0]])}
SAME = {
    "pixels": np.array([[True, False], [False, False]]),
    "features": np.array([[True, True], [False, True]]),
}


def test_a_row_holds_the_query_and_its_neighbours_in_each_space_framed_by_class():
    figure = neighbours_picture(QUERIES, SUPPORT, NEAR, SAME, row_titles=["arrow", "bar"])
    axes = figure.axes
    wanted = [QUERIES[0], *SUPPORT[[4, 0, 2, 4]], QUERIES[1], *SUPPORT[[1, 3, 3, 0]]]
    for panel, image in zip(axes, wanted, strict=True):
        np.testing.assert_allclose(panel.images[0].get_array()[..., :3], image.transpose(1, 2, 0))
    colours = [to_hex(panel.spines["top"].get_edgecolor()).upper() for panel in axes]
    right, wrong = BLUE.upper(), VERMILLION.upper()
    assert colours[1:5] == [right, wrong, right, right]
    assert colours[6:] == [wrong, wrong, wrong, right]
    assert [a.get_title() for a in axes[:3]] == ["query", "pixels\nnearest", "pixels\n2nd"]
    assert [axes[0].get_ylabel(), axes[5].get_ylabel()] == ["arrow", "bar"]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"queries": 2 * QUERIES}, ValueError, r"queries must lie in \[0, 1\]"),
        ({"neighbours": {}}, ValueError, "neighbours must have 1 to 9 entries"),
        ({"same_class": {"pixels": SAME["pixels"]}}, ValueError, "same_class must name the spaces"),
        (
            {"neighbours": {**NEAR, "features": NEAR["features"][:, :1]}},
            ValueError,
            r"by 'features' must have shape \(2, 2\)",
        ),
        (
            {"neighbours": {**NEAR, "features": NEAR["features"] + 1}},
            ValueError,
            r"by .features. must be within \[0, 4\], got 5",
        ),
        ({"neighbours": SAME}, TypeError, "must be integers"),
        ({"same_class": NEAR}, TypeError, "same_class by .pixels. must be bools"),
        ({"row_titles": ["arrow"]}, ValueError, "row_titles must have one entry for each of the 2 queries"),
    ],
)
def test_bad_input_is_refused_in_words(changed, error, message):
    arguments = {"queries": QUERIES, "support": SUPPORT, "neighbours": NEAR, "same_class": SAME} | changed
    with pytest.raises(error, match=message):
        neighbours_picture(**arguments)
