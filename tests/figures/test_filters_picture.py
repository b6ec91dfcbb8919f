"""Filters beside their maps, read back from the figure."""

import numpy as np
import pytest

from minidl.figures import filters_and_maps

FILTERS = np.zeros((3, 3, 2, 2))
FILTERS[0, 0, 0, 0], FILTERS[0, 2, 1, 1] = 2.0, -1.0  # red by 2 in the first corner, blue by -1 in the last
FILTERS[1] = 0.001  # all below 1% of 2
FILTERS[2] = 0.5
MAPS = np.arange(3 * 16.0).reshape(3, 4, 4)


def corner(panel):
    (inset,) = panel.child_axes
    return inset.images[0].get_array()[..., :3]


def test_each_map_has_its_own_scale_and_its_filter_in_the_corner():
    axes = filters_and_maps(FILTERS, MAPS, ["a", "b", "c"], title="stem").axes
    assert [panel.get_title() for panel in axes] == ["a", "b", "c"]
    for panel, values in zip(axes, MAPS, strict=True):
        assert np.array_equal(panel.images[0].get_array(), values)
        assert panel.images[0].get_clim() == (values.min(), values.max())
    grey = 0.5
    assert corner(axes[0]).tolist() == [
        [[1, grey, grey], [grey, grey, grey]],
        [[grey, grey, grey], [grey, grey, 0.25]],
    ]


def test_a_filter_is_scaled_by_its_largest_weight_unless_the_layer_hardly_has_it():
    axes = filters_and_maps(FILTERS, MAPS).axes
    assert np.allclose(corner(axes[2]), 1)
    assert np.allclose(corner(axes[1]), 0.5 + 0.5 * 0.001 / 0.02)


def test_the_image_comes_first_and_a_layer_that_reads_grey_has_grey_filters():
    image = np.random.default_rng(0).random((3, 8, 8))
    axes = filters_and_maps(FILTERS[:, :1], MAPS, [1, 2, 3], 2, image=image).axes
    assert [panel.get_title() for panel in axes] == ["image", "1", "2", "3"]
    assert np.allclose(axes[0].images[0].get_array()[..., :3], image.transpose(1, 2, 0))
    assert not axes[0].child_axes
    assert axes[1].child_axes[0].images[0].get_array().tolist() == [[1, 0.5], [0.5, 0.5]]


def test_a_layer_of_zeros_and_a_map_of_one_value_are_drawn():
    axes = filters_and_maps(np.zeros((1, 3, 2, 2)), np.full((1, 4, 4), 7.0)).axes
    assert np.allclose(corner(axes[0]), 0.5)
    assert axes[0].images[0].get_clim() == (7, 8)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"filters": FILTERS[:2]}, "there must be one map for each filter, got 2 filters and 3 maps"),
        ({"filters": np.zeros((3, 2, 2, 2))}, r"filters must have shape .* got \(3, 2, 2, 2\)"),
        ({"maps": MAPS[0]}, "maps must have shape"),
        ({"maps": MAPS * np.nan}, "maps must be finite"),
        ({"image": np.full((3, 4, 4), 2.0)}, r"image must lie in \[0, 1\]"),
        ({"titles": ["a"]}, "titles must have one entry for each of the 3 maps"),
    ],
)
def test_bad_input_is_refused_in_words(changed, message):
    with pytest.raises(ValueError, match=message):
        filters_and_maps(**{"filters": FILTERS, "maps": MAPS} | changed)
