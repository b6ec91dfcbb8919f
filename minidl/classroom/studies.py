"""Studies measure numbers with several seeds. Each study saves its numbers in a file, and lessons quote them.

A study is a script ``studies/NN_topic.py`` with

    SEEDS = 5                                     # measured with the seeds 0 to 4
    SETTINGS = {"epochs": 40}                     # optional: settings on which the numbers depend
    def measure(seed: int) -> dict[str, float]    # name -> number, measured with one seed
    def claims(results: dict[str, np.ndarray])    # the claims; results[name] has a number for each seed

``python -m lessons study NN`` measures and writes ``studies/results/NN_topic.json``, which is committed.
"""

from __future__ import annotations

import datetime
import difflib
import importlib.util
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
from tqdm import tqdm

import minidl
from minidl.classroom.claims import ClaimError
from minidl.classroom.files import write_text
from minidl.engine.checks import check_flag, check_function, check_instance, check_int, check_number, require
from minidl.train.intervals import Interval, paired_difference, t_interval

DIGITS = 6  # the number of significant digits that a saved number has
CHECKED = 2  # the number of seeds that a check measures again

# The largest relative difference that does not count as a change. A study's numbers can be equal for all
# seeds (an accuracy of 1.00, a count of bytes). Then their standard deviation 0 would allow no change at all.
# But another processor adds float32 numbers in another order. Then one image of 100 may change its class.
FLOOR = 0.01
SURE = 0.999  # the probability that a further seed's number is in the interval of ``plausible``
ROUNDING = 1e-6  # the same for a number that is 0 for all seeds, as an absolute difference


class StaleError(ValueError):
    """The committed numbers come from another version of the study."""


@dataclass(frozen=True)
class Study:
    """The study in the file ``path``, and its saved numbers."""

    path: Path

    @property
    def number(self) -> str:
        return self.path.stem[:2]

    @property
    def results_path(self) -> Path:
        return self.path.parent / "results" / f"{self.path.stem}.json"

    @property
    def shown(self) -> str:
        """The path relative to the folder that holds the lessons."""
        return Path(*self.path.resolve().parts[-3:]).as_posix()

    def load(self) -> ModuleType:
        """Run the study's module again and return it. Raises ValueError or TypeError if a part is missing."""
        name = f"study_{self.path.stem}"
        spec: Any = importlib.util.spec_from_file_location(name, self.path)  # never None for a .py file
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        require(bool(module.__doc__), f"{self.shown} has no docstring with a title and a text")
        for wanted in ("SEEDS", "measure", "claims"):
            require(hasattr(module, wanted), f"{self.shown} defines no {wanted}")
        check_int(f"SEEDS of {self.shown}", module.SEEDS, 2)
        for part in ("measure", "claims"):
            check_function(f"{part} of {self.shown}", getattr(module, part))
        settings(module)
        return module

    def stored(self) -> dict[str, Any]:
        """The content of the file of results. Raises StaleError if there is no such file."""
        said = f"{self.shown} has no results yet. Run  python -m lessons study {self.number}"
        require(self.results_path.exists(), said, StaleError)
        return json.loads(self.results_path.read_text(encoding="utf-8"))

    def results(self) -> dict[str, np.ndarray]:
        """Maps each name to the committed numbers (n,), one number for each seed."""
        return {name: np.array(values) for name, values in self.stored()["results"].items()}

    def unlike_results(self, what: str) -> str:
        """The message of a StaleError."""
        return f"{self.shown} does not fit its results: {what}. Run  python -m lessons study {self.number}"

    def check_fresh(self, module: ModuleType) -> None:
        """Raise StaleError if the stored numbers have other settings or other seeds than the study."""
        stored, now = self.stored(), settings(module)
        before, seeds = stored["settings"], list(range(module.SEEDS))
        changed = ", ".join(sorted(name for name in {*before, *now} if before.get(name) != now.get(name)))
        require(before == now, self.unlike_results(f"other settings ({changed})"), StaleError)
        other = f"SEEDS = {module.SEEDS}, measured with {stored['n']}"
        require(stored["seeds"] == seeds, self.unlike_results(other), StaleError)


def studies(folder: Path) -> list[Study]:
    """The studies in the folder, sorted by number."""
    return [Study(path) for path in sorted(folder.resolve().glob("[0-9][0-9]_*.py"))]


def choose(folder: Path, numbers: Sequence[str]) -> list[Study]:
    """The studies with these numbers, or all studies. Raises ValueError for an unknown number."""
    known = {one.number: one for one in studies(folder)}
    for number in numbers:
        require(number in known, f"there is no study {number}; there are {', '.join(known) or 'none'}")
    return [known[number] for number in numbers] if numbers else list(known.values())


def quoted(folder: Path, study: str, name: str, minus: str | None = None) -> Interval:
    """The mean over seeds of a committed number, with its 95% t-interval. Also prints mean and source.

    study: the file's name without ending, such as "05_distillation". name: the number's name in the study.
    minus: the name of another number in the study. Then the result is the mean and the interval of the
    differences ``name`` - ``minus``, one difference for each seed (``paired_difference``).
    Raises ValueError for an unknown study or number. The message has the nearest known names.
    """
    there = {one.path.stem: one for one in studies(check_instance("folder", folder, Path))}
    _check_known("study", check_instance("study", study, str), there, f"in lessons/{folder.name}")
    one = there[study]
    results, stored = one.results(), one.stored()
    _check_known("number", check_instance("name", name, str), results, f"in {one.shown}")
    if minus is None:
        text, interval = name, t_interval(results[name])
    else:
        _check_known("number", check_instance("minus", minus, str), results, f"in {one.shown}")
        text, interval = f"{name}\n  minus {minus}", paired_difference(results[name], results[minus])
    print(f"{text}: {interval}   [{one.shown}, {stored['date']}, minidl {stored['versions']['minidl']}]")
    return interval


def _check_known(kind: str, name: str, known: Mapping[str, Any], where: str) -> None:
    near = difflib.get_close_matches(name, known, 3, cutoff=0.3) or list(known)[:3]
    names = ", ".join(map(repr, near)) or "none yet"
    require(name in known, f"there is no {kind} {name!r} {where}; the nearest names: {names}")


def settings(module: ModuleType) -> dict[str, Any]:
    """The study's SETTINGS in the form in which JSON stores them; {} if the study has no settings."""
    found = check_instance("SETTINGS", getattr(module, "SETTINGS", {}), dict)
    try:
        return json.loads(json.dumps(found))
    except TypeError:
        raise TypeError(f"SETTINGS must hold numbers, texts, lists and dicts, got {found}") from None


def measured(one: Study, module: ModuleType, seeds: Sequence[int]) -> dict[str, list[float]]:
    """Measure all numbers with these seeds: name -> one number for each seed. Shows a bar on a terminal.

    ``minidl.manual_seed(seed)`` is called before each measurement. So no result depends on earlier seeds.
    """
    rows: list[dict[str, float]] = []
    for seed in tqdm(seeds, desc=one.path.stem, unit="seed", disable=None):
        minidl.manual_seed(seed)
        row = check_instance(f"measure({seed}) of {one.shown}", module.measure(seed), dict)
        require(bool(row), f"measure({seed}) of {one.shown} returns no numbers")
        rows.append({str(name): _kept(name, value) for name, value in row.items()})
        differ = sorted(rows[0].keys() ^ rows[-1].keys())
        require(not differ, f"measure returns other names for seed {seed} than for seed {seeds[0]}: {differ}")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _kept(name: str, value: float) -> float:
    return float(f"{float(check_number(repr(name), value)):.{DIGITS}g}")


def run_study(one: Study) -> None:
    """Measure all seeds, write the file of results, print means and intervals, and try the claims."""
    module, start = one.load(), time.perf_counter()
    results = measured(one, module, range(module.SEEDS))
    write_text(one.results_path, results_text(one, module, results, time.perf_counter() - start))
    for name, values in one.results().items():
        print(f"{name}: {t_interval(values)}")
    module.claims(one.results())


def results_text(one: Study, module: ModuleType, results: Mapping[str, list], seconds: float) -> str:
    """The text of the file of results: JSON with one line for each entry and for each number."""
    versions = {"minidl": minidl.__version__, "numpy": np.__version__, "numba": numba.__version__}
    entries = {
        "study": one.path.stem,
        "date": datetime.date.today().isoformat(),
        "seconds": round(seconds, 1),
        "versions": versions,
        "settings": settings(module),
        "seeds": list(range(module.SEEDS)),
        "n": module.SEEDS,
    }
    head = "".join(f' "{key}": {json.dumps(value)},\n' for key, value in entries.items())
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in results.items())
    return f'{{\n{head} "results": {{\n{rows}\n }}\n}}\n'


def check_study(one: Study, every_seed: bool = False) -> list[str]:
    """Measure the first two seeds again, or all, and try the claims on the committed numbers.

    A new number may differ from its seed's committed number by the standard deviation over the committed
    seeds (``tolerance``). If it differs more, a further seed must be able to give this number
    (``plausible``). The number is then printed as DRIFTED. The cause is another processor, which adds numbers
    in another order. So the training ends with other weights.
    Returns a line for each number that differs more and is not plausible, and for a claim that does not hold.
    Raises StaleError if the committed numbers have other names, settings or seeds than the study.
    """
    check_flag("every_seed", every_seed)
    module = one.load()
    one.check_fresh(module)
    committed = one.results()
    anew = measured(one, module, range(module.SEEDS if every_seed else CHECKED))
    differ = sorted(anew.keys() ^ committed.keys())
    require(not differ, one.unlike_results(f"other names ({', '.join(differ)})"), StaleError)
    failures = []
    for name, values in anew.items():
        limit, (low, high) = tolerance(committed[name]), plausible(committed[name])
        for seed, (new, old) in enumerate(zip(values, committed[name], strict=False)):
            if abs(new - old) <= limit:
                continue
            line = f"{name}, seed {seed}: {new:.4g}, was {old:.4g} ± {limit:.2g}"
            if low <= new <= high:
                print(f"DRIFTED {line}; a further seed could give {low:.4g} to {high:.4g}")
            else:
                failures.append(f"MOVED   {line}; a further seed would give {low:.4g} to {high:.4g}")
    return failures + failed_claims(module, committed)


def tolerance(committed: np.ndarray) -> float:
    """The standard deviation over the seeds, or FLOOR times the largest number if this is larger."""
    return float(max(committed.std(ddof=1), FLOOR * np.abs(committed).max(), ROUNDING))


def plausible(committed: np.ndarray) -> tuple[float, float]:
    """The interval that contains a further seed's number with probability ``SURE``, for normal numbers.

    mean ± t · s · sqrt(1 + 1/n),   t the (1 + SURE) / 2 quantile with n - 1 degrees of freedom
    """
    mean, low, high, n = t_interval(committed, SURE)
    half = (high - low) / 2 * math.sqrt(n + 1)  # t_interval divides by sqrt(n)
    return float(mean - half), float(mean + half)


def failed_claims(module: ModuleType, results: dict[str, np.ndarray]) -> list[str]:
    """Try the claims on these numbers with MINIDL_STRICT=1. Returns a line for a claim that does not hold."""
    before = os.environ.get("MINIDL_STRICT")
    os.environ["MINIDL_STRICT"] = "1"
    try:
        module.claims(results)
    except ClaimError:  # the function ``claim`` has printed the claim already
        return ["CLAIM   the last one above does not hold on the committed numbers"]
    finally:
        if before is None:
            del os.environ["MINIDL_STRICT"]
        else:
            os.environ["MINIDL_STRICT"] = before
    return []


def run_check(one: Study, every_seed: bool = False) -> bool:
    """Check a study and print the result. Returns True if there is no failure."""
    start = time.perf_counter()
    try:
        failures = check_study(one, every_seed)
    except StaleError as error:
        failures = [f"STALE   {error}"]
    for line in failures:
        print(line)
    took = f"took {time.perf_counter() - start:.1f} s"
    print(f"== {one.number}  {'FAILS' if failures else 'as committed'}, {took}\n", flush=True)
    return not failures
