import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.figures.quantization import levels_histogram, number_lines, rounding_error
from minidl.figures.style import BLUE, VERMILLION

LEVELS = np.array([-1.0, 0.0, 1.0])
INTEGERS = np.array([0, 1, 2])


def test_each_real_has_an_arrow_to_the_level_of_its_integer_and_a_clipped_one_another_colour():
    figure = number_lines([0.2, 1.4, 3.0], {"ternary": (LEVELS, INTEGERS, [1, 2, 2])})
    (panel,) = figure.axes
    assert panel.get_title() == "ternary"
    arrows = [text for text in panel.texts if hasattr(text, "arrow_patch") and text.arrow_patch]
    assert [(arrow.xyann[0], arrow.xy[0]) for arrow in arrows] == [(0.2, 0.0), (1.4, 1.0), (3.0, 1.0)]
    points = [line.get_color() for line in panel.lines if line.get_marker() == "o"]
    assert points == [BLUE, BLUE, VERMILLION], "1.4 rounds to the last level, as 0.6 does"
    assert [text.get_text() for text in panel.texts if text.get_text()] == ["0", "1", "2"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["rounded", "clipped"]


def test_panels_share_one_axis_that_holds_all_levels_and_reals():
    wide = (5 * LEVELS, INTEGERS, [1])
    figure = number_lines([0.0], {"narrow": (LEVELS, INTEGERS, [1]), "wide": wide})
    limits = {panel.get_xlim() for panel in figure.axes}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low < -5 and high > 5


def test_a_histogram_counts_all_values_and_shows_the_levels_as_lines_or_a_band():
    values = np.linspace(-1, 1, 100)
    figure = levels_histogram(values, {"Q2": LEVELS, "Q8": np.linspace(-1, 1, 255)})
    first, second = figure.axes
    assert first.get_title() == "Q2 (3 levels)" and second.get_title() == "Q8 (255 levels)"
    assert sum(bar.get_height() for bar in first.patches) == 100
    assert [segment[0][0] for segment in first.collections[0].get_segments()] == LEVELS.tolist()
    assert not second.collections and len(second.patches) == len(first.patches) + 1


def test_errors_are_drawn_between_plus_and_minus_half_a_step():
    figure = rounding_error([0.1, 0.2], [0.1, -0.3], step=0.5, title="saw")
    saw, share = figure.axes
    assert saw.lines[0].get_xydata().tolist() == [[0.1, 0.1], [0.2, -0.3]]
    assert sorted(line.get_ydata()[0] for line in saw.lines[1:]) == [-0.25, 0.25]
    assert sum(bar.get_width() for bar in share.patches) == 2


@settings(max_examples=15)
@given(
    errors=st.lists(st.floats(-50, 50), min_size=1, max_size=20), step=st.sampled_from([1e-3, 0.25, 0.3, 7.0])
)
def test_no_bar_lies_across_the_lines_at_half_a_step_and_none_is_lost(errors, step):
    share = rounding_error(errors, errors, step).axes[1]
    assert sum(bar.get_width() for bar in share.patches) == len(errors)
    assert len(share.patches) <= 202
    edges = np.array([[bar.get_y(), bar.get_y() + bar.get_height()] for bar in share.patches]) / step
    if np.ptp(errors) < 25 * step:
        assert not ((edges[:, 0] < 0.499) & (edges[:, 1] > 0.501)).any()
        assert not ((edges[:, 0] < -0.501) & (edges[:, 1] > -0.499)).any()
        np.testing.assert_allclose(np.diff(edges, axis=1), 1 / 8, rtol=1e-6)


def test_an_error_of_half_a_step_counts_as_inside():
    share = rounding_error([0.0, 1.0], [0.25, -0.25], step=0.5).axes[1]
    full = [bar for bar in share.patches if bar.get_width()]
    assert [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in full] == [
        (-0.25, -0.1875),
        (0.1875, 0.25),
    ]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: number_lines([], {"a": (LEVELS, INTEGERS, [])}), ValueError, "reals must not be empty"),
        (
            lambda: number_lines([np.nan], {"a": (LEVELS, INTEGERS, [1])}),
            ValueError,
            "reals must be finite, got nan",
        ),
        (lambda: number_lines([0.0], {"a": LEVELS}), TypeError, r"\(levels, integers, chosen\)"),
        (
            lambda: number_lines([0.0], {"a": (LEVELS, [1, 2], [1])}),
            ValueError,
            r"integers must have shape \(3,\), got \(2,\)",
        ),
        (lambda: number_lines([0.0], {"a": (LEVELS, INTEGERS, [7])}), ValueError, "a's chosen must hold"),
        (lambda: number_lines([0.0], {}), ValueError, "mappings must have 1 to 6 entries"),
        (lambda: levels_histogram([], {"a": LEVELS}), ValueError, "values must not be empty"),
        (lambda: levels_histogram([1.0], [LEVELS]), TypeError, "levels must be a dict from titles"),
        (lambda: levels_histogram([1.0], {"a": []}), ValueError, "levels of a must not be empty"),
        (
            lambda: rounding_error([1.0], [1.0, 2.0], 1.0),
            ValueError,
            "must have the same length, got reals 1, errors 2",
        ),
        (lambda: rounding_error([1.0], [1.0], 0.0), ValueError, "step must be above 0"),
        (lambda: rounding_error([1.0], [1.0], "1"), TypeError, "step must be a number, got '1'"),
        (lambda: rounding_error([1.0], [np.inf], 1.0), ValueError, "errors must be finite, got inf"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
