"""Pictures with a network's answers under them."""

import numpy as np
import pytest

from minidl.figures import answers_picture

IMAGES = np.random.default_rng(0).random((4, 3, 8, 8))
TITLES = ["first", "second", "third", "fourth"]
ANSWERS = [[("Staffordshire bull terrier", 0.5), ("cat", 0.25)], [("dog", 1.0)], [], [("a", 0.0)]]


def texts(figure):
    figure.canvas.draw()
    return [text for axes in figure.axes for text in [axes.title, *axes.texts] if text.get_text()]


def test_titles_names_and_percentages_stand_there():
    written = {text.get_text() for text in texts(answers_picture(IMAGES, TITLES, ANSWERS))}
    assert written >= {*TITLES, "Staffordshire bull terrier", "cat", "dog", "50%", "25%", "100%", "0%"}


def test_letters_are_legible_where_the_figure_is_400_pixels_wide():
    figure = answers_picture(IMAGES, TITLES, ANSWERS)
    pixels_a_point = 400 / (72 * figure.get_figwidth())
    sizes = [text.get_fontsize() for text in texts(figure) if len(text.get_text()) <= 16]
    assert min(sizes) * pixels_a_point >= 9.5


def test_no_text_leaves_the_figure_or_touches_another():
    figure = answers_picture(IMAGES, TITLES, ANSWERS)
    whole = figure.bbox
    boxes = [text.get_window_extent() for text in texts(figure)]
    for i, box in enumerate(boxes):
        assert box.x0 >= whole.x0 and box.x1 <= whole.x1 and box.y0 >= whole.y0 and box.y1 <= whole.y1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_bars_are_as_long_as_their_probabilities():
    figure = answers_picture(IMAGES, TITLES, ANSWERS)
    widths = [bar.get_width() for axes in figure.axes for bar in axes.patches]
    assert 0.5 < widths[2] < 0.9, "the longest bar leaves room for its percentage"
    np.testing.assert_allclose(np.array(widths) / widths[2], [0.5, 0.25, 1.0, 0.0])


def test_a_map_is_laid_over_its_picture_alone():
    heat = np.zeros((8, 8))
    heat[2, 2] = 3
    figure = answers_picture(IMAGES[:2], TITLES[:2], ANSWERS[:2], maps=[None, heat])
    pictures = [axes for axes in figure.axes if axes.images]
    assert [len(axes.images) for axes in pictures] == [1, 2]


def test_without_answers_the_pictures_alone_are_drawn():
    figure = answers_picture(IMAGES, TITLES, [[]] * 4, columns=2)
    assert len(figure.axes) == 4


@pytest.mark.parametrize(
    "arguments, settings, message",
    [
        ((IMAGES[0], TITLES, ANSWERS), {}, "images"),
        ((IMAGES * 255, TITLES, ANSWERS), {}, "images"),
        ((IMAGES, TITLES[:3], ANSWERS), {}, "titles"),
        ((IMAGES, TITLES, ANSWERS[:2]), {}, "answers"),
        ((IMAGES, TITLES, ANSWERS), {"columns": 0}, "columns"),
        ((IMAGES, TITLES, ANSWERS), {"maps": [np.ones((3, 3))] * 4}, "maps"),
        ((IMAGES, TITLES, ANSWERS), {"maps": [-np.ones((8, 8))] * 4}, "maps"),
    ],
)
def test_bad_input_is_refused_by_name(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        answers_picture(*arguments, **settings)


@pytest.mark.parametrize("probability", [38, np.nan, -0.5, "high"])
def test_a_probability_that_is_none_is_refused(probability):
    with pytest.raises((ValueError, TypeError), match="each probability must be"):
        answers_picture(IMAGES[:1], ["cat"], [[("cat", probability)]])
