import numpy as np
import pytest

from minidl.figures import confidence_histogram, distributions, reliability_diagram
from minidl.train import reliability

# The confidences are 0.9, 0.9, 0.6 and 1. The second answer is wrong. Two bins below 0.5 are empty.
TABLE = reliability([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.0, 1.0]], [0, 1, 1, 1], bins=4)


def test_a_reliability_diagram_shows_accuracy_intervals_and_shares_of_the_bins_with_answers():
    figure = reliability_diagram({"before": TABLE, "after": TABLE})
    upper, lower = figure.axes[0], figure.axes[2]
    assert [axes.get_title() for axes in figure.axes[:2]] == ["before", "after"]
    bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in upper.patches]
    np.testing.assert_allclose(bars, [(0.5, 0.25, 1), (0.75, 0.25, 2 / 3)])
    segments = upper.collections[0].get_segments()
    np.testing.assert_allclose([s[0][0] for s in segments], [0.6, 2.8 / 3])  # at the mean confidences
    np.testing.assert_allclose(
        [s[:, 1] for s in segments], np.transpose([TABLE.accuracy.low[2:], TABLE.accuracy.high[2:]])
    )
    assert upper.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]
    np.testing.assert_allclose(upper.lines[1].get_xydata(), [(0.6, 1), (2.8 / 3, 2 / 3)])
    np.testing.assert_allclose(lower.patches[0].get_data().values, [0, 0, 0.25, 0.75])


def test_the_largest_share_of_all_tables_fits_into_the_panels():
    flat = reliability([[0.6, 0.4], [0.9, 0.1]], [0, 0], bins=10)
    peaked = reliability([[0.9, 0.1]], [0], bins=10)
    for tables in ({"a": flat, "b": peaked}, {"a": peaked, "b": flat}):
        assert reliability_diagram(tables).axes[2].get_ylim()[1] > 1


def test_a_confidence_histogram_shows_shares_and_means():
    axes = confidence_histogram({"a": [0.1, 0.9, 1.0, 1.0], "b": [0.6]}, bins=2).axes[0]
    assert [steps.get_data().values.tolist() for steps in axes.patches] == [[0.25, 0.75], [0, 1]]
    np.testing.assert_allclose([line.get_xdata()[0] for line in axes.lines], [0.75, 0.6])
    assert len({steps.get_edgecolor() for steps in axes.patches}) == 2


def test_distributions_have_one_scale_from_0_to_1():
    figure = distributions([[0.25, 0.75], [1.0, 0.0]], ["cat", "dog"], ["T = 1", "T = 0.1"])
    heights = [[bar.get_height() for bar in axes.patches] for axes in figure.axes]
    assert heights == [[0.25, 0.75], [1.0, 0.0]]
    assert [axes.get_title() for axes in figure.axes] == ["T = 1", "T = 0.1"]
    assert all(axes.get_ylim() == (0, 1) for axes in figure.axes)
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda: reliability_diagram({}), ValueError, "tables must have 1 to 6 entries, got 0"),
        (
            lambda: reliability_diagram({"a": [1, 2]}),
            TypeError,
            "table 'a' must be a Reliability, got .1, 2.",
        ),
        (lambda: confidence_histogram([0.5]), TypeError, "confidences must be a dict"),
        (lambda: confidence_histogram({"a": [1.5]}), ValueError, r"'a' must be within \[0, 1\], got 1.5"),
        (lambda: confidence_histogram({"a": []}), ValueError, r"'a' must not be empty"),
        (lambda: distributions([0.5, 0.5], "ab"), ValueError, r"shape \(N, K\).*got \(2,\)"),
        (lambda: distributions([[2.0, -1.0]], ["a", "b"]), ValueError, r"within \[0, 1\], got 2.0"),
        (
            lambda: distributions([[1.0, 0.0]], ["a"]),
            ValueError,
            "class_names must have one entry for each of the 2",
        ),
    ],
)
def test_bad_input_is_refused_in_words(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt()
