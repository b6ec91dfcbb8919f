import numpy as np
import pytest
from matplotlib.colors import to_hex

from minidl import Tensor
from minidl.figures import image_grid, overlay, signed_map


def drawn(axes, i=0):
    return axes.images[i].get_array()


def notes(figure):
    return " ".join(text.get_text() for text in figure.texts)


def test_a_grid_has_one_panel_an_image_with_its_title_and_pixels():
    images = np.arange(12 * 4).reshape(12, 1, 2, 2) / 50
    figure = image_grid(images, [f"digit {i}" for i in range(12)], title="Digits")
    assert len(figure.axes) == 12
    for i, panel in enumerate(figure.axes):
        assert np.array_equal(drawn(panel), images[i, 0])
        assert panel.get_title() == f"digit {i}"
        assert panel.images[0].get_clim() == (0, 1)
    assert "Digits" in notes(figure)


def test_grey_images_may_come_with_or_without_their_channel_and_as_a_tensor():
    images = np.random.default_rng(0).random((2, 3, 3), dtype=np.float32)
    for form in (images, images[:, None], Tensor(images)):
        assert np.array_equal(drawn(image_grid(form).axes[1]), images[1])


def test_colour_images_show_their_channels_last():
    images = np.random.default_rng(0).random((2, 3, 4, 5))
    shown = drawn(image_grid(images).axes[1])
    assert np.allclose(shown[..., :3], images[1].transpose(1, 2, 0))
    assert np.all(shown[..., 3] == 1)


@pytest.mark.parametrize(
    ("count", "columns", "expected"),
    [(3, None, 3), (8, None, 8), (9, None, 5), (20, None, 7), (6, 3, 3), (2, 5, 2)],
)
def test_rows_are_filled_evenly_or_as_asked(count, columns, expected):
    axes = image_grid(np.zeros((count, 2, 2)), columns=columns).axes
    top = max(panel.get_position().y0 for panel in axes)
    assert sum(panel.get_position().y0 == pytest.approx(top) for panel in axes) == expected


def test_answers_are_framed_by_colour_and_by_width():
    axes = image_grid(np.zeros((2, 2, 2)), right=[True, False]).axes
    looks = [(to_hex(a.spines["left"].get_edgecolor()), a.spines["left"].get_linewidth()) for a in axes]
    assert looks == [("#0072b2", 1.5), ("#d55e00", 3.5)]
    assert "blue = right" in notes(axes[0].figure)


def test_a_given_scale_is_shared_and_has_a_colour_bar():
    maps = np.array([[[0.0, 2.0]], [[-1.0, 5.0]]])
    figure = image_grid(maps, vmin=-1, vmax=4)
    assert len(figure.axes) == 3
    assert [panel.images[0].get_clim() for panel in figure.axes[:2]] == [(-1, 4)] * 2
    assert figure.axes[2].get_ylim() == (-1, 4)
    assert image_grid(maps, vmax=4).axes[0].images[0].get_clim() == (-1, 4)
    assert image_grid(maps, vmin=-2).axes[0].images[0].get_clim() == (-2, 5)


@pytest.mark.parametrize(("vmin", "vmax", "arrows"), [(0, 1, 0), (0, 0.5, 1), (0.5, 1, 1), (0.4, 0.6, 2)])
def test_a_colour_bar_has_an_arrow_at_each_end_beyond_which_there_are_values(vmin, vmax, arrows):
    figure = image_grid(np.array([[[0.0, 1.0]]]), vmin=vmin, vmax=vmax)
    assert len(figure.axes[1].patches) == arrows


def test_each_image_can_have_its_own_scale_and_the_figure_says_so():
    figure = image_grid(np.array([[[0.0, 2.0]], [[-1.0, 5.0]], [[3.0, 3.0]]]), scale_each=True)
    assert [panel.images[0].get_clim() for panel in figure.axes] == [(0, 2), (-1, 5), (3, 4)]
    assert "each on a scale of its own" in notes(figure)


def test_colour_images_are_stretched_by_the_given_scale():
    images = np.full((1, 3, 1, 1), 3.0)
    images[0, 0] = -1.0
    shown = drawn(image_grid(images, vmin=1, vmax=5).axes[0])
    assert shown[0, 0].tolist() == [0, 0.5, 0.5, 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_hatched_and_counted(bad):
    grey, colour = np.zeros((2, 2, 2)), np.zeros((1, 3, 2, 2))
    grey[1, 0, 1] = colour[0, 1, 0, 1] = bad
    for figure, panel, total in ((image_grid(grey), 1, 8), (image_grid(colour), 0, 12)):
        assert figure.axes[panel].patch.get_hatch()
        assert f"hatched: 1 of {total} values" in notes(figure)
    assert drawn(image_grid(grey).axes[1]).mask.tolist() == [[False, True], [False, False]]
    assert drawn(image_grid(colour).axes[0])[..., 3].tolist() == [[1, 0], [1, 1]]
    assert not image_grid(grey).axes[0].patch.get_hatch()
    assert signed_map(grey).axes[0].images[0].get_clim() == (-1, 1)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"images": np.zeros((2, 2))}, ValueError, r"\(N, H, W\), .* got \(2, 2\)"),
        ({"images": np.zeros((2, 4, 2, 2))}, ValueError, r"got \(2, 4, 2, 2\)"),
        ({"images": np.zeros((0, 2, 2))}, ValueError, r"not be empty, got shape \(0, 2, 2\)"),
        ({"images": [["a"]]}, TypeError, "images must be real numbers"),
        ({"images": np.full((1, 2, 2), 1.5)}, ValueError, r"\[0, 1\], but these lie in \[1.5, 1.5\]"),
        ({"images": np.full((1, 2, 2), -0.5)}, ValueError, "or draw signed values with signed_map"),
        ({"titles": ["a"]}, ValueError, "titles must have one entry for each of the 2 images, got 1"),
        ({"titles": "ab"}, TypeError, "titles must be a list of texts"),
        ({"columns": 0}, ValueError, "columns must be at least 1, got 0"),
        ({"columns": 1.5}, TypeError, "columns must be an integer, got 1.5"),
        ({"right": [True]}, ValueError, r"right must have shape \(2,\), got \(1,\)"),
        ({"right": [1, 0]}, TypeError, "right must be bools"),
        ({"vmin": 1, "vmax": 1}, ValueError, "vmin must be below vmax, got 1 and 1"),
        ({"vmax": np.inf}, ValueError, "vmax must be finite, got inf"),
        ({"vmax": 1, "scale_each": True}, ValueError, "vmin and vmax have no meaning"),
        ({"images": np.zeros((201, 2, 2))}, ValueError, "at most 200 panels, got 201"),
    ],
)
def test_a_grid_that_cannot_be_drawn_is_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        image_grid(**{"images": np.zeros((2, 2, 2)), **arguments})


SIGNED = np.array([[[-3.0, 1.0]], [[0.5, 2.0]]])


def test_signed_colours_are_centred_on_zero_on_one_scale_for_all():
    figure = signed_map(SIGNED, ["first", "second"])
    assert [panel.images[0].get_clim() for panel in figure.axes[:2]] == [(-3, 3)] * 2
    assert figure.axes[2].get_ylim() == (-3, 3)
    red, green, blue, _ = figure.axes[0].images[0].to_rgba(np.array([[0.0]]))[0, 0]
    assert min(red, green, blue) > 0.95
    negative, positive = figure.axes[0].images[0].to_rgba(np.array([-3.0, 3.0]))
    assert negative[2] > negative[0] and positive[0] > positive[2]


def test_signed_maps_can_have_their_own_scales_or_a_given_one():
    assert [p.images[0].get_clim() for p in signed_map(SIGNED, scale_each=True).axes] == [(-3, 3), (-2, 2)]
    assert signed_map(SIGNED, vmax=0.5).axes[0].images[0].get_clim() == (-0.5, 0.5)
    assert signed_map(np.zeros((2, 2))).axes[0].images[0].get_clim() == (-1, 1)


def test_filters_stand_in_a_row_for_each_output_and_a_column_for_each_input():
    filters = np.arange(2.0 * 3 * 2 * 2).reshape(2, 3, 2, 2)
    figure = signed_map(filters, ["r", "g", "b"], row_titles=["filter 0", "filter 1"])
    panels = figure.axes[:6]
    assert [panel.get_title() for panel in panels] == ["r", "g", "b", "", "", ""]
    assert [panel.get_ylabel() for panel in panels] == ["filter 0", "", "", "filter 1", "", ""]
    for i, panel in enumerate(panels):
        assert np.array_equal(drawn(panel), filters[i // 3, i % 3])
        assert panel.get_position().y0 == pytest.approx(panels[i // 3 * 3].get_position().y0)
        assert panel.get_position().x0 == pytest.approx(panels[i % 3].get_position().x0)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"maps": np.zeros(3)}, ValueError, r"\(H, W\), \(N, H, W\) or .* got \(3,\)"),
        ({"maps": np.zeros((0, 2, 2))}, ValueError, "not be empty"),
        ({"vmax": 0}, ValueError, "vmax must be above 0, got 0"),
        ({"vmax": np.nan}, ValueError, "vmax must be finite, got nan"),
        ({"vmax": 1, "scale_each": True}, ValueError, "vmax has no meaning"),
        ({"row_titles": ["a", "b"]}, ValueError, r"row_titles need maps of shape \(rows, columns, H, W\)"),
        ({"maps": np.zeros((2, 3, 2, 2)), "columns": 2}, ValueError, "already have 3 columns"),
        (
            {"maps": np.zeros((2, 3, 2, 2)), "titles": ["a"]},
            ValueError,
            "one entry for each of the 3 columns",
        ),
        (
            {"maps": np.zeros((2, 3, 2, 2)), "row_titles": ["a"]},
            ValueError,
            "one entry for each of the 2 rows",
        ),
    ],
)
def test_signed_maps_that_cannot_be_drawn_are_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        signed_map(**{"maps": SIGNED, **arguments})


IMAGES = np.random.default_rng(1).random((2, 3, 4, 4))
HEAT = np.arange(2.0 * 2 * 4 * 4).reshape(2, 2, 4, 4)


def test_an_overlay_has_a_row_an_image_that_starts_with_the_image_itself():
    figure = overlay(IMAGES, HEAT, ["Grad-CAM", "occlusion"], row_titles=["cat", "dog"])
    panels = figure.axes[:6]
    assert [panel.get_title() for panel in panels] == ["image", "Grad-CAM", "occlusion", "", "", ""]
    assert [panel.get_ylabel() for panel in panels] == ["cat", "", "", "dog", "", ""]
    for n in range(2):
        assert np.allclose(drawn(panels[3 * n])[..., :3], IMAGES[n].transpose(1, 2, 0))
        for m in range(2):
            grey, heat = panels[3 * n + 1 + m].images
            assert grey.get_array().ndim == 2
            assert np.array_equal(heat.get_array(), HEAT[n, m])
            assert heat.get_clim() == (0, 63)


@pytest.mark.parametrize(
    ("images", "maps", "panels"),
    [
        (IMAGES[0], HEAT[0, 0], 2),
        (IMAGES[0, :1], HEAT[0, 0], 2),
        (IMAGES[0, 0], HEAT[0, 0], 2),
        (IMAGES, HEAT[:, 0], 4),
        (IMAGES[:, 0], HEAT[:, 0], 4),
        (Tensor(IMAGES), HEAT, 6),
    ],
)
def test_an_overlay_takes_one_image_or_many(images, maps, panels):
    assert len(overlay(images, maps).axes) == panels + 1  # and the colour bar


def test_an_overlay_is_transparent_at_zero_and_strongest_at_the_maximum():
    alpha = overlay(IMAGES[0], HEAT[0, 0]).axes[1].images[1].get_alpha()
    assert alpha[0, 0] == 0
    assert np.all(np.diff(alpha.ravel()) >= 0) and alpha[-1, -1] == pytest.approx(0.7)


def test_a_signed_overlay_is_centred_on_zero():
    heat = overlay(IMAGES[0], HEAT[0, 0] - 20, signed=True).axes[1].images[1]
    assert heat.get_clim() == (-20, 20)


@pytest.mark.parametrize("signed", [False, True])
def test_an_overlay_says_that_the_bars_colour_at_zero_is_not_what_is_seen(signed):
    assert "colours fade to the grey image at 0" in notes(overlay(IMAGES, HEAT, signed=signed))


def test_overlays_in_different_units_can_have_their_own_scales():
    figure = overlay(IMAGES, HEAT, scale_each=True)
    assert [figure.axes[i].images[1].get_clim()[1] for i in (1, 2, 4, 5)] == [15, 31, 47, 63]
    assert len(figure.axes) == 6 and "each on a scale of its own" in notes(figure)


def test_an_overlay_hatches_what_is_not_finite_through_the_image():
    heat = HEAT[0, 0].copy()
    heat[2, 1] = np.nan
    figure = overlay(IMAGES[0], heat)
    assert all(layer.get_array().mask[2, 1] for layer in figure.axes[1].images)
    assert figure.axes[1].patch.get_hatch() and "1 of 16 values" in notes(figure)


@pytest.mark.parametrize(
    ("images", "maps", "options", "message"),
    [
        (IMAGES, HEAT[:1], {}, r"images \(2, 3, 4, 4\) and maps \(1, 2, 4, 4\) must agree"),
        (IMAGES, HEAT[..., :2], {}, "enlarge a smaller map"),
        (IMAGES, np.zeros(4), {}, r"maps must have shape .* got \(4,\)"),
        (IMAGES[0], HEAT[:, 0], {}, "must agree|must have shape"),
        (IMAGES * 3, HEAT, {}, r"images must lie in \[0, 1\]"),
        (IMAGES, HEAT - 1, {}, "negative values, down to -1: give signed=True"),
        (IMAGES, HEAT, {"titles": ["a"]}, "one entry for each of the 2 maps of an image"),
        (IMAGES, HEAT, {"row_titles": ["a"]}, "one entry for each of the 2 images"),
    ],
)
def test_overlays_that_do_not_fit_are_refused(images, maps, options, message):
    with pytest.raises(ValueError, match=message):
        overlay(images, maps, **options)
