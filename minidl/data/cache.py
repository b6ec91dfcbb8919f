"""A cache of slow results (a pretrained network, a grid over seeds) under a hash of their recipe."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from minidl.data.files import KINDS, parse_array, read_archive, write_archive
from minidl.engine.checks import check_instance, require, shown
from minidl.engine.random import default_rng_or

Arrays = dict[str, np.ndarray]
RECIPE, NAMES = "recipe.json", "arrays.json"  # an entry's first members; <name>.npy for each array follow


def cached(name: str, recipe: dict, make: Callable[..., Arrays]) -> Arrays:
    """The result of ``make(**recipe)``, read from the cache folder; if it is not there, made and stored.

    ``make`` gets only the recipe, so the recipe holds every setting and also the seed. ``make`` is a plain
    function, not a partial, a method or another object. The entry's key is a hash of the name, the recipe,
    minidl's version and the text of ``make``: if one changes, the result is made again. A change in other
    code that ``make`` uses is not noticed: then delete the entry, or set ``MINIDL_CACHE`` to a new folder.
    After ``make`` the default generator gets its old state back, so that later draws do not depend on the
    cache.

    name: the start of the file's name. It has letters, digits and ``._-``, as the names of the arrays.
    recipe: keyword arguments, plain JSON values.  make: returns a dict of arrays, say ``model.state_dict()``.

    A damaged or wrong entry is made again, with a warning. If the folder cannot be written, the result is
    returned but not stored, also with a warning. Raises: TypeError or ValueError for a recipe that is not
    JSON or a result that is not a dict of arrays, and the errors of ``make``; then nothing is stored.

    >>> from minidl import data
    >>> recipe = {"seed": 0, "epochs": 15}
    >>> weights = data.cached("03_backbone", recipe, pretrain)  # doctest: +SKIP
    """
    header = _header(name, recipe, make)
    path = cache_folder() / f"{name}-{hashlib.sha256(header.encode()).hexdigest()[:20]}.npz"
    try:
        if path.exists():
            return read_arrays(path, header)
    except Exception as error:  # a damaged archive can raise almost any error
        warnings.warn(f"the stored result {name} is of no use and is made again: {error!r}", stacklevel=2)

    state = default_rng_or(None).bit_generator.state
    arrays = _copied(make(**recipe), name)
    default_rng_or(None).bit_generator.state = state
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_archive(path, {RECIPE: header, NAMES: json.dumps(list(arrays))}, arrays)
    except OSError as error:
        warnings.warn(
            f"the result {name} could not be stored and will be made again: {error!r}", stacklevel=2
        )
    return arrays


def cached_runs(name: str, recipes: Iterable[dict], make: Callable[..., Arrays]) -> list[Arrays]:
    """``cached`` for each recipe, such as one for each seed, with a progress bar if some must be made.

    Every run is stored as soon as it is made, so after an interruption only the rest is made.

    >>> from minidl import data
    >>> recipes = [{"seed": seed, "epochs": 15} for seed in range(3)]
    >>> runs = data.cached_runs("03_backbone", recipes, pretrain)  # doctest: +SKIP
    """
    from tqdm import tqdm

    check_instance("recipes", recipes, Iterable)
    bar = tqdm(list(recipes), desc=name, delay=1, leave=False, disable=None)
    return [cached(name, recipe, make) for recipe in bar]


def cache_folder() -> Path:
    """``MINIDL_CACHE`` if it is set, otherwise the user's cache folder. The folder need not exist.

    >>> from minidl import data
    >>> data.cache_folder().name  # doctest: +SKIP
    'minidl'
    """
    if folder := os.environ.get("MINIDL_CACHE"):
        return Path(folder)
    try:
        home = Path.home()
    except RuntimeError:  # the user has no home folder, as in some containers
        home = Path(tempfile.gettempdir())
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "minidl" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "minidl"
    folder = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(folder) if os.path.isabs(folder) else home / ".cache") / "minidl"


def read_arrays(path: Path, header: str) -> Arrays:
    """The arrays stored at ``path`` with this ``header``; any other file raises an exception."""
    with open(path, "rb") as file:
        contents = read_archive(file)
    require(contents[RECIPE].decode() == header, f"{path}: was made by another recipe")
    return {name: parse_array(contents[f"{name}.npy"]) for name in json.loads(contents[NAMES])}


def _header(name: str, recipe: dict, make: Callable) -> str:
    _check_name("name", name)
    is_recipe = isinstance(recipe, dict) and all(isinstance(key, str) for key in recipe)
    require(is_recipe, f"recipe must be a dict of make's keyword arguments, got {shown(recipe)}", TypeError)
    from minidl import __version__

    contents = {"name": name, "recipe": recipe, "minidl": __version__, "make": _source(make)}
    try:
        return json.dumps(contents, sort_keys=True, allow_nan=False, indent=1)
    except (TypeError, ValueError) as error:
        raise type(error)(f"recipe must hold plain JSON values, got {shown(recipe)}: {error}") from error


def _source(make: Callable) -> str:
    try:
        if isinstance(make, FunctionType):
            return inspect.getsource(make)
    except OSError:  # the function was typed at a prompt, or made by exec
        pass
    wanted = "make must be a function whose text can be read (def, in a file or notebook)"
    why = "its settings belong in the recipe, not in a partial or an object"
    raise TypeError(f"{wanted}, got {shown(make)}: {why}")


def _copied(arrays: Any, name: str) -> Arrays:
    """The result of ``make``, as arrays by name."""
    copies = {}
    for key, value in check_instance(f"the result of make for {name}", arrays, dict).items():
        _check_name(f"a name that make of {name} gives to an array", key)
        copies[key] = np.array(value)
        numbers = f"make of {name} must return arrays of numbers, got dtype {copies[key].dtype} under {key!r}"
        require(copies[key].dtype.kind in KINDS, numbers, TypeError)
    return copies


def _check_name(what: str, name: object) -> None:
    is_name = isinstance(name, str) and re.fullmatch(r"[\w.-]+", name) is not None
    require(is_name, f"{what} must consist of letters, digits and ._-, got {shown(name)}")
