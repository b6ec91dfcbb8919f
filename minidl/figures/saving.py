"""Where figures go: a file under out/, and the screen if somebody sits in front of it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from minidl.data.files import written_whole
from minidl.engine.checks import check_instance, require
from minidl.figures.style import in_notebook, png_bytes

_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")


def save(figure: Figure, name: str) -> Path:
    """Write the figure to ``out/<name>.png`` in the current folder and print that path, which is returned.

    name: the lesson and the figure's own name, such as ``"02_convolution/filters"``: parts of letters,
    digits, ``_``, ``-`` and ``.``, joined by ``/``; anything else, which could lie outside of ``out/``,
    raises ValueError. A file of that name is replaced in one step, so nobody sees it half written.
    In an interactive session (a notebook, or after ``plt.ion()``) the figure is shown as well; elsewhere
    pyplot, if it knows the figure, closes it.
    """
    check_instance("figure", figure, Figure)
    is_below_out = _NAME.fullmatch(check_instance("name", name, str)) is not None
    require(is_below_out, f"name must be like '02_convolution/filters', a path below out/, got {name!r}")
    path = Path("out", name if name.endswith(".png") else name + ".png")
    png = png_bytes(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as file:
        file.write(png)
    print(f"figure: {path.as_posix()}")
    _show_or_close(figure, png)
    return path


def _show_or_close(figure: Figure, png: bytes) -> None:
    if in_notebook():
        from IPython.display import Image, display

        display(Image(png))
    elif matplotlib.is_interactive() and figure.canvas.manager is not None:
        figure.show(warn=False)  # a backend without windows shows nothing, then the file has to do
    elif "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(figure)
