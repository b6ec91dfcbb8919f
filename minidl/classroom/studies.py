"""Studies: numbers over seeds that lessons quote. They are measured before the lessons and saved in a file.

A study is a script ``studies/NN_topic.py`` with

    SEEDS = 5                                     # measured with the seeds 0 to 4
    SETTINGS = {"epochs": 40}                     # optional: settings on which the numbers depend
    def measure(seed: int) -> dict[str, float]    # the numbers of one seed, by name
    def claims(results: dict[str, np.ndarray])    # statements on them; results[name] has a number per seed

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

DIGITS = 6  # significant digits that are kept of a number
CHECKED = 2  # the number of seeds that a check measures again

# The smallest relative change of a number that counts as a change. A study's numbers can be equal for all
# seeds (an accuracy of 1.00, a count of bytes). Then their standard deviation 0 would allow no change at all.
# But another processor adds float32 numbers in another order, so one image in a hundred may change its class.
FLOOR = 0.01
SURE = 0.999  # the probability that a further seed's number is in the interval of ``plausible``
ROUNDING = 1e-6  # the smallest change that counts for a number that is 0 for all seeds


class StaleError(ValueError):
    """The committed numbers do not belong to the present version of the study."""


@dataclass(frozen=True)
class Study:
    """The study in the file ``path``, and the numbers that it measured."""

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
        require(bool(module.__doc__), f"{self.shown} has no docstring with the title and what is measured")
        for wanted in ("SEEDS", "measure", "claims"):
            require(hasattr(module, wanted), f"{self.shown} defines no {wanted}")
        check_int(f"SEEDS of {self.shown}", module.SEEDS, 2)
        check_function(f"measure of {self.shown}", module.measure)
        check_function(f"claims of {self.shown}", module.claims)
        settings(module)
        return module

    def stored(self) -> dict[str, Any]:
        """The content of the file of results. Raises StaleError if there is no such file."""
        if not self.results_path.exists():
            raise StaleError(f"{self.shown} has no results yet. Run  python -m lessons study {self.number}")
        return json.loads(self.results_path.read_text(encoding="utf-8"))

    def results(self) -> dict[str, np.ndarray]:
        """name -> the committed numbers (n,), one per seed."""
        return {name: np.array(values) for name, values in self.stored()["results"].items()}

    def stale(self, what: str) -> StaleError:
        where = f"{self.shown} does not fit its results: {what}."
        return StaleError(f"{where} Run  python -m lessons study {self.number}")

    def check_fresh(self, module: ModuleType) -> None:
        """Raise StaleError unless the stored numbers have the settings and the seeds of the study."""
        stored, now = self.stored(), settings(module)
        if stored["settings"] != now:
            names = sorted({*stored["settings"], *now})
            changed = [name for name in names if stored["settings"].get(name) != now.get(name)]
            raise self.stale(f"other settings ({', '.join(changed)})")
        if stored["seeds"] != list(range(module.SEEDS)):
            raise self.stale(f"SEEDS = {module.SEEDS}, measured with {stored['n']}")


def studies(folder: Path) -> list[Study]:
    """The studies in the folder, sorted by number."""
    return [Study(path) for path in sorted(folder.resolve().glob("[0-9][0-9]_*.py"))]


def choose(folder: Path, numbers: Sequence[str]) -> list[Study]:
    """The studies with these numbers, or all. Raises ValueError with the known numbers for an unknown one."""
    known = {one.number: one for one in studies(folder)}
    for number in numbers:
        require(number in known, f"there is no study {number}; there are {', '.join(known) or 'none'}")
    return [known[number] for number in numbers] if numbers else list(known.values())


def quoted(folder: Path, study: str, name: str, minus: str | None = None) -> Interval:
    """Mean and 95% t-interval over seeds of a committed number. Also prints the number and its source.

    study: the file's name without ending, such as "05_distillation". name: the number's name in the study.
    minus: another number of the study. Then the mean and the interval are those of the differences
    ``name`` - ``minus``, one for each seed (``paired_difference``).
    Raises ValueError with the nearest names for a study or a number that does not exist.
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
    if name not in known:
        near = difflib.get_close_matches(name, known, 3, cutoff=0.3) or list(known)[:3]
        names = ", ".join(map(repr, near)) or "none yet"
        raise ValueError(f"there is no {kind} {name!r} {where}; the nearest: {names}")


def settings(module: ModuleType) -> dict[str, Any]:
    """The study's SETTINGS as they are in the file of results; {} if the study has no settings."""
    found = check_instance("SETTINGS", getattr(module, "SETTINGS", {}), dict)
    try:
        return json.loads(json.dumps(found))
    except TypeError:
        raise TypeError(f"SETTINGS must hold numbers, texts, lists and dicts, got {found}") from None


def measured(one: Study, module: ModuleType, seeds: Sequence[int]) -> dict[str, list[float]]:
    """Measure name -> one number for each of the seeds, with a progress bar on a terminal.

    ``minidl.manual_seed(seed)`` is called before each seed, so that no result depends on earlier seeds.
    """
    rows: list[dict[str, float]] = []
    for seed in tqdm(seeds, desc=one.path.stem, unit="seed", disable=None):
        minidl.manual_seed(seed)
        row = check_instance(f"measure({seed}) of {one.shown}", module.measure(seed), dict)
        require(bool(row), f"measure({seed}) of {one.shown} gives no number")
        rows.append({str(name): _kept(name, value) for name, value in row.items()})
        differ = sorted(rows[0].keys() ^ rows[-1].keys())
        require(not differ, f"measure gives other names for seed {seed} than for {seeds[0]}: {differ}")
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
    """The file of results: JSON with one line for each entry and for each number."""
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
    seeds (``tolerance``). A number that differs more must be a number that a further seed could give
    (``plausible``). It is printed as DRIFTED. Another processor causes this: it rounds sums in another order,
    so a training ends with other weights.
    Returns a line for each number that is neither near nor plausible, and for a claim that does not hold.
    Raises StaleError if the committed numbers have other names, settings or seeds than the study.
    """
    check_flag("every_seed", every_seed)
    module = one.load()
    one.check_fresh(module)
    committed = one.results()
    anew = measured(one, module, range(module.SEEDS if every_seed else CHECKED))
    differ = sorted(anew.keys() ^ committed.keys())
    if differ:
        raise one.stale(f"other names ({', '.join(differ)})")
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
    """The standard deviation over the seeds, but at least FLOOR times the largest number."""
    return float(max(committed.std(ddof=1), FLOOR * np.abs(committed).max(), ROUNDING))


def plausible(committed: np.ndarray) -> tuple[float, float]:
    """The interval that contains a further seed's number with probability ``SURE``, for normal numbers.

    mean ± t · s · sqrt(1 + 1/n),   t the (1 + SURE) / 2 quantile with n - 1 degrees of freedom
    """
    mean, low, high, n = t_interval(committed, SURE)
    half = (high - low) / 2 * math.sqrt(n + 1)  # t_interval divides by sqrt(n)
    return float(mean - half), float(mean + half)


def failed_claims(module: ModuleType, results: dict[str, np.ndarray]) -> list[str]:
    """Try the claims on these numbers as with MINIDL_STRICT=1. Returns a line if a claim does not hold."""
    before = os.environ.get("MINIDL_STRICT")
    os.environ["MINIDL_STRICT"] = "1"
    try:
        module.claims(results)
    except ClaimError:  # the function ``claim`` has printed it
        return ["CLAIM   the last one above does not hold on the committed numbers"]
    finally:
        if before is None:
            del os.environ["MINIDL_STRICT"]
        else:
            os.environ["MINIDL_STRICT"] = before
    return []


def run_check(one: Study, every_seed: bool = False) -> bool:
    """Check a study and print the result. Returns True if all is well."""
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
