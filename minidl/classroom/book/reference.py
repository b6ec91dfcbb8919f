"""The reference: a page for each package, with the docstrings of its public functions and classes."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import minidl
from minidl.classroom.files import write_text

LEFT_OUT = {"classroom"}  # lessons do not call the functions of this package


def write_reference(folder: Path) -> None:
    """Write a page for minidl itself and a page for each of its packages."""
    names = ["minidl"]
    for module in pkgutil.iter_modules(minidl.__path__):
        if module.ispkg and module.name not in LEFT_OUT:
            names.append(f"minidl.{module.name}")
    seen: set[int] = set()
    for name in names:
        write_text(folder / f"{name}.rst", package_page(importlib.import_module(name), seen))
    listed = "\n".join(f"   {name}" for name in names)
    head = "Reference\n=========\n\nThe functions and classes of minidl, by package.\n\n"
    write_text(folder / "index.rst", f"{head}.. toctree::\n   :maxdepth: 1\n\n{listed}\n")


def package_page(package: ModuleType, seen: set[int]) -> str:
    """A page that lists the package's own names, then other names of its modules. ``seen`` is left out."""
    name = package.__name__
    text = f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n\n"
    public = [one for one in getattr(package, "__all__", ()) if is_documented(getattr(package, one))]
    text += entries(package, public, seen)
    if package is minidl:
        return text
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{name}.{found.name}")
        own = [one for one, value in vars(module).items() if one[0] != "_" and is_of(module, value)]
        own = [one for one in own if id(getattr(module, one)) not in seen]
        if own:
            text += (
                f"{module.__name__}\n{'-' * len(module.__name__)}\n\n.. automodule:: {module.__name__}\n\n"
            )
            text += entries(module, own, seen)
    return text


def is_documented(value: object) -> bool:
    return (inspect.isfunction(value) or inspect.isclass(value)) and bool(value.__doc__)


def is_of(module: ModuleType, value: object) -> bool:
    return is_documented(value) and value.__module__ == module.__name__


def entries(module: ModuleType, names: list[str], seen: set[int]) -> str:
    """A table of the names with their first sentences, then the whole docstrings."""
    names = [name for name in names if id(getattr(module, name)) not in seen]
    if not names:
        return ""
    seen.update(id(getattr(module, name)) for name in names)
    listed = "".join(f"   {name}\n" for name in names)
    text = f".. currentmodule:: {module.__name__}\n\n.. autosummary::\n   :nosignatures:\n\n{listed}\n"
    for name in names:
        is_class = inspect.isclass(getattr(module, name))
        members = "   :members:\n" if is_class else ""
        text += f".. {'autoclass' if is_class else 'autofunction'}:: {name}\n{members}\n"
    return text


def as_rst(lines: list[str]) -> list[str]:
    """A docstring of minidl as reStructuredText.

    Indented lines after a blank line or after a colon are a formula or code. They stay as they are.
    Lines from ">>>" to the next blank line are an example. They stay as they are, too.
    All other lines are words. In words, only double backquotes and "- " have a meaning.
    """
    written: list[str] = []
    before, in_block, in_list, in_example = "", False, False, False
    for line in lines:
        if line.startswith(">>>") and not in_example:
            in_example, in_block, in_list = True, False, False
            written.append("")
        in_example = in_example and bool(line)
        if in_example:
            written.append(line)
            continue
        indented, was_in_block = line.startswith("  "), in_block
        begins = indented and not in_block and (not before or before.endswith(":"))
        in_block = begins or (in_block and (indented or not line))
        is_item = line.startswith("- ")
        if begins:
            written += ["", "::", ""]
        elif (was_in_block and not in_block) or (is_item and not in_list):
            written.append("")
        in_list = is_item or (in_list and bool(line) and not in_block)
        if in_block:
            written.append("  " + line)
        elif is_item:
            written.append("- " + in_words(line[2:]))
        else:
            written.append("  " * in_list + in_words(line.strip()))
        before = line
    return [*written, ""]


def in_words(text: str) -> str:
    """Escape the characters that have a meaning in reStructuredText. ``code`` stays code."""
    parts = re.split(r"(``.+?``)", text)
    escaped = [re.sub(r"([\\*`|])|(_)(?=\W|$)", r"\\\g<0>", part) for part in parts[::2]]
    parts[::2] = escaped
    return "".join(parts)
