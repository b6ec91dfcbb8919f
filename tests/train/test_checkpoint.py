"""Checkpoints: what comes back, and that no fault, kill or damaged file takes anything away."""

import errno
import io
import itertools
import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

import minidl
import minidl.nn as nn
from minidl.data import files
from minidl.engine.random import default_rng_or
from minidl.train import SGD, Adam, History, checkpoint
from minidl.train.checkpoint import load, save


def make(seed=0):
    """A small model with every kind of state, and an optimizer that has taken a step."""
    rng, own = np.random.default_rng(seed), np.random.default_rng(seed + 100)
    model = nn.Sequential(
        nn.Linear(2, 3, rng=rng), nn.BatchNorm1d(3), nn.Dropout(0.5, rng=own), nn.Linear(3, 1, rng=rng)
    )
    optimizer = Adam(
        [{"params": model[0].parameters(), "lr": 0.01}, {"params": [*model[3].parameters()]}], lr=0.1
    )
    model(rng.random((4, 2), np.float32)).sum().backward()
    optimizer.step()
    return model, optimizer, rng


def everything(model, optimizer, rng):
    """All that a checkpoint should keep, in a form that can be compared."""
    state = optimizer.state_dict()
    return (
        {key: value.tobytes() for key, value in model.state_dict().items()},
        {i: {k: np.asarray(v).tobytes() for k, v in s.items()} for i, s in state["state"].items()},
        [{**group, "betas": tuple(group["betas"])} for group in state["param_groups"]],
        rng.bit_generator.state,
    )


def test_model_optimizer_generator_history_step_and_best_come_back_to_the_bit(tmp_path):
    model, optimizer, rng = make()
    history, best = History(train_loss=[0.1 + 0.2], lr=[1e-3]), model.state_dict()
    model[0].weight.data -= 1
    save(tmp_path / "c.npz", model, optimizer=optimizer, rng=rng, history=history, step=7, best=best)
    saved = everything(model, optimizer, rng)

    other = make(seed=5)
    back = load(tmp_path / "c.npz", other[0], optimizer=other[1], rng=other[2])
    assert everything(*other) == saved
    assert back.step == 7 and History(**back.history) == history
    assert all(np.array_equal(back.best[key], value) for key, value in best.items())


def test_training_goes_on_to_the_same_bits_with_dropout_and_both_generators(tmp_path):
    def train(model, optimizer, rng, steps):
        for _ in range(steps):
            x = rng.random((4, 2), np.float32) + default_rng_or(None).random((4, 2), np.float32)
            optimizer.zero_grad()
            model(x).sum().backward()
            optimizer.step()

    minidl.manual_seed(0)
    straight = make()
    train(*straight, 2)
    save(tmp_path / "c.npz", straight[0], optimizer=straight[1], rng=straight[2])
    train(*straight, 3)

    minidl.manual_seed(99)
    resumed = make(seed=1)
    load(tmp_path / "c.npz", resumed[0], optimizer=resumed[1], rng=resumed[2])
    train(*resumed, 3)
    assert everything(*resumed) == everything(*straight)


def test_loading_without_a_generator_touches_none(tmp_path):
    model, optimizer, rng = make()
    save(tmp_path / "c.npz", model, rng=rng)
    minidl.manual_seed(4)
    before = default_rng_or(None).bit_generator.state
    load(tmp_path / "c.npz", model)
    assert default_rng_or(None).bit_generator.state == before


def test_numpy_opens_a_checkpoint_without_pickle(tmp_path):
    model, optimizer, rng = make()
    save(tmp_path / "c.npz", model, optimizer=optimizer)
    with np.load(tmp_path / "c.npz", allow_pickle=False) as archive:
        assert np.array_equal(archive["model/0.weight"], model[0].weight.data)
        assert archive["optimizer/0/exp_avg"].shape == (3, 2)


@pytest.mark.parametrize("name", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_every_generator_of_numpy_comes_back(tmp_path, name):
    rng = np.random.Generator(getattr(np.random, name)(3))
    rng.integers(0, 9, 5, np.uint32)
    save(tmp_path / "c.npz", nn.Identity(), rng=rng)
    expected = rng.random(5).tolist()
    other = np.random.Generator(getattr(np.random, name)(4))
    load(tmp_path / "c.npz", rng=other)
    assert other.random(5).tolist() == expected


def test_numbers_and_arrays_of_numpy_in_settings_and_history_come_back_as_numbers(tmp_path):
    settings = {"lr": np.float32(0.5), "rows": np.arange(3), "on": np.True_, "nested": {"n": (np.int64(2),)}}
    save(tmp_path / "c.npz", nn.Identity(), settings=settings, history={"loss": [np.float64(0.25)]})
    saved = load(tmp_path / "c.npz")
    assert saved.settings == {"lr": 0.5, "rows": [0, 1, 2], "on": True, "nested": {"n": [2]}}
    assert saved.history == {"loss": [0.25]}


def test_the_same_state_makes_the_same_file(tmp_path):
    for name in ("a", "b"):
        model, optimizer, rng = make()
        save(tmp_path / name, model, optimizer=optimizer, rng=rng)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_arrays_in_fortran_order_come_back(tmp_path):
    columns = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    save(tmp_path / "c.npz", nn.Linear(3, 2, bias=False), best={"weight": columns})
    assert load(tmp_path / "c.npz").best["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


# ---- what does not fit


def another_rng():
    return np.random.Generator(np.random.MT19937(0))


@pytest.mark.parametrize(
    "target, message",
    [
        (lambda: {"model": nn.Linear(2, 3)}, "the keys have .0.. in front"),
        (lambda: {"optimizer": SGD(make()[0].parameters(), 0.1)}, "the state of Adam, not of SGD"),
        (lambda: {"optimizer": Adam(make()[0].parameters())}, r"must have \[6\] parameters, got \[2, 2\]"),
        (lambda: {"rng": another_rng()}, "no state for the generator 'rng'"),
    ],
)
def test_a_checkpoint_that_does_not_fit_changes_nothing_at_all(tmp_path, target, message):
    model, optimizer, rng = make()
    save(tmp_path / "c.npz", model, optimizer=optimizer, rng=rng)
    other_model, other_optimizer, other_rng = make(seed=1)
    before = everything(other_model, other_optimizer, other_rng)
    given = {"model": other_model, "optimizer": other_optimizer, "rng": other_rng, **target()}
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "c.npz", **given)
    assert everything(other_model, other_optimizer, other_rng) == before


def test_what_was_not_saved_cannot_be_loaded(tmp_path):
    model, optimizer, rng = make()
    save(tmp_path / "c.npz", model)
    with pytest.raises(ValueError, match="it holds no optimizer's state"):
        load(tmp_path / "c.npz", model, optimizer=optimizer)
    with pytest.raises(ValueError, match="no state for the generator 'rng'"):
        load(tmp_path / "c.npz", model, rng=rng)


@pytest.mark.parametrize(
    "attempt, error, message",
    [
        (lambda path: save(path, {"w": 1}), TypeError, "model must be a Module, got {'w': 1}"),
        (lambda path: save(path, nn.Identity(), optimizer={}), TypeError, "optimizer must be an Optimizer"),
        (lambda path: save(path, nn.Identity(), rng=3), TypeError, "rng must be a np.random.Generator"),
        (lambda path: save(path, nn.Identity(), history=object()), TypeError, "history must be a dict"),
        (lambda path: save(path, nn.Identity(), history=History), TypeError, "history must be a dict"),
        (lambda path: save(path, nn.Identity(), settings="abc"), TypeError, "settings must be a dict"),
        (lambda path: save(path, nn.Identity(), settings=3), TypeError, "settings must be a dict"),
        (lambda path: save(path, nn.Identity(), settings=True), TypeError, "settings must be a dict"),
        (lambda path: save(path, nn.Identity(), settings=[1, 2]), TypeError, "settings must be a dict"),
        (lambda path: save(path, nn.Identity(), settings={1: "a"}), TypeError, "settings must be a dict"),
        (lambda path: save(path, nn.Identity(), history=[1.0]), TypeError, "history must be a dict"),
        (lambda path: save(path, nn.Identity(), history={"a": {0: 1}}), TypeError, "history must be a dict"),
        (lambda path: save(path, nn.Identity(), settings={"a": [{0: 1}]}), TypeError, "each dict in it, got"),
        (lambda path: save(path, nn.Identity(), settings={"x": 1j}), TypeError, "each value must be"),
        (lambda path: save(path, nn.Identity(), rng=0), TypeError, "rng must be a np.random.Generator"),
        (lambda path: save(path, nn.Identity(), rng=[]), TypeError, "rng must be a np.random.Generator"),
        (lambda path: save(path, nn.Identity(), rng=False), TypeError, "rng must be a np.random.Generator"),
        (lambda path: save(path, nn.Identity(), step=True), TypeError, "step must be an integer, got True"),
        (lambda path: save(3, nn.Identity()), TypeError, "path must be a str or PathLike, got 3"),
        (lambda path: load(None), TypeError, "path must be a str or PathLike, got None"),
        (lambda path: load(path, {"w": 1}), TypeError, "model must be a Module"),
        (lambda path: load(path, optimizer=3), TypeError, "optimizer must be an Optimizer"),
        (lambda path: save(path, nn.Identity(), history={"x": object()}), TypeError, "plain JSON values"),
        (lambda path: save(path, nn.Identity(), step="a"), TypeError, "step must be an integer, got 'a'"),
        (lambda path: save(path, nn.Identity(), step=1.5), TypeError, "step must be an integer, got 1.5"),
        (lambda path: save(path, nn.Identity(), best=3), TypeError, "a state is a dict"),
        (lambda path: save(path, nn.Identity(), best={"x": "a"}), ValueError, "unexpected: x"),
        (lambda path: save(path / "none" / "c.npz", nn.Identity()), FileNotFoundError, "none"),
        (lambda path: load(path / "none.npz"), FileNotFoundError, "none.npz"),
        (lambda path: load(path), OSError, ""),  # a folder
    ],
)
def test_bad_input_is_refused_in_words(tmp_path, attempt, error, message):
    with pytest.raises(error) as raised:
        attempt(tmp_path)
    assert message in str(raised.value)
    assert list(tmp_path.iterdir()) == []


# ---- faults


class Faults:
    """Counts the calls that touch the disk, and fails the one of number ``fail_at``."""

    def __init__(self, monkeypatch, fail_at, error):
        self.count, self.fail_at, self.error = 0, fail_at, error
        faults = self

        class File(io.FileIO):
            def write(self, data):
                half = memoryview(data).cast("B")
                faults.check(lambda: io.FileIO.write(self, half[: len(half) // 2]))
                return super().write(data)

            def flush(self):
                faults.check()
                super().flush()

            def close(self):
                super().close()
                faults.check()

        def opened(path, mode):
            faults.check()
            return File(path, mode)

        fsync, replace = os.fsync, os.replace
        monkeypatch.setattr(files, "open", opened, raising=False)
        monkeypatch.setattr(os, "fsync", lambda handle: (self.check(), fsync(handle)))
        monkeypatch.setattr(os, "replace", lambda a, b: (self.check(), replace(a, b), self.check()))

    def check(self, on_the_way=lambda: None):
        self.count += 1
        if self.count == self.fail_at:
            on_the_way()
            raise self.error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space left"), KeyboardInterrupt()])
def test_a_fault_at_any_write_flush_or_rename_leaves_the_old_file_or_the_new_one_whole(tmp_path, error):
    path, new = tmp_path / "c.npz", tmp_path / "new"
    save(path, *make(seed=0)[:1], step=1)
    old_bytes = path.read_bytes()
    save(new, *make(seed=1)[:1], step=2)
    new_bytes = new.read_bytes()
    new.unlink()

    kept_old = 0
    for fail_at in itertools.count(1):
        path.write_bytes(old_bytes)
        model = make(seed=1)[0]
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, fail_at, error)
            try:
                save(path, model, step=2)
            except type(error):
                pass
            else:
                break
        assert path.read_bytes() in (old_bytes, new_bytes)
        assert load(path).step == (1 if path.read_bytes() == old_bytes else 2)
        assert [file.name for file in tmp_path.iterdir()] == ["c.npz"]
        kept_old += path.read_bytes() == old_bytes
    assert path.read_bytes() == new_bytes
    assert kept_old >= faults.count - 2 > 20  # the new file exists only after the rename


KILLS = """
import itertools, os, signal, sys
from pathlib import Path
import numpy as np
import pytest
import minidl.nn as nn
from minidl.train.checkpoint import load, save
from tests.train.test_checkpoint import Faults

class Kills(Faults):
    def check(self, on_the_way=lambda: None):
        self.count += 1
        if self.count == self.fail_at:
            on_the_way()
            os.kill(os.getpid(), signal.SIGKILL)

path, steps, left = Path(sys.argv[1]), [], 0
models = [nn.Linear(100, 40) for _ in range(2)]
for step, model in enumerate(models):
    model.weight.data = np.full((40, 100), step, np.float32)
for kill_at in itertools.count(1):
    save(path, models[0], step=0)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    child = os.fork()
    if child == 0:
        Kills(pytest.MonkeyPatch(), kill_at, None)
        save(path, models[1], step=1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    kept = load(path)
    assert (kept.model["weight"] == kept.step).all()
    if os.WIFEXITED(status):
        break
    assert os.WTERMSIG(status) == signal.SIGKILL
    steps.append(kept.step)
    left += len(list(path.parent.glob("*.part")))
print(len(steps), steps == sorted(steps), sum(steps), left)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process, which this system has not")
def test_a_kill_at_any_write_flush_or_rename_leaves_the_old_checkpoint_or_the_new_one_whole(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(minidl.__file__).parents[1])}
    command = [sys.executable, "-c", KILLS, str(tmp_path / "c.npz")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    kills, in_order, new, left = run.stdout.split()
    assert int(kills) > 20 and in_order == "True"  # the old file until the rename, then the new one
    assert 1 <= int(new) <= 4
    assert int(left) == int(kills) - int(new) - 1  # the first kill comes before there is a file


def test_what_a_killed_process_left_goes_with_the_next_save_and_what_another_writes_stays(tmp_path):
    killed = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True)
    dead = tmp_path / f"c.npz.{files.HOST}-{int(killed.stdout)}-0.part"
    alive = tmp_path / f"c.npz.{files.HOST}-{os.getppid()}-0.part"
    elsewhere = tmp_path / f"c.npz.{files.HOST}x-{int(killed.stdout)}-0.part"
    of_another = tmp_path / f"d.npz.{files.HOST}-{int(killed.stdout)}-0.part"
    for path in (dead, alive, elsewhere, of_another):
        path.write_bytes(b"half")
    save(tmp_path / "c.npz", nn.Identity())
    left = {path.name for path in tmp_path.iterdir()} - {"c.npz"}
    expected = {alive.name, elsewhere.name, of_another.name}
    assert left == (expected if os.name == "posix" else expected | {dead.name})


# ---- damaged and foreign files


def npy_bytes(header, data=b""):
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def archive(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data, compression)


def forged(path, members):
    """An archive whose directory claims that its last member has 1.5 GB."""
    archive(path, members)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 20 : at + 28] = struct.pack("<LL", 1_500_000_000, 1_500_000_000)
    path.write_bytes(data)


META = json.dumps(
    {
        "format": checkpoint.FORMAT,
        "step": 0,
        "history": None,
        "optimizer": None,
        "generators": None,
        "settings": None,
    }
)
HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
OBJECTS = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
ONE = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }"
NEGATIVE = "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1), }"

FOREIGN = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("epoch,loss\n1,0.3\n"),
    "np.savez": lambda path: np.savez(path, weight=np.ones(3)),
    "a zip": lambda path: archive(path, {"readme.txt": "hello"}),
    "no meta": lambda path: archive(path, {"model/w.npy": npy_bytes(HUGE)}),
    "meta of another": lambda path: archive(path, {"meta.json": "{}"}),
    "meta a list": lambda path: archive(path, {"meta.json": "[1]"}),
    "meta not JSON": lambda path: archive(path, {"meta.json": "{"}),
    "meta nested": lambda path: archive(path, {"meta.json": "[" * 100_000}),
    "meta infinite": lambda path: archive(path, {"meta.json": META.replace('"step": 0', '"step": Infinity')}),
    "a huge claim": lambda path: archive(path, {"meta.json": META, "model/w.npy": npy_bytes(HUGE, b"1234")}),
    "objects": lambda path: archive(
        path, {"meta.json": META, "model/w.npy": npy_bytes(OBJECTS, b"12345678")}
    ),
    "negative": lambda path: archive(path, {"meta.json": META, "model/w.npy": npy_bytes(NEGATIVE, b"1234")}),
    "an odd name": lambda path: archive(path, {"meta.json": META, "w.npy": npy_bytes(ONE, b"1234")}),
    "trailing bytes": lambda path: archive(
        path, {"meta.json": META, "model/w.npy": npy_bytes(ONE, b"12345678")}
    ),
    "a huge member": lambda path: forged(path, {"meta.json": META, "model/w.npy": npy_bytes(ONE, b"1234")}),
    "compressed": lambda path: archive(path, {"meta.json": META}, zipfile.ZIP_DEFLATED),
    "a bomb": lambda path: archive(
        path, {"meta.json": META, "model/w.npy": b"0" * 10**8}, zipfile.ZIP_DEFLATED
    ),
}


def made(tmp_path):
    path = tmp_path / "c.npz"
    model, optimizer, rng = make()
    save(path, model, optimizer=optimizer, rng=rng, history=History([0.5], lr=[0.1]), best=model.state_dict())
    return path


@pytest.mark.parametrize("write", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_foreign_file_is_refused_without_taking_memory(tmp_path, write):
    path = tmp_path / "c.npz"
    write(path)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"c\.npz is not a"):
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_file_of_pytorchs_is_refused_with_the_mend(tmp_path):
    archive(tmp_path / "x.pt", {"x/data.pkl": b"pickled", "x/version": b"3"})
    with pytest.raises(ValueError, match=r"another program wrote it.*torch\.load") as raised:
        load(tmp_path / "x.pt")
    assert "KeyError" not in str(raised.value)


def test_a_checkpoint_cut_off_anywhere_is_refused(tmp_path):
    path = made(tmp_path)
    data = path.read_bytes()
    for length in range(0, len(data), 41):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="is not a complete minidl checkpoint"):
            load(path)


def mutated(data, rng):
    """The bytes with one to three of them, or a run of them, changed, dropped, doubled or moved."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at, length = int(rng.integers(len(data))), int(rng.integers(1, 40))
        kind = rng.integers(6)
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at : at + length] = rng.bytes(len(data[at : at + length]))
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length]
        elif kind == 4:
            data[at : at + 4] = b"\xff\xff\xff\xff"
        else:
            digits = [i for i, byte in enumerate(data[:200]) if 48 <= byte < 58]  # sizes, shapes, settings
            if digits:
                data[digits[int(rng.integers(len(digits)))]] = 48 + int(rng.integers(10))
        data = data or bytearray(b"x")
    return bytes(data)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # of damaged headers
def test_mutated_checkpoints_load_as_they_were_or_raise_ValueError_in_bounded_memory(tmp_path, monkeypatch):
    path, rng = tmp_path / "c.npz", np.random.default_rng(0)
    model = nn.Linear(2, 1, bias=False, rng=rng)
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9)
    model(np.ones((1, 2), np.float32)).sum().backward()
    optimizer.step()
    save(path, model, optimizer=optimizer, rng=rng, history=History([0.5], lr=[0.1]))
    whole, original = path.read_bytes(), model.weight.data.tobytes()
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}

    opened, refused, loaded, peak = [None], 0, 0, 0
    monkeypatch.setattr(checkpoint, "open", lambda path, mode: opened[0], raising=False)
    rng_of_model = np.random.default_rng(0)
    mutants = 20 * settings.default.max_examples  # 1,000, and 20,000 in the profile "thorough"
    for i in range(mutants):
        opened[0] = io.BytesIO()
        # half of the files have right checksums, so that the damage reaches the readers of the members
        inside = i % 2
        if inside:
            name = list(members)[int(rng.integers(len(members)))]
            archive(opened[0], {**members, name: mutated(members[name], rng)})
        else:
            opened[0].write(mutated(whole, rng))
        before = model.weight.data.tobytes()
        tracemalloc.start()  # start again for each load, so that the memory of earlier loads does not count
        try:
            load(path, model, optimizer=optimizer, rng=rng_of_model)
            loaded += 1
            assert inside or model.weight.data.tobytes() == original
        except ValueError as error:
            refused += 1
            assert "c.npz" in str(error)
            assert model.weight.data.tobytes() == before
        peak = max(peak, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert refused > mutants / 2 and loaded > mutants / 100
    assert peak < 100 * len(whole) + 1_000_000
