"""Pictures from files: cut-outs on any background, whole photographs, folders of classes, and bad files."""

import re

import numpy as np
import pytest
from PIL import Image

from minidl.data import LIGHT_GREY, lesson_pictures, load_folder, load_picture, picture_classes, picture_files
from minidl.nn.efficientnet import imagenet_names


def colours(height, width, rgb=(255, 0, 0), alpha=None):
    values = np.zeros((height, width, 3 if alpha is None else 4), np.uint8)
    values[..., :3] = rgb
    if alpha is not None:
        values[..., 3] = alpha
    return Image.fromarray(values)


@pytest.fixture
def cut_out(tmp_path):
    """A red square of 40 pixels whose right half is transparent."""
    alpha = np.full((40, 40), 255)
    alpha[:, 20:] = 0
    colours(40, 40, alpha=alpha).save(tmp_path / "half.png")
    return tmp_path / "half.png"


def test_a_cut_out_lies_in_the_middle_of_the_background(cut_out):
    image, mask = load_picture(cut_out, 100, background=(0, 0, 1), fill=0.5)
    assert image.shape == (3, 100, 100) and image.dtype == np.float32
    assert mask.shape == (100, 100) and mask.dtype == bool
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (25, 74, 25, 49)
    np.testing.assert_allclose(image[:, 50, 30], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(image[:, 50, 70], [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(image[:, 0, 0], [0, 0, 1], atol=1e-6)


def test_the_background_is_light_grey_or_a_number_or_an_image(cut_out):
    np.testing.assert_allclose(load_picture(cut_out, 50)[0][:, 0, 0], LIGHT_GREY, atol=1e-6)
    assert np.all(load_picture(cut_out, 50, background=0.25)[0][:, 0, 0] == 0.25)
    noise = np.random.default_rng(0).random((3, 50, 50), np.float32)
    image, mask = load_picture(cut_out, 50, background=noise, fill=0.5)
    np.testing.assert_array_equal(image[:, :10], noise[:, :10])
    assert mask[:10].sum() == 0


def test_half_transparent_pixels_mix_with_what_is_behind(tmp_path):
    colours(10, 10, (200, 100, 0), alpha=128).save(tmp_path / "glass.png")
    image, _ = load_picture(tmp_path / "glass.png", 10, background=1.0, fill=1)
    share = 128 / 255
    np.testing.assert_allclose(
        image[:, 5, 5], share * np.array([200, 100, 0]) / 255 + 1 - share, atol=2 / 255
    )


def test_of_a_photograph_the_middle_square_is_taken(tmp_path):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = (0, 255, 0)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    image, mask = load_picture(tmp_path / "wide.png", 20)
    assert mask.all()
    assert image[1].min() > 0.95 and image[0].max() < 0.05


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "gif", "bmp", "tiff"])
def test_any_format_is_read(tmp_path, kind):
    colours(16, 16, (255, 255, 255)).save(tmp_path / f"white.{kind}")
    image, _ = load_picture(tmp_path / f"white.{kind}", 8)
    assert image.shape == (3, 8, 8) and image.min() > 0.97


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "I;16"])
def test_any_kind_of_pixel_becomes_colours(tmp_path, mode):
    Image.new(mode, (9, 9)).save(tmp_path / "picture.tiff")
    image, _ = load_picture(tmp_path / "picture.tiff", 9)
    assert image.shape == (3, 9, 9) and np.isfinite(image).all()


def test_a_turned_photograph_stands_upright(tmp_path):
    picture = colours(20, 20, (0, 0, 0))
    picture.paste((255, 255, 255), (0, 0, 20, 10))  # the upper half is white
    exif = Image.Exif()
    exif[0x0112] = 3  # it is to be turned by half
    picture.save(tmp_path / "turned.png", exif=exif)
    image, _ = load_picture(tmp_path / "turned.png", 20)
    assert image[:, :8].max() < 0.1 and image[:, 12:].min() > 0.9


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(ValueError, match=r"notes\.txt is not a readable picture"):
        load_picture(tmp_path / "notes.txt")
    colours(64, 64).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:80])
    with pytest.raises(ValueError, match=r"half\.png is not a readable picture"):
        load_picture(tmp_path / "half.png")
    with pytest.raises(FileNotFoundError):
        load_picture(tmp_path / "absent.png")


@pytest.mark.parametrize("kind", ["jpg", "webp", "png"])
def test_a_damaged_file_is_refused_by_its_name_whatever_its_reader_raises(tmp_path, kind):
    """Bytes of a picture and of what its camera noted are changed, by a generator with a seed."""
    rng, exif, path = np.random.default_rng(0), Image.Exif(), tmp_path / f"damaged.{kind}"
    exif[0x0112], exif[0x010E] = 6, "a note"
    colours(12, 9).save(path, exif=exif)
    whole, refused = np.frombuffer(path.read_bytes(), np.uint8), 0
    for _ in range(100):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        try:
            image, _ = load_picture(path, 4)
            assert np.isfinite(image).all()
        except ValueError as error:
            assert f"{path} is not a readable picture: " in str(error)
            refused += 1
    assert refused > 10


@pytest.mark.parametrize("error", [RuntimeError("no frame"), KeyError(3), MemoryError(), IndexError("end")])
def test_any_error_of_pillow_says_that_the_file_is_no_picture(cut_out, monkeypatch, error):
    def fail(self, mode):
        raise error

    monkeypatch.setattr(Image.Image, "convert", fail)
    with pytest.raises(ValueError, match=r"half\.png is not a readable picture: .*" + type(error).__name__):
        load_picture(cut_out)


@pytest.mark.parametrize(
    "settings, error, name",
    [
        ({"size": 0}, ValueError, "size"),
        ({"size": 10**6}, ValueError, "size"),
        ({"size": 12.5}, TypeError, "size"),
        ({"size": True}, TypeError, "size"),
        ({"fill": 0}, ValueError, "fill"),
        ({"fill": 1.5}, ValueError, "fill"),
        ({"background": (255, 0, 0)}, ValueError, "background"),
        ({"background": (0.1, 0.2)}, ValueError, "background"),
        ({"background": "white"}, TypeError, "background"),
        ({"background": np.nan}, ValueError, "background"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(cut_out, settings, error, name):
    with pytest.raises(error, match=name):
        load_picture(cut_out, **{"size": 20, **settings})


def test_a_folder_a_class(tmp_path):
    for place in ("cats/b.png", "cats/a.png", "ants/c.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        colours(8, 8, (len(place), 0, 0), alpha=200).save(tmp_path / place)
    (tmp_path / "README.md").write_text("not a class")
    (tmp_path / "cats" / ".hidden").write_text("left out")
    images, labels, names, masks = load_folder(tmp_path, 12)
    assert names == ("ants", "cats")
    assert labels.tolist() == [0, 1, 1] and labels.dtype == np.int64
    assert images.shape == (3, 3, 12, 12) and images.dtype == np.float32
    assert masks.shape == (3, 12, 12) and masks.dtype == bool
    assert [path.name for path in picture_files(tmp_path)] == ["c.png", "a.png", "b.png"]
    np.testing.assert_array_equal(images[1], load_picture(tmp_path / "cats" / "a.png", 12)[0])


def test_a_folder_with_a_file_that_is_no_picture_names_the_file(tmp_path):
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "notes.txt").write_text("no")
    with pytest.raises(ValueError, match=re.escape("notes.txt is not a readable picture")):
        load_folder(tmp_path, 12)


def test_an_absent_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_folder(tmp_path / "absent")
    with pytest.raises(ValueError, match="pictures for each class"):
        load_folder(tmp_path)


def test_a_class_without_pictures_is_refused_because_the_labels_of_the_others_would_change(tmp_path):
    for place in ("a/1.png", "b/.hidden", "c/2.png"):
        (tmp_path / place).parent.mkdir()
        colours(8, 8).save(tmp_path / place, "png")
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'b'} holds no picture")):
        load_folder(tmp_path, 12)


def test_a_folder_in_the_folder_of_a_class_is_refused(tmp_path):
    (tmp_path / "a" / "sub").mkdir(parents=True)
    colours(8, 8).save(tmp_path / "a" / "1.png")
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'a' / 'sub'} is a folder")):
        load_folder(tmp_path, 12)


def test_the_lessons_pictures_are_220_with_masks_where_they_are_cut_out():
    files = picture_files(lesson_pictures())
    assert len(files) == 220
    for path in files[::20]:
        image, mask = load_picture(path, 64)
        assert image.min() >= 0 and image.max() <= 1
        assert 0.02 < mask.mean() < 0.9
    assert load_picture(lesson_pictures() / "photos" / "chelsea.webp", 64)[1].all()


def test_the_table_names_every_picture_and_only_classes_of_imagenet():
    table = picture_classes(lesson_pictures())
    files = [f"{path.parent.name}/{path.name}" for path in picture_files(lesson_pictures())]
    assert list(table) == files
    known = set(imagenet_names())
    assert all(name in known for names in table.values() for name in names)
    assert sum(bool(names) for names in table.values()) == 102
    assert table["mammals/zebra.webp"] == ("zebra",)
    assert table["mammals/giraffe.webp"] == ()
    assert table["photos/chelsea.webp"] == ("tabby cat", "tiger cat", "Egyptian cat")


def test_a_table_with_other_columns_is_refused_and_a_short_row_has_no_class(tmp_path):
    (tmp_path / "classes.csv").write_text("file,classes\na.png,lynx; ox\nb.png\nc.png,\n")
    assert picture_classes(tmp_path) == {"a.png": ("lynx", "ox"), "b.png": (), "c.png": ()}
    (tmp_path / "classes.csv").write_text("name,classes\na.png,lynx\n")
    with pytest.raises(ValueError, match=r"classes\.csv must be file,classes"):
        picture_classes(tmp_path)
    (tmp_path / "classes.csv").write_text("")
    assert picture_classes(tmp_path) == {}


def test_the_pictures_come_with_their_credits_and_licence():
    assert "GNU General Public License version 2" in (lesson_pictures() / "CREDITS.md").read_text()
    assert "Version 2, June 1991" in (lesson_pictures() / "GPL-2.txt").read_text()


def test_they_are_found_from_any_folder_of_the_clone_and_else_beside_the_package(tmp_path, monkeypatch):
    here = lesson_pictures()
    monkeypatch.chdir(here)
    assert lesson_pictures() == here
    monkeypatch.chdir(tmp_path)
    assert lesson_pictures() == here
    (tmp_path / "lessons" / "pictures").mkdir(parents=True)
    assert lesson_pictures() == tmp_path / "lessons" / "pictures"


@pytest.mark.parametrize("ending", ["png", "tiff", "pgm"])
def test_a_grey_picture_of_16_bits_keeps_its_shades(tmp_path, ending):
    shades = np.linspace(0, 65535, 16 * 16).round().astype(np.uint16).reshape(16, 16)
    Image.fromarray(shades).save(tmp_path / f"deep.{ending}")
    image, mask = load_picture(tmp_path / f"deep.{ending}", 16)
    assert mask.all()
    np.testing.assert_allclose(image, np.stack([shades / 65535] * 3), atol=0.51 / 255)


def test_numbers_of_32_bits_are_refused(tmp_path):
    for kind in (np.float32, np.int32):
        Image.fromarray(np.full((4, 4), 0.5).astype(kind)).save(tmp_path / "deep.tiff")
        with pytest.raises(ValueError, match=r"deep.tiff holds numbers of 32 bits"):
            load_picture(tmp_path / "deep.tiff", 4)
