"""State dicts as other code writes them: without counters, with a prefix, in another dict, in part."""

import numpy as np
import pytest

import minidl.nn as nn


def model():
    rng = np.random.default_rng(0)
    return nn.Sequential({"fc": nn.Linear(2, 3, rng=rng), "bn": nn.BatchNorm1d(3), "head": nn.Linear(3, 2)})


def state(**changes):
    values = {key: value + 1 for key, value in model().state_dict().items()}
    return {**values, **changes}


def test_a_state_without_num_batches_tracked_is_loaded_as_pytorch_loads_it():
    given, target = state(), model()
    del given["bn.num_batches_tracked"]
    loaded = target.load_state_dict(given)
    assert loaded == (["bn.num_batches_tracked"], [])
    assert all(np.array_equal(target.state_dict()[key], value) for key, value in given.items())
    assert target.bn.num_batches_tracked == 0


def test_not_strict_returns_what_is_missing_and_what_is_unexpected_and_loads_the_rest():
    given, target = state(extra=np.ones(2)), model()
    del given["head.weight"], given["head.bias"]
    with pytest.raises(
        ValueError, match=r"missing: head\.weight \(2, 3\)\n.*missing: head\.bias.*\n.*unexpected: extra"
    ):
        target.load_state_dict(given)
    before = target.head.weight.data.copy()
    loaded = target.load_state_dict(given, strict=False)
    assert loaded.missing_keys == ["head.weight", "head.bias"]
    assert loaded.unexpected_keys == ["extra"]
    assert np.array_equal(target.fc.weight.data, given["fc.weight"])
    assert np.array_equal(target.head.weight.data, before)
    assert target.load_state_dict(state()) == ([], [])


def test_not_strict_still_refuses_another_shape_and_then_loads_nothing():
    target = model()
    before = target.state_dict()
    with pytest.raises(ValueError, match=r"wrong shape: fc\.weight must be \(3, 2\), got \(1,\)"):
        target.load_state_dict(state(**{"fc.weight": np.ones(1)}), strict=False)
    assert all(np.array_equal(value, before[key]) for key, value in target.state_dict().items())
    with pytest.raises(TypeError, match="strict must be True or False, got 'no'"):
        target.load_state_dict(state(), strict="no")


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module.model.", "1.net."])
@pytest.mark.parametrize("strict", [True, False])
def test_a_prefix_of_all_keys_is_named_with_the_line_that_takes_it_off(prefix, strict):
    wrapped, target = {prefix + key: value for key, value in state().items()}, model()
    with pytest.raises(ValueError, match=f"the keys have '{prefix}' in front: load_state_dict") as raised:
        target.load_state_dict(wrapped, strict=strict)
    mend = str(raised.value).split("load_state_dict(")[1].rstrip()[:-1]
    target.load_state_dict(eval(mend, {"state": wrapped}))
    assert np.array_equal(target.fc.weight.data, state()["fc.weight"])


def mended(target, given):
    """What the error's line of code makes of the state."""
    with pytest.raises(ValueError, match=r"load_state_dict\(") as raised:
        target.load_state_dict(given)
    return eval(str(raised.value).split("load_state_dict(")[1].rstrip()[:-1], {"state": given})


def test_a_prefix_is_found_beside_other_keys_and_in_nested_models():
    given = {f"net.{key}": value for key, value in state().items()}
    more = {"criterion.scale": np.ones(1), **given, "epoch": np.array(3)}
    assert set(mended(model(), more)) == {*state(), "criterion.scale", "epoch"}
    nested = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    assert set(mended(nested, {f"m.{key}": v for key, v in nested.state_dict().items()})) == {
        *nested.state_dict()
    }


def test_a_prefix_that_the_keys_lack_is_named_too():
    inner = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    outer = nn.Sequential(nn.Sequential(inner))
    with pytest.raises(ValueError, match=r"the keys lack '0\.0\.' in front"):
        outer.load_state_dict(inner.state_dict())
    given = {key: value + 1 for key, value in inner.state_dict().items()}
    outer.load_state_dict(mended(outer, given))
    assert {key: value.tolist() for key, value in outer.state_dict().items()} == {
        f"0.0.{key}": value.tolist() for key, value in given.items()
    }


def test_a_foreign_state_that_shares_the_last_part_of_a_key_gets_no_wrong_advice():
    for foreign in ({"weight": np.zeros(3)}, {"encoder.fc.weight": np.zeros(3)}):
        with pytest.raises(ValueError, match="missing: fc.weight"):
            model().load_state_dict(foreign)


def test_a_nested_checkpoint_is_unpacked_step_by_step():
    checkpoint = {"state_dict": {f"module.{key}": value for key, value in state().items()}, "epoch": 3}
    target = model()
    target.load_state_dict(mended(target, mended(target, checkpoint)))
    before_it = {"optimizer": {"state": {}, "param_groups": []}, "model": state(), "args": {"lr": 0.1}}
    assert mended(target, before_it).keys() == state().keys()


def test_an_integer_that_the_parameter_cannot_hold_is_refused():
    for value in (np.full((3, 2), 16777217), np.full((3, 2), -(2**60) - 1)):
        with pytest.raises(ValueError, match=r"wrong value: fc\.weight: float32 cannot hold the integer"):
            model().load_state_dict(state(**{"fc.weight": value}))
    model().load_state_dict(state(**{"fc.weight": np.full((3, 2), 16777216)}))


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_a_state_inside_a_larger_dict_is_pointed_at(key):
    checkpoint, target = {"epoch": 3, key: state()}, model()
    with pytest.raises(
        ValueError, match=rf"the values lie in state\['{key}'\]: load_state_dict\(state\['{key}'\]\)"
    ):
        target.load_state_dict(checkpoint)


class Unreadable:
    """Stands for a tensor of PyTorch in bfloat16."""

    dtype, shape = "torch.bfloat16", (3,)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Got unsupported ScalarType BFloat16")


@pytest.mark.parametrize("value", [Unreadable(), np.array([None] * 3), np.zeros(3, "V2"), ["a", "b", "c"]])
def test_a_value_that_numpy_cannot_read_is_named_with_the_mend(value):
    with pytest.raises(
        ValueError, match=r"unreadable: fc\.bias of .*state\['fc\.bias'\]\.detach\(\)\.cpu\(\)\.float\(\)"
    ):
        model().load_state_dict(state(**{"fc.bias": value}))


def test_a_bfloat16_tensor_of_pytorch_is_named_and_the_mend_works():
    torch = pytest.importorskip("torch")
    given = state(**{"fc.bias": torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16)})
    with pytest.raises(ValueError, match=r"unreadable: fc\.bias of torch\.bfloat16"):
        model().load_state_dict(given)
    given["fc.bias"] = given["fc.bias"].detach().cpu().float()
    target = model()
    target.load_state_dict(given)
    assert target.fc.bias.data.tolist() == [1, 2, 3]


def test_an_empty_state_is_all_missing():
    with pytest.raises(ValueError, match="missing: fc.weight"):
        model().load_state_dict({})
    assert len(model().load_state_dict({}, strict=False).missing_keys) == 9
