"""Checkpoints: the whole state of a training in one file, which is complete or does not exist.

A checkpoint is an .npz archive without pickle; ``np.load`` opens it, too. It holds the arrays ``model/KEY``,
``optimizer/NUMBER/NAME`` and ``best/KEY``, and the text ``meta.json`` with the settings, the history and the
generators' states.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data.files import parse_array, read_archive, write_archive
from minidl.engine.checks import check_instance, check_int, check_path, require, shown
from minidl.engine.random import default_rng_or
from minidl.nn.module import Module
from minidl.train.optim import Optimizer

FORMAT = "minidl checkpoint 1"
Arrays = dict[str, np.ndarray]


@dataclasses.dataclass
class Checkpoint:
    """The contents of a checkpoint. ``generators``: the states of random generators, by name."""

    model: Arrays
    optimizer: dict[str, Any] | None
    generators: dict[str, dict] | None
    history: dict[str, Any] | None
    step: int
    best: Arrays | None
    settings: dict[str, Any] | None


def save(
    path: str | Path,
    model: Module,
    *,
    optimizer: Optimizer | None = None,
    rng: np.random.Generator | None = None,
    history: Any = None,
    step: int = 0,
    best: Arrays | None = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Write the state of a training to ``path``. In every case, the old or the new file is complete.

    rng: the generator of the training. With it, the default generator and the generators of modules (``rng``
    of Dropout) are saved, so that training can continue to exactly the same result.  history: a dataclass or
    dict of JSON values.  best: another state of the model, such as its best so far.
    settings: JSON values by name, to compare when training continues.
    The file is written by ``written_whole``. Raises OSError if it cannot be written.
    """
    path, step = check_path("path", path), check_int("step", step, 0)
    check_instance("model", model, Module)
    check_instance("optimizer", optimizer, Optimizer, optional=True)
    if dataclasses.is_dataclass(history) and not isinstance(history, type):
        history = dataclasses.asdict(history)
    problems = [] if best is None else model.state_problems(best)
    require(not problems, "\n  ".join(["best is no state of the model:", *problems]))
    optimizer_state = None if optimizer is None else optimizer.state_dict()
    meta = {
        "format": FORMAT,
        "step": step,
        "settings": named("settings", settings),
        "history": named("history", history),
        "optimizer": optimizer_state and {key: optimizer_state[key] for key in ("kind", "param_groups")},
        "generators": rng_states(model, rng),
    }
    try:
        text = json.dumps(meta, default=plain)
    except (TypeError, ValueError) as error:
        raise TypeError(f"history and settings must hold plain JSON values: {error}") from error
    arrays = {f"model/{key}": value for key, value in model.state_dict().items()}
    arrays.update({f"best/{key}": np.asarray(value) for key, value in (best or {}).items()})
    for i, values in optimizer_state["state"].items() if optimizer_state else ():
        arrays.update({f"optimizer/{i}/{name}": np.asarray(value) for name, value in values.items()})
    write_archive(path, {"meta.json": text}, arrays)


def load(
    path: str | Path,
    model: Module | None = None,
    *,
    optimizer: Optimizer | None = None,
    rng: np.random.Generator | None = None,
) -> Checkpoint:
    """Read ``path`` and load its state into the given model, optimizer and generators.

    With ``rng``, the default generator and those of the model's modules are loaded, too. Raises ValueError
    for a file that is damaged, of another program or does not fit; then nothing has changed. The memory in
    use depends on the true size of the file, not on the size in its header.
    """
    path = check_path("path", path)
    check_instance("model", model, Module, optional=True)
    check_instance("optimizer", optimizer, Optimizer, optional=True)
    checkpoint = unpack(path, *read(path))
    problems = [] if model is None else model.state_problems(checkpoint.model)
    if model is not None and checkpoint.best is not None:
        problems += model.state_problems(checkpoint.best)
    optimizer_state, states = checkpoint.optimizer or {}, checkpoint.generators or {}
    if optimizer is not None:
        none = ["it holds no optimizer's state"]
        problems += optimizer.state_problems(optimizer_state) if optimizer_state else none
    wanted = {} if rng is None else generators(model, rng)
    for name, generator in wanted.items():
        try:
            type(generator.bit_generator)(0).state = states[name]
        except Exception as error:  # NumPy's setters can raise any error for a wrong key or value
            problems.append(f"it holds no state for the generator {name!r}: {error!r}")
    require(not problems, "\n  ".join([f"{path} does not fit:", *problems]))
    if model is not None:
        model.load_state_dict(checkpoint.model)
    if optimizer is not None:
        optimizer.load_state_dict(optimizer_state)
    for name, generator in wanted.items():
        generator.bit_generator.state = states[name]
    return checkpoint


def generators(model: Module | None, rng: np.random.Generator) -> dict[str, np.random.Generator]:
    """The generators that training may use, by name."""
    named = {"rng": default_rng_or(rng), "default": default_rng_or(None)}
    for path, module in model.named_modules() if model is not None else ():
        own = getattr(module, "rng", None)
        if isinstance(own, np.random.Generator):
            named[f"model.{path}"] = own
    return named


def rng_states(model: Module, rng: np.random.Generator | None) -> dict[str, Any] | None:
    """The states of the generators that training may use, by name."""
    found = {} if rng is None else generators(model, rng)
    return {name: generator.bit_generator.state for name, generator in found.items()} or None


def plain(value: np.ndarray | np.generic) -> Any:
    """An array or a number of NumPy as JSON can hold it. The states of some generators hold arrays."""
    return check_instance("each value", value, (np.ndarray, np.generic)).tolist()


def named(name: str, values: dict[str, Any] | None) -> dict[str, Any] | None:
    """Values by name. Other keys than texts are refused, because JSON would change them to texts."""
    is_named = values is None or (isinstance(values, dict) and all_keys_are_texts(values))
    need = f"{name} must be a dict of values by name, and so must each dict in it"
    require(is_named, f"{need}, got {shown(values)}", TypeError)
    return values


def all_keys_are_texts(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and all_keys_are_texts(value[key]) for key in value)
    return not isinstance(value, list | tuple) or all(map(all_keys_are_texts, value))


def unpack(path: str | Path, meta: dict[str, Any], arrays: Arrays) -> Checkpoint:
    """The Checkpoint in the contents of a file. ValueError if ``save`` did not write them."""
    parts: dict[str, dict] = {"model": {}, "best": {}, "optimizer": {}}
    try:
        for name, array in arrays.items():
            part, key = name.split("/", 1)
            if part == "optimizer":
                number, key = key.split("/")
                parts[part].setdefault(int(number), {})[key] = array
            else:
                parts[part][key] = array
        optimizer, states, history, settings = (
            None if meta[key] is None else dict(meta[key])
            for key in ("optimizer", "generators", "history", "settings")
        )
        if optimizer is not None:
            optimizer["state"] = parts["optimizer"]
        step, best = check_int("step", meta["step"], 0), parts["best"] or None
        return Checkpoint(parts["model"], optimizer, states, history, step, best, settings)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} is not a checkpoint that save wrote: {error!r}") from error


def read(path: Path) -> tuple[dict[str, Any], Arrays]:
    """The meta data and arrays. OSError if the file cannot be opened; ValueError if it is no checkpoint."""
    with open(path, "rb") as file:
        try:
            contents = read_archive(file)
            foreign = "another program wrote it; for PyTorch's file, give torch.load(...) to load_state_dict"
            require("meta.json" in contents, foreign)
            meta = json.loads(contents.pop("meta.json"))
            is_ours = isinstance(meta, dict) and meta.get("format") == FORMAT
            require(is_ours, f"it does not have the format {FORMAT!r}")
            return meta, {name.removesuffix(".npy"): parse_array(data) for name, data in contents.items()}
        except Exception as error:  # zipfile, json and npy can raise almost any error on damaged input
            raise ValueError(f"{path} is not a complete minidl checkpoint: {error!r}") from error
