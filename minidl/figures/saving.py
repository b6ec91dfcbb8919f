"""Save figures to a file under out/, and show them in notebooks and windows."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from minidl.data.files import written_whole
from minidl.engine.checks import check_instance, check_path, require, shown
from minidl.figures.style import in_notebook, png_bytes

_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")


def save(figure: Figure, name: str, *, alt: str = "") -> None:
    """Write the figure to ``out/<name>.png`` in the current folder, and print this path or show the figure.

    name: the lesson and the figure's own name, such as ``"02_convolution/filters"``: parts of letters,
    digits, ``_``, ``-`` and ``.``, joined by ``/``. Other names raise ValueError, because they
    could lie outside of ``out/``. An old file is replaced in one step, so it is never half written.
    alt: a sentence that describes the figure, for readers who cannot see the figure. The file, the page of
    figures and the book contain this sentence. Without ``alt`` they contain the figure's title.
    A notebook shows the figure instead of its path. After ``plt.ion()`` a window shows the figure, too.
    In all other cases, pyplot closes the figure.

    >>> from minidl import figures
    >>> figure = figures.image_grid([[[0.0, 1.0]]])
    >>> figures.save(figure, "lesson/image", alt="a black and a white pixel")  # doctest: +SKIP
    out/lesson/image.png
    """
    check_instance("figure", figure, Figure)
    is_below_out = _NAME.fullmatch(check_instance("name", name, str)) is not None
    require(is_below_out, f"name must be like '02_convolution/filters', a path below out/, got {shown(name)}")
    text = check_instance("alt", alt, str) or title_of(figure) or name
    path = Path("out", name if name.endswith(".png") else name + ".png")
    png = png_bytes(figure, text)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as file:
        file.write(png)
    if not in_notebook():
        print(f"figure: {path.as_posix()}")
    _show_or_close(figure, png, text)


def title_of(figure: Figure) -> str:
    """The texts of the whole figure in one line. If there are none, the titles of its panels."""
    on_figure = [text.get_text() for text in figure.texts if len(text.get_text()) > 2]  # no + and no =
    titles = on_figure or [panel.get_title() for panel in figure.axes]
    return ", ".join(" ".join(title.split()) for title in titles if title)


def alt_text(path: str | Path) -> str:
    """The text that ``save`` stored in a PNG file; "" if the file has no such text."""
    with Image.open(check_path("path", path)) as picture:
        return str(picture.info.get("Description", ""))


def _show_or_close(figure: Figure, png: bytes, alt: str) -> None:
    if in_notebook():
        from IPython import display

        display.display(display.Image(png, alt=alt))
    elif matplotlib.is_interactive() and figure.canvas.manager is not None:
        figure.show(warn=False)  # a backend without windows shows nothing
    elif "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(figure)
