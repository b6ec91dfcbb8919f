"""What all tests share: the same cases for everybody, no window, no file outside of a temporary folder."""

import gc
import os
import shutil
import signal
import tempfile

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=50, print_blob=False)
settings.register_profile("thorough", derandomize=False, deadline=None, max_examples=1000)
# the option --hypothesis-profile overrides both
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("MINIDL_STRICT", "1")


gc.disable()  # nothing that is imported becomes garbage: looking for it took a quarter of the start


def pytest_collection_finish(session):
    gc.freeze()  # nor is it looked through again and again between the tests
    gc.enable()


def pytest_configure(config):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "MINIDL_CACHE" not in os.environ:
        config.minidl_cache = os.environ["MINIDL_CACHE"] = tempfile.mkdtemp(prefix="minidl-cache-")


def pytest_sessionstart(session):
    from minidl.classroom import exercise  # before any law is declared

    exercise.EXAMPLES = max(exercise.EXAMPLES, settings.default.max_examples)


def pytest_unconfigure(config):
    if hasattr(config, "minidl_cache"):
        del os.environ["MINIDL_CACHE"]
        shutil.rmtree(config.minidl_cache, ignore_errors=True)
