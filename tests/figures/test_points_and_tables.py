"""Tables of colours and clouds of points."""

import matplotlib
import numpy as np
import pytest

from minidl.figures import heat_map, scatter_by_class
from minidl.figures.style import png_bytes

TABLE = np.array([[0.25, 0.5, np.nan], [0.75, 1.0, 0.0]])
LABELS = np.array([0, 1, 1, 0])
CLOUD = np.arange(8.0).reshape(4, 2)


def test_a_heat_map_writes_each_number_into_its_cell_under_its_names():
    figure = heat_map(TABLE, ["near", "far"], [1, 2, 3], xlabel="layers", ylabel="domain", label="accuracy")
    axes, bar = figure.axes
    cells = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert cells[0, 0] == "0.25" and cells[1, 1] == "1.00" and cells[0, 2] == "" and len(cells) == 6
    assert [text.get_text() for text in axes.get_yticklabels()] == ["near", "far"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "3"]
    assert axes.images[0].get_clim() == (0.0, 1.0) and bar.get_ylabel() == "accuracy"


def test_the_text_of_a_cell_stands_out_from_its_colour():
    figure = heat_map(np.linspace(0, 1, 21)[np.newaxis], ["row"], range(21))
    image = figure.axes[0].images[0]
    for text in figure.axes[0].texts:
        rgb = np.array(image.cmap(image.norm(float(image.get_array()[0, int(text.get_position()[0])])))[:3])
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        luminance = linear @ [0.2126, 0.7152, 0.0722]  # WCAG 2
        other = 1.0 if text.get_color() == "white" else 0.0
        contrast = (max(luminance, other) + 0.05) / (min(luminance, other) + 0.05)
        assert contrast > 3, text.get_text()


def test_each_class_has_its_own_colour_and_marker_in_every_cloud():
    figure = scatter_by_class({"pixels": CLOUD, "features": -CLOUD}, LABELS, ["ring", "bar"], title="PCA")
    left, right = figure.axes
    assert left.get_title() == "pixels" and right.get_title() == "features"
    assert left.collections[1].get_offsets().tolist() == [[2, 3], [4, 5]]
    assert right.collections[0].get_offsets().tolist() == [[0, -1], [-6, -7]]
    colours = [tuple(points.get_facecolor()[0][:3]) for points in left.collections[:2]]
    assert colours[0] != colours[1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ring", "bar"]


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: heat_map(np.ones(3), ["a"], ["b"] * 3),
            ValueError,
            r"values must have shape \(R, C\), got \(3,\)",
        ),
        (lambda: heat_map([[np.inf]], ["a"], ["b"]), ValueError, "finite"),
        (
            lambda: heat_map([[1.0]], ["a", "b"], ["b"]),
            ValueError,
            "rows must have one entry for each of the 1",
        ),
        (lambda: scatter_by_class({}, LABELS, ["a", "b"]), ValueError, "clouds must have 1 to"),
        (
            lambda: scatter_by_class({"a": CLOUD[:3]}, LABELS, ["a", "b"]),
            ValueError,
            r"\(4, 2\), got \(3, 2\)",
        ),
        (
            lambda: scatter_by_class({"a": CLOUD}, LABELS, ["a"]),
            ValueError,
            r"labels must be in 0 \.\.\. 0, got 1",
        ),
        (
            lambda: scatter_by_class({"a": CLOUD}, LABELS, list("abcdefgh")),
            ValueError,
            "must be 1 to 7 names",
        ),
        (lambda: scatter_by_class({"a": CLOUD}, LABELS / 2, ["a"]), TypeError, "labels must be integers"),
    ],
)
def test_bad_input_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_both_draw_in_the_look_and_leave_the_users_settings():
    before = dict(matplotlib.rcParams)
    for figure in (
        heat_map(TABLE, list("ab"), list("cde")),
        scatter_by_class({"a": CLOUD}, LABELS, ["x", "y"]),
    ):
        assert png_bytes(figure).startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before
