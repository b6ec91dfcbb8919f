"""Small matrices before and after a step, read back from the figure."""

import numpy as np
import pytest

from minidl.figures import matrix_steps

LEFT = np.array([[[1.0, -2.0], [0.0, 4.0]], [[0.5, 1e-4], [3.0, -4.0]]])
RIGHT = np.maximum(LEFT, 0)
NAMES = ["forward", "back"]


def drawn(**changed):
    return matrix_steps(
        **({"names": NAMES, "left": LEFT, "right": RIGHT, "forward": [True, False]} | changed)
    )


def matrices(figure):
    return [axes for axes in figure.axes if axes.images]


def test_each_cell_says_its_number():
    shown = [[text.get_text() for text in axes.texts] for axes in matrices(drawn())]
    assert shown == [
        ["1", "−2", "0", "4"],
        ["1", "0", "0", "4"],
        ["0.5", "0.0001", "3", "−4"],
        ["0.5", "0.0001", "3", "0"],
    ]


def test_zero_is_white_below_is_blue_and_above_is_red_on_one_scale():
    first, _, third, _ = (np.asarray(axes.images[0].get_array()) for axes in matrices(drawn()))
    assert first[1, 0] == pytest.approx([1, 1, 1], abs=0.03)
    assert first[0, 1][2] > first[0, 1][0] and first[1, 1][0] > first[1, 1][2]
    assert first[1, 1].min() < first[0, 0].min(), "4 is stronger than 1"
    lightness = third[1, 1].min(), first[0, 1].min()
    assert lightness[0] < lightness[1], "-4 is stronger than -2"
    wider = np.asarray(matrices(drawn(left=10 * LEFT))[0].images[0].get_array())
    assert wider[1, 1].min() < wider[0, 0].min(), "the scale ends at the largest of both sides"


def test_the_arrow_leads_forward_or_back_between_the_matrices():
    figure = drawn()
    arrows = [axes.texts[0] for axes in figure.axes if not axes.images]
    tips = [(arrow.xyann[0], arrow.xy[0]) for arrow in arrows]
    assert tips[0][0] < tips[0][1] and tips[1][0] > tips[1][1]
    left, right = (axes.get_position() for axes in matrices(figure)[:2])
    assert all(left.x1 < x < right.x0 for tip in tips for x in tip)


def test_titles_stand_above_the_first_row_and_names_beside_their_rows():
    figure = drawn(titles=("l", "l + 1"), title="steps")
    assert [axes.get_title() for axes in matrices(figure)] == ["l", "l + 1", "", ""]
    heights = {text.get_text(): text.get_position()[1] for text in figure.texts}
    assert heights["steps"] > heights["forward"] > heights["back"]


def test_matrices_of_zeros_are_drawn():
    figure = drawn(left=np.zeros((2, 2, 2)), right=np.zeros((2, 2, 2)))
    assert {text.get_text() for axes in matrices(figure) for text in axes.texts} == {"0"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"left": np.ones((2, 2))}, "left must have shape"),
        ({"right": np.ones((2, 2, 3))}, "right must have shape"),
        ({"names": ["a"]}, "names must have one entry for each of the 2 rows"),
        ({"titles": ["a"]}, "titles must have one entry for each of the 2 columns"),
        ({"left": np.ones((2, 9, 9)), "right": np.ones((2, 9, 9))}, "at most 8 rows"),
        ({"forward": [True]}, "forward must have shape"),
    ],
)
def test_steps_of_another_form_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        drawn(**changed)
