import numpy as np
import pytest

from minidl.figures import confusion_picture

COUNTS = np.array([[9, 1, 0], [2, 2, 0], [0, 0, 0]])


def notes(figure):
    return [text.get_text() for text in figure.texts]


def test_rows_are_coloured_by_their_share_and_cells_hold_the_counts():
    figure = confusion_picture(COUNTS, ["cat", "dog", "fox"], title="Test set")
    axes = figure.axes[0]
    shares = axes.images[0].get_array()
    assert shares[:2].tolist() == [[0.9, 0.1, 0], [0.5, 0.5, 0]]
    assert axes.images[0].get_clim() == (0, 1)
    texts = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "9", (0, 1): "1", (1, 0): "2", (1, 1): "2"}
    assert axes.get_title() == "Test set"


def test_rows_are_true_and_columns_predicted_classes():
    axes = confusion_picture(COUNTS, ["cat", "dog", "fox"]).axes[0]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true class", "predicted class")
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["cat", "dog", "fox"]
    top, bottom = axes.transData.transform([(0, 0), (0, 2)])[:, 1]
    assert top > bottom


def test_a_class_without_examples_is_hatched_and_the_figure_says_so():
    figure = confusion_picture(COUNTS, range(3))
    assert figure.axes[0].images[0].get_array().mask.tolist() == [[False] * 3, [False] * 3, [True] * 3]
    assert figure.axes[0].patch.get_hatch()
    assert notes(figure) == ["hatched: a class without examples"]
    assert notes(confusion_picture(np.eye(2), range(2))) == []


def test_shares_are_written_to_two_decimals():
    texts = confusion_picture([[0.75, 0.25], [0.0, 1.0]], ["a", "b"]).axes[0].texts
    assert [text.get_text() for text in texts] == ["0.75", "0.25", "1.00"]


def test_numbers_are_legible_on_their_colour():
    axes = confusion_picture(np.array([[98, 1, 1], [79, 20, 1], [40, 35, 25]]), range(3)).axes[0]
    for text in axes.texts:
        column, row = text.get_position()
        red, green, blue, _ = axes.images[0].to_rgba(axes.images[0].get_array())[row, column]
        luminance = sum(
            weight * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
            for weight, c in zip((0.2126, 0.7152, 0.0722), (red, green, blue), strict=True)
        )
        own = {"white": 1.0, "black": 0.0}[text.get_color()]
        lighter, darker = max(own, luminance), min(own, luminance)
        assert (lighter + 0.05) / (darker + 0.05) > 4.5  # the minimum contrast of WCAG 2.1


def test_more_than_30_classes_are_coloured_without_numbers():
    assert len(confusion_picture(np.eye(30), range(30)).axes[0].texts) == 30
    assert len(confusion_picture(np.eye(31), range(31)).axes[0].texts) == 0


@pytest.mark.parametrize(
    ("matrix", "names", "kind", "message"),
    [
        (COUNTS[:2], range(3), ValueError, r"shape \(K, K\), got \(2, 3\)"),
        (COUNTS[0], range(3), ValueError, r"shape \(K, K\), got \(3,\)"),
        (np.zeros((0, 0)), [], ValueError, r"matrix must not be empty, got shape \(0, 0\)"),
        (-COUNTS, range(3), ValueError, "matrix must be at least 0, got -9"),
        (COUNTS * np.nan, range(3), ValueError, "must be finite"),
        (COUNTS, ["cat"], ValueError, "class_names must have one entry for each of the 3 classes, got 1"),
        (COUNTS.astype(str), range(3), TypeError, "matrix must be real numbers"),
    ],
)
def test_what_is_no_confusion_matrix_is_refused(matrix, names, kind, message):
    with pytest.raises(kind, match=message):
        confusion_picture(matrix, names)
