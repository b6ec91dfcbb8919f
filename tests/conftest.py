"""What all tests share: the same cases for everybody, no window, no file outside of a temporary folder."""

import os
import shutil
import sys
import tempfile

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=50, print_blob=False)
settings.register_profile("thorough", derandomize=False, deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))  # --hypothesis-profile wins over both

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("MINIDL_STRICT", "1")


@pytest.hookimpl(tryfirst=True)  # before xdist's own, which starts the processes
def pytest_cmdline_main(config):
    """All tests: in a process for each core, a whole file in one. A part: here, where breakpoints stop."""
    options, cores = config.option, os.cpu_count() or 1
    everything = config.args_source is config.ArgsSource.TESTPATHS
    part = options.keyword or options.markexpr or options.usepdb or options.collectonly or sys.gettrace()
    has_choice = getattr(options, "numprocesses", 0) is None and "PYTEST_XDIST_WORKER" not in os.environ
    if everything and not part and has_choice and cores > 1:
        options.numprocesses, options.dist = cores, "loadfile"


def pytest_configure(config):
    if "MINIDL_CACHE" not in os.environ:
        config.minidl_cache = os.environ["MINIDL_CACHE"] = tempfile.mkdtemp(prefix="minidl-cache-")


def pytest_sessionstart(session):
    from minidl.classroom import exercise  # before any law is declared

    exercise.EXAMPLES = max(exercise.EXAMPLES, settings.default.max_examples)


def pytest_unconfigure(config):
    if hasattr(config, "minidl_cache"):
        del os.environ["MINIDL_CACHE"]
        shutil.rmtree(config.minidl_cache, ignore_errors=True)
