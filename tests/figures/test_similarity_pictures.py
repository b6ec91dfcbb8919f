"""Similarity as a matrix, and soft targets at several temperatures, read back from the figures."""

import numpy as np
import pytest

from minidl.figures import answers_by_temperature, similarity_matrix

VALUES = np.array([[1.0, 0.3, -0.1], [0.3, 1.0, 0.2], [-0.1, 0.2, 1.0]])
IMAGE = np.random.default_rng(0).random((3, 4, 4))
ROWS = np.array([[0.9, 0.1, 0.0], [0.5, 0.3, 0.2]])


def test_a_matrix_shows_its_numbers_with_zero_in_the_middle_and_without_its_diagonal():
    (axes, *_) = similarity_matrix(VALUES, {"one": 1, "two": 2}, ["a", "b", "c"]).axes
    shown = axes.images[0]
    np.testing.assert_allclose(shown.get_array().filled(9), np.where(np.eye(3, dtype=bool), 9, VALUES))
    assert (shown.norm.vmin, shown.norm.vmax) == (-0.3, 0.3)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b", "c"]


def test_lines_part_the_groups_and_group_names_stand_in_their_middles():
    figure = similarity_matrix(np.eye(5), {"first": 2, "second": 3})
    axes = figure.axes[0]
    assert [line.get_ydata()[0] for line in axes.lines if line.get_ydata()[0] == line.get_ydata()[1]] == [1.5]
    assert list(axes.get_yticks()) == [0.5, 3.0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["first", "second"]


def test_each_temperature_has_its_panel_with_a_bar_for_each_name():
    photo, *panels = answers_by_temperature(IMAGE, ROWS, ["tiger", "cat", "car"], [1, 5]).axes
    np.testing.assert_allclose(photo.images[0].get_array()[..., :3], IMAGE.transpose(1, 2, 0))
    assert [panel.get_title() for panel in panels] == ["T = 1", "T = 5"]
    for panel, row in zip(panels, ROWS, strict=True):
        assert [bar.get_width() for bar in panel.patches] == pytest.approx(row)
    assert [text.get_text() for text in panels[0].texts] == ["90%", "10%", "0%"]
    assert [text.get_text() for text in panels[0].get_yticklabels()] == ["tiger", "cat", "car"]
    assert panels[0].get_ylim()[0] > panels[0].get_ylim()[1], "the first name stands on top"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"values": np.ones((2, 3))}, "values must have shape"),
        ({"values": np.ones((1, 1))}, "at least two rows"),
        ({"groups": {"one": 2}}, "the sizes of groups must have the sum 3"),
        ({"names": ["a"]}, "names must have one entry for each of the 3 rows"),
    ],
)
def test_a_matrix_of_another_form_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        similarity_matrix(**({"values": VALUES, "groups": {"one": 1, "two": 2}} | changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"probabilities": 2 * ROWS}, "probabilities must be within"),
        ({"probabilities": np.full((7, 3), 0.1), "temperatures": [1] * 7}, "at most 6 rows"),
        ({"temperatures": [1]}, r"temperatures must have shape \(2,\)"),
        ({"temperatures": [0, 1]}, "each of temperatures must be above 0"),
        ({"names": ["a", "b"]}, "names must have one entry for each of the 3 classes"),
    ],
)
def test_soft_targets_of_another_form_are_refused(changed, message):
    arguments = {"image": IMAGE, "probabilities": ROWS, "names": ["a", "b", "c"], "temperatures": [1, 2]}
    with pytest.raises(ValueError, match=message):
        answers_by_temperature(**(arguments | changed))
