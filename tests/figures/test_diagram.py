"""Diagrams of boxes and arrows, read back from the figure."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from minidl.figures import block_diagram
from minidl.figures.style import ORANGE, SKY_BLUE

IMAGE = np.random.default_rng(0).random((3, 4, 8))
BOXES = {
    "image": (0, 0.5, "data"),
    "teacher": (1, 0, "frozen"),
    "student": (1, 1, "trained"),
    "loss": (2, 0.5, "loss"),
}
ARROWS = [("image", "teacher"), ("image", "student"), ("teacher", "loss", "logits"), ("student", "loss")]


def drawn(kind, **options):
    figure = block_diagram(BOXES, ARROWS, **options)
    return [patch for patch in figure.axes[0].patches if type(patch) is kind]


def centre(box):
    return box.get_x() + box.get_width() / 2, box.get_y() + box.get_height() / 2


def test_boxes_stand_in_their_columns_and_rows_and_rows_count_downwards():
    image, teacher, student, loss = map(centre, drawn(FancyBboxPatch))
    assert teacher[0] == pytest.approx(student[0]) and image[0] < teacher[0] < loss[0]
    assert teacher[1] < image[1] < student[1] and loss[1] == pytest.approx(image[1])
    axes = block_diagram(BOXES, ARROWS).axes[0]
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the axis points downwards, so the larger row is lower"


def test_boxes_of_a_diagram_do_not_overlap():
    boxes = drawn(FancyBboxPatch)
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            (x, y), (u, v) = centre(one), centre(other)
            apart = abs(x - u) > (one.get_width() + other.get_width()) / 2
            assert apart or abs(y - v) > (one.get_height() + other.get_height()) / 2


def test_frozen_and_trained_parts_have_their_colours_and_a_legend():
    figure = block_diagram(BOXES, ARROWS)
    _, teacher, student, _ = (p for p in figure.axes[0].patches if type(p) is FancyBboxPatch)
    assert to_hex(teacher.get_facecolor()).upper() == SKY_BLUE and teacher.get_hatch()
    assert to_hex(student.get_facecolor()).upper() == ORANGE and not student.get_hatch()
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["frozen", "trained"]
    assert block_diagram({"a": (0, 0, "data")}, []).axes[0].get_legend() is None


def test_an_arrow_runs_from_border_to_border_and_carries_its_text():
    figure = block_diagram(BOXES, [("teacher", "loss", "logits")], dashed=[("loss", "student")])
    solid, dashed = (p for p in figure.axes[0].patches if type(p) is FancyArrowPatch)
    _, teacher, _, loss = (p for p in figure.axes[0].patches if type(p) is FancyBboxPatch)
    (x, y), (u, v) = solid._posA_posB
    right, left = teacher.get_x() + teacher.get_width(), loss.get_x()
    assert right < x < u < left and centre(teacher)[1] < y < v < centre(loss)[1]
    assert solid.get_linestyle() == "-" and dashed.get_linestyle() != "-"
    assert "logits" in {text.get_text() for text in figure.axes[0].texts}


def test_a_picture_stands_in_the_place_of_its_box():
    figure = block_diagram(BOXES, ARROWS, pictures={"image": IMAGE}, title="a title")
    (panel,) = figure.axes[1:]
    np.testing.assert_allclose(panel.images[0].get_array()[..., :3], IMAGE.transpose(1, 2, 0))
    place = panel.get_position()
    wide, tall = place.width * figure.get_figwidth(), place.height * figure.get_figheight()
    assert wide == pytest.approx(2 * tall), "the picture keeps its proportions"
    assert len([p for p in figure.axes[0].patches if type(p) is FancyBboxPatch]) == 3


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"boxes": {}}, ValueError, "boxes must be 1 to 40"),
        ({"boxes": {**BOXES, "x": (0, 0)}}, TypeError, r"box 'x' must be \(column, row, kind\)"),
        ({"boxes": {**BOXES, "x": (1, 1, "data")}}, ValueError, "has the same place as .'student'."),
        ({"boxes": {**BOXES, "x": (3, 1, "thing")}}, ValueError, "the kind of 'x' must be one of"),
        ({"arrows": [("image", "nobody")]}, ValueError, "there is no box .'nobody'."),
        ({"arrows": [("image", "image")]}, ValueError, "must lead to another box"),
        ({"dashed": [("image",)]}, TypeError, "each of dashed must be texts"),
        ({"pictures": {"nobody": IMAGE}}, ValueError, "there is no box 'nobody'"),
        ({"pictures": {"image": 2 * IMAGE}}, ValueError, r"must lie in \[0, 1\]"),
    ],
)
def test_bad_input_is_refused_in_words(changed, error, message):
    with pytest.raises(error, match=message):
        block_diagram(**({"boxes": BOXES, "arrows": ARROWS} | changed))
