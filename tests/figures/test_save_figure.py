import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from minidl.figures import image_grid, save
from minidl.figures.saving import alt_text

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def figure():
    return image_grid(np.zeros((2, 2, 2)))


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_figure_is_saved_under_out_and_its_path_printed(folder, figure, capsys):
    assert save(figure, "02_convolution/filters") is None, "a notebook would echo it"
    path = Path("out/02_convolution/filters.png")
    assert capsys.readouterr().out == "figure: out/02_convolution/filters.png\n"
    assert path.read_bytes().startswith(PNG) and imread(path).ndim == 3
    assert files(folder) == ["out/02_convolution/filters.png"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.png", "a.png"),
        ("eps_0.5", "eps_0.5.png"),
        ("01/карта-2", "01/карта-2.png"),
        ("a/b/c", "a/b/c.png"),
    ],
)
def test_a_name_may_end_in_png_and_hold_dots(folder, figure, name, file):
    save(figure, name)
    assert files(folder) == [f"out/{file}"]


@pytest.mark.parametrize(
    "name",
    ["", "/etc/x", "../x", "a/../../x", "a//b", "a/", ".hidden", "a/.b", "C:\\x", "a b", "-x", "a\n", None],
)
def test_a_name_that_could_lie_elsewhere_is_refused_and_nothing_written(folder, figure, name):
    error, message = (TypeError, "must be a str") if name is None else (ValueError, "a path below out/")
    with pytest.raises(error, match=message):
        save(figure, name)
    assert files(folder) == []


def test_the_file_keeps_what_the_figure_shows(folder):
    figure = image_grid(np.zeros((2, 2, 2)), ["a cat", "a cup\nof coffee"])
    save(figure, "a", alt="A cat: Egyptian cat, 38 %. Ein Känguru.")
    assert alt_text("out/a.png") == "A cat: Egyptian cat, 38 %. Ein Känguru."
    save(figure, "a")
    assert alt_text("out/a.png") == "a cat, a cup of coffee", "the titles of the panels"
    save(image_grid(np.zeros((2, 2, 2)), ["a", "b"], title="Two"), "a")
    assert alt_text("out/a.png") == "Two", "the title of the figure"
    save(image_grid(np.zeros((2, 2, 2))), "a")
    assert alt_text("out/a.png") == "a", "or else its name"
    with pytest.raises(TypeError, match="alt must be a str"):
        save(figure, "a", alt=3)


def test_only_a_figure_can_be_saved(folder):
    with pytest.raises(TypeError, match="figure must be a Figure, got an array"):
        save(np.zeros((2, 2)), "a")


def test_saving_again_replaces_the_file(folder, figure):
    save(image_grid(np.ones((2, 2, 2))), "a")
    before = Path("out/a.png").read_bytes()
    save(figure, "a")
    assert Path("out/a.png").read_bytes() != before
    assert files(folder) == ["out/a.png"]


@pytest.mark.parametrize("step", ["write", "rename"])
def test_a_failure_while_writing_leaves_the_old_file_whole_and_no_other(folder, figure, monkeypatch, step):
    save(figure, "a")
    before = Path("out/a.png").read_bytes()

    def fail(*_):
        raise OSError("disk full")

    class File(io.FileIO):
        def write(self, content):
            super().write(content[: len(content) // 2])
            fail()

    if step == "write":
        monkeypatch.setattr("minidl.data.files.open", File, raising=False)
    else:
        monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save(image_grid(np.ones((2, 2, 2))), "a")
    assert Path("out/a.png").read_bytes() == before
    assert files(folder) == ["out/a.png"]


def test_a_figure_that_pyplot_holds_is_closed(folder):
    import matplotlib.pyplot as plt

    held = plt.figure()
    other = plt.figure()
    save(held, "a")
    assert not plt.fignum_exists(held.number) and plt.fignum_exists(other.number)
    plt.close(other)


def test_an_interactive_session_shows_the_figure_and_keeps_it_open(folder, monkeypatch):
    import matplotlib.pyplot as plt

    shown = []
    monkeypatch.setattr(Figure, "show", lambda figure, warn=True: shown.append(figure))
    with matplotlib.rc_context({"interactive": True}):
        figure = image_grid(np.zeros((2, 2, 2)))
        save(figure, "a")
    assert shown == [figure] and plt.fignum_exists(figure.number)
    plt.close(figure)


def test_a_notebook_gets_the_picture_itself_once(folder, figure, monkeypatch, capsys):
    displayed = []

    display = SimpleNamespace(Image=lambda png, alt: (png, alt), display=displayed.append)
    shell = SimpleNamespace(kernel=None)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=display, get_ipython=lambda: shell))
    with matplotlib.rc_context({"interactive": True}):
        in_notebook = image_grid(np.zeros((2, 2, 2)))
        save(in_notebook, "a", alt="two grey squares")
    assert displayed == [(Path("out/a.png").read_bytes(), "two grey squares")]
    assert capsys.readouterr().out == "", "the picture stands there, so its path would be noise"
    assert in_notebook.canvas.manager is None  # otherwise pyplot would show it again at the end of the cell
    assert in_notebook._repr_png_().startswith(PNG)


SCRIPT = """
import sys
import minidl
assert "matplotlib" not in sys.modules, "import minidl imported Matplotlib"
import matplotlib
from minidl import Tensor, figures
before = dict(matplotlib.rcParams.copy())
x = Tensor(3.0, requires_grad=True)
figures.save(figures.draw_graph(x * x), "01_autograd/graph")
figures.save(figures.image_grid([[[0.0, 1.0]]]), "01_autograd/image")
assert "matplotlib.pyplot" not in sys.modules, "pyplot, and with it a backend, was imported"
assert dict(matplotlib.rcParams.copy()) == before
"""


def test_figures_need_no_display_no_pyplot_and_no_backend(folder):
    environment = {
        k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    }
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert files(folder) == ["out/01_autograd/graph.png", "out/01_autograd/image.png"]
