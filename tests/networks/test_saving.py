"""Networks on disk: what is saved is what is loaded; anything else is refused by name and never unpickled."""

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

import vanfast as vf
from vanfast.errors import FileFormatError
from vanfast.networks import MADE, Dense, PixelCNN
from vanfast.saving import digest


def test_round_trip(net, tmp_path, random_spins):
    net.save(tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["network.json", "network.safetensors"]
    twin = vf.load(tmp_path / "run")
    assert type(twin) is type(net)
    assert twin.config() == net.config()
    spins = random_spins(5, net.num_sites)
    assert torch.equal(twin.log_prob(spins), net.log_prob(spins))
    assert digest(twin) == digest(net)


def test_random_degrees_are_kept(tmp_path, random_spins):
    net = MADE(9, hidden=(20, 11), degrees="random", order=[8, 7, 6, 5, 4, 3, 2, 1, 0])
    net.save(tmp_path)
    twin = vf.load(tmp_path)
    assert twin.degrees == net.degrees
    assert torch.equal(twin.order, net.order)


def test_file_stems_and_double_precision(tmp_path):
    net = Dense(4, seed=1).double()
    net.save(str(tmp_path / "a.json"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.safetensors"]
    for path in (tmp_path / "a.json", tmp_path / "a.safetensors"):
        twin = vf.load(path)
        assert twin.dtype == torch.float64
        assert torch.equal(twin.steps[0].layer.weight, net.steps[0].layer.weight)


def test_overwriting(tmp_path):
    Dense(4, seed=1).save(tmp_path)
    PixelCNN(2, depth=1, half_kernel=1, seed=1).save(tmp_path)
    assert isinstance(vf.load(tmp_path), PixelCNN)
    assert len(list(tmp_path.iterdir())) == 2


def test_digest_tells_networks_apart():
    digests = [digest(net) for net in (Dense(4, seed=1), Dense(4, seed=2), Dense(4, seed=1, z2=True))]
    assert len(set(digests)) == 3
    assert digest(Dense(4, seed=1)) == digests[0]
    assert digest(Dense(4, seed=1).double()) != digests[0]


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"network\.json"):
        vf.load(tmp_path)
    Dense(4).save(tmp_path)
    (tmp_path / "network.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"network\.safetensors"):
        vf.load(tmp_path)


def change(tmp_path, **changes):
    path = tmp_path / "network.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "format"),
        ({"version": 2}, "version"),
        ({"dtype": "int8"}, "dtype"),
        ({"network": 3}, "class"),
        ({"network": {"class": "Dense", "N": -1}}, "N = -1"),
        ({"network": {"class": ["Dense"]}}, "does not describe"),
        ({"network": {"class": "Dense", "N": 10**15}}, "does not describe"),
        ({"network": Dense(4, z2=True).config()}, "another's"),
    ],
)
def test_wrong_descriptions(tmp_path, changes, message):
    Dense(4).save(tmp_path)
    change(tmp_path, **changes)
    with pytest.raises(FileFormatError, match=message) as caught:
        vf.load(tmp_path)
    assert "network." in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00"])
def test_descriptions_that_are_not_json(tmp_path, text):
    Dense(4).save(tmp_path)
    (tmp_path / "network.json").write_text(text)
    with pytest.raises(FileFormatError, match=r"network\.json"):
        vf.load(tmp_path)
    (tmp_path / "network.json").write_bytes(b"\xff\xfe")
    with pytest.raises(FileFormatError, match="UTF-8"):
        vf.load(tmp_path)


def test_wrong_tensors(tmp_path):
    net = Dense(4)
    net.save(tmp_path)
    path = tmp_path / "network.safetensors"
    whole = path.read_bytes()
    for broken in (b"", whole[:-1], b"\xff" * 64):
        path.write_bytes(broken)
        with pytest.raises(FileFormatError, match="safetensors file"):
            vf.load(tmp_path)
    from vanfast.saving import _config_digest

    metadata = {"vanfast": _config_digest(net.config())}
    state = net.state_dict()
    for wrong, message in (
        ({"x": torch.ones(2)}, "unknown"),
        (state | {"steps.0.layer.bias": torch.ones(3)}, "expected"),
        (state | {"steps.0.layer.bias": torch.ones(4, dtype=torch.float64)}, "float64"),
    ):
        save_file(wrong, path, metadata=metadata)
        with pytest.raises(FileFormatError, match=message):
            vf.load(tmp_path)


class Explosive:
    def __reduce__(self):
        return pytest.fail, ("a file was unpickled",)


def test_pickles_are_refused(tmp_path):
    Dense(4).save(tmp_path)
    for name in ("network.safetensors", "network.json"):
        (tmp_path / name).write_bytes(pickle.dumps(Explosive(), protocol=0))
        with pytest.raises(FileFormatError):
            vf.load(tmp_path)


def test_a_failed_save_leaves_the_old_network(tmp_path, monkeypatch):
    net = Dense(4, seed=1)
    net.save(tmp_path)

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        Dense(4, seed=2).save(tmp_path)
    assert digest(vf.load(tmp_path)) == digest(net)
    assert len(list(tmp_path.iterdir())) == 2


def test_half_precision_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="bfloat16"):
        Dense(4).bfloat16().save(tmp_path)
