"""The command line: the whole way from training to samples and values, exit codes, and complaints of one line."""

import json
import os
import signal

import numpy as np
import pytest
import torch

import vanfast as vf
from tests.stopping import stopped
from vanfast.cli import COMMANDS, main
from vanfast.training import load_run

SYSTEM = ["--model", "ising-square", "--L", "4"]
NET = ["--net", "pixelcnn", "--depth", "2", "--width", "6", "--half-kernel", "3", "--z2"]
TRAIN = ["train", *SYSTEM, *NET, "--batch", "60", "--seed", "3", "--lr", "0.01"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "a"
    assert main([*TRAIN, "--beta", "0.3", "--steps", "60", "--anneal", "0.9", "-o", str(out), "--quiet"]) == 0
    return str(out)


def call(capsys, *words):
    """Exit code, standard output, standard error."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def complaint(capsys, *words):
    """The single line of a call that is refused."""
    code, out, err = call(capsys, *words)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


def states(parameters):
    return {name: value.tolist() for name, value in parameters.items()}


def test_evaluate_agrees_with_exact(capsys, trained):
    code, out, _ = call(capsys, "evaluate", trained, "--num", 20000, "--json")
    values = json.loads(out)
    assert code == 0
    for name in ("free_energy", "energy", "entropy", "heat_capacity"):
        assert values[f"{name}_per_site_error"] > 0
        error = values[f"unbiased_{name}_per_site_error"]
        assert abs(values[f"unbiased_{name}_per_site"] - values[f"exact_{name}_per_site"]) < 4 * error
    assert abs(values["log_z"] - values["exact_log_z"]) < 4 * values["log_z_error"]
    assert 100 < values["ess"] <= 20000
    assert values["beta"] == 0.3
    code, out, _ = call(capsys, "exact", *SYSTEM, "--beta", 0.3, "--json")
    exact = json.loads(out)
    assert exact["method"] == "kaufman"
    assert exact["free_energy_per_site"] == values["exact_free_energy_per_site"]
    code, out, _ = call(capsys, "evaluate", trained, "--num", 500, "--beta", 0.2)
    assert code == 0
    assert "β = 0.2, 500 samples" in out


def test_evaluate_does_not_depend_on_chunks_and_threads(capsys, trained):
    def numbers(*more):
        values = json.loads(call(capsys, "evaluate", trained, "--num", 1000, "--json", *more)[1])
        del values["samples_per_second"]
        return values

    assert numbers() == numbers("--threads", 1)
    assert numbers("--chunk", 77) == pytest.approx(numbers(), rel=1e-9)
    assert numbers("--seed", 2) != numbers()


@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_sample_writes_what_the_sampler_draws(capsys, trained, tmp_path, ending):
    path = tmp_path / f"s.{ending}"
    code, out, _ = call(capsys, "sample", trained, "--num", 1000, "--seed", 9, "--first", 5, "-o", path, "--chunk", 64)
    assert code == 0
    assert "1,000 samples" in out
    stored = vf.store.load_samples(path)
    run = load_run(trained)
    batch = run.sampler().sample(1000, seed=9, first=5)
    assert torch.equal(stored.spins, batch.spins)
    assert torch.equal(stored.log_q, batch.log_q)
    assert torch.equal(stored.energy, batch.energy)
    assert (stored.seed, stored.first, stored.shape) == (9, 5, (4, 4))
    assert stored.meta["beta"] == 0.3
    code, out, _ = call(capsys, "sample", trained, "--num", 10, "-o", path, "--json", "--format", ending)
    assert json.loads(out)["network_digest"] == stored.network_digest


def test_the_network_of_a_run_can_be_loaded(trained):
    assert states(vf.load(trained).state_dict()) == states(load_run(trained).net.state_dict())


def test_a_ladder_keeps_a_network_for_every_beta(capsys, tmp_path):
    out = tmp_path / "ladder"
    code, text, _ = call(capsys, *TRAIN, "--beta", 0.1, 0.2, "--beta", 0.3, "--steps", 5, "-o", out, "--json")
    assert code == 0
    result = json.loads(text)
    assert [rung["beta"] for rung in result["rungs"]] == [0.1, 0.2, 0.3]
    assert result["steps"] == 15
    for rung in result["rungs"]:
        net = vf.load(out / f"beta-{rung['beta']:g}")
        assert net.num_sites == 16
        assert rung["exact_free_energy_per_site"] < -2
    assert states(vf.load(out / "beta-0.3").state_dict()) == states(vf.load(out).state_dict())
    assert states(vf.load(out / "beta-0.2").state_dict()) != states(vf.load(out).state_dict())


def test_couplings_from_a_file(capsys, tmp_path):
    path = tmp_path / "couplings.txt"
    generator = np.random.default_rng(0)
    path.write_text("".join(f"{i} {j} {generator.choice((-1, 1))}\n" for i in range(6) for j in range(i)))
    out = tmp_path / "run"
    words = ["train", "--couplings", path, "--beta", 0.5, "--steps", 30, "--batch", 50, "--lr", 0.02, "--quiet"]
    assert call(capsys, *words, "-o", out)[0] == 0
    run = load_run(out)
    assert type(run.net).__name__ == "Dense"
    assert np.array_equal(run.hamiltonian.to_dense(), vf.hamiltonians.load(path).to_dense())
    path.unlink()
    values = json.loads(call(capsys, "evaluate", out, "--num", 5000, "--json")[1])
    assert abs(values["log_z"] - values["exact_log_z"]) < 4 * values["log_z_error"]


@pytest.mark.parametrize(
    ("system", "net", "kind", "sites"),
    [
        (["--model", "sk", "--N", "7"], ["--net", "made", "--hidden", "8,5"], "MADE", 7),
        (["--model", "hopfield", "--N", "8", "--P", "2", "--orthogonal"], ["--z2"], "Dense", 8),
        (["--model", "curie-weiss", "--N", "5", "--field", "0.1"], ["--net", "factorised"], "Factorised", 5),
        (["--model", "ising-cubic", "--L", "2"], ["--net", "mixture", "--components", "3"], "BernoulliMixture", 8),
        (["--model", "ising-triangular", "--shape", "2x3"], ["--residual", "--no-bias"], "PixelCNN", 6),
        (["--model", "sk", "--N", "7"], ["--net", "sk", "--z2"], "SK", 7),
        (["--model", "sk", "--N", "7"], ["--net", "sk", "--k", "2", "--start", "small", "--learn-couplings"], "SK", 7),
        (["--model", "ising-square", "--L", "3", "--field", "0.1"], ["--net", "sk", "--k", "0", "--sparse"], "SK", 9),
        (["--model", "curie-weiss", "--N", "6"], ["--net", "curie-weiss-inf"], "CurieWeissInf", 6),
        (["--model", "curie-weiss", "--N", "6"], ["--net", "one-parameter"], "OneParameter", 6),
        (
            ["--model", "edwards-anderson", "--L", "3", "--disorder", "gaussian", "--model-seed", "4"],
            ["--net", "dense", "--depth", "2", "--width", "2"],
            "Dense",
            9,
        ),
        (
            ["--model", "ising-square", "--shape", "2,4", "--coupling", "1,-0.5", "--boundary", "open,periodic"],
            [],
            "PixelCNN",
            8,
        ),
    ],
)
def test_every_model_and_network(capsys, tmp_path, system, net, kind, sites):
    words = ["train", *system, *net, "--beta", "0.4", "--steps", "2", "--batch", "8", "-o", tmp_path / "r", "--quiet"]
    assert call(capsys, *words)[0] == 0
    run = load_run(tmp_path / "r")
    assert type(run.net).__name__ == kind
    assert run.net.num_sites == sites


def test_a_nested_network_goes_along_a_ladder(capsys, tmp_path):
    system = ["--model", "sk", "--N", "7", "--net", "sk"]
    words = ["train", *system, "--beta", "0.5", "0.9", "--batch", "50", "-o", tmp_path / "r", "--quiet"]
    assert call(capsys, *words, "--steps", "3", "3")[0] == 0
    assert load_run(tmp_path / "r").net.beta == 0.9
    assert call(capsys, *words, "--steps", "3", "5", "--resume")[0] == 0
    assert call(capsys, "train", "-o", tmp_path / "r", "--steps", "3", "6", "--resume", "--quiet")[0] == 0
    assert load_run(tmp_path / "r").step == 9


def test_resume_takes_over_the_stored_run(capsys, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    system = [*TRAIN, "--beta", "0.3", "--schedule", "plateau", "--quiet", "-o"]
    assert call(capsys, *system, whole, "--steps", 30)[0] == 0
    assert call(capsys, *system, parts, "--steps", 10)[0] == 0
    assert "already holds a run" in complaint(capsys, *system, parts, "--steps", 10)
    assert call(capsys, "train", "-o", parts, "--resume", "--steps", 20, "--quiet")[0] == 0
    assert call(capsys, *system, parts, "--steps", 30, "--resume")[0] == 0
    assert states(load_run(parts).net.state_dict()) == states(load_run(whole).net.state_dict())
    assert "learning_rate of the stored run is 0.01, asked for 0.5" in complaint(
        capsys, "train", "-o", parts, "--resume", "--lr", 0.5
    )
    assert "ham differs" in complaint(
        capsys, "train", "-o", parts, "--resume", "--model", "ising-square", "--L", 4, "--coupling", 0.5
    )


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_resuming_is_exact(capsys, tmp_path, signum):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    words = [*TRAIN, "--beta", "0.3", "--steps", "1500", "--threads", "1", "--quiet", "-o"]
    metrics = cut / "metrics.jsonl"
    err = stopped([*words, cut], lambda: metrics.exists() and metrics.stat().st_size > 3000, signum)
    assert f"of 1500; saved in {cut}" in err
    done = load_run(cut).step
    assert 0 < done < 1500
    steps = str(done + 7)
    assert call(capsys, "train", "-o", cut, "--resume", "--steps", steps, "--quiet")[0] == 0
    words[words.index("--steps") + 1] = steps
    assert call(capsys, *words, whole)[0] == 0
    assert states(load_run(cut).net.state_dict()) == states(load_run(whole).net.state_dict())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", *SYSTEM, "--beta", "0.3"], "required: -o/--out"),
        (["train", *SYSTEM, "-o", "x"], "--beta is required"),
        (["train", "--beta", "0.3", "-o", "x"], "give either --model NAME or --couplings FILE"),
        (["train", *SYSTEM, "--couplings", "f", "--beta", "1", "-o", "x"], "give either --model NAME or --couplings"),
        (["train", *SYSTEM, "--beta", "-1", "-o", "x"], "--beta: must be a number > 0, got '-1'"),
        (["train", *SYSTEM, "--beta", "nan", "-o", "x"], "--beta: must be a number > 0"),
        (["train", *SYSTEM, "--beta", "1", "--batch", "0", "-o", "x"], "--batch: must be an integer >= 2, got '0'"),
        (["train", *SYSTEM, "--beta", "1", "--steps", "1.5", "-o", "x"], "--steps: must be an integer >= 1, got '1.5'"),
        (["train", *SYSTEM, "--beta", "1", "--anneal", "1", "-o", "x"], "--anneal: must be a number in (0, 1)"),
        (["train", *SYSTEM, "--beta", "1", "--bach", "3", "-o", "x"], "unrecognized arguments: --bach"),
        (["train", *SYSTEM, "--beta", "1", "--net", "cnn", "-o", "x"], "choose from"),
        (["train", *SYSTEM, "--beta", "1", "--hidden", "3", "-o", "x"], "does not take --hidden; it takes --depth"),
        (["train", *SYSTEM, "--N", "3", "--beta", "1", "-o", "x"], "does not take --N; it takes --L, --shape"),
        (["train", "--model", "ising-square", "--beta", "1", "-o", "x"], "needs either --L or --shape"),
        (["train", "--model", "sk", "--beta", "1", "-o", "x"], "--model sk needs --N"),
        (["train", "--model", "sk", "--N", "4", "--net", "pixelcnn", "--beta", "1", "-o", "x"], "two-dimensional"),
        (["train", *SYSTEM, "--net", "one-parameter", "--beta", "1", "-o", "x"], "is for --model curie-weiss"),
        (["train", *SYSTEM, "--net", "made", "--k", "1", "--beta", "1", "-o", "x"], "--net made does not take --k"),
        (["train", *SYSTEM, "--net", "one-parameter", "--z2", "--beta", "1", "-o", "x"], "it takes no options"),
        (["train", *SYSTEM, "--field", "0.1", "--z2", "--beta", "1", "-o", "x"], "does not fit a system with a field"),
        (["train", *SYSTEM, "--shape", "4", "--beta", "1", "-o", "x"], "needs either --L or --shape"),
        (["train", "--model", "ising", "--beta", "1", "-o", "x"], "ising-square"),
        (["train", *SYSTEM, "--boundary", "close", "--beta", "1", "-o", "x"], "must be periodic, open"),
        (["train", "--couplings", "nowhere.txt", "--beta", "1", "-o", "x"], "nowhere.txt"),
        (["train", "--couplings", "f", "--L", "3", "--beta", "1", "-o", "x"], "does not take --L; it takes --shape"),
        (["train", "-o", "nowhere", "--resume"], "no run in nowhere; to start one give --beta"),
        (["sample", "nowhere", "-o", "s.npz"], "no run in nowhere"),
        (["sample", "nowhere", "-o", "s.csv"], "format must be one of npz, h5"),
        (["sample", "nowhere", "--num", "0", "-o", "s.npz"], "--num: must be an integer >= 1"),
        (["sample", "nowhere", "--seed", "-1", "-o", "s.npz"], "--seed: must be an integer in"),
        (["evaluate", "nowhere"], "no run in nowhere"),
        (["exact", *SYSTEM], "required: --beta"),
        (["exact", *SYSTEM, "--beta", "1", "--method", "guess"], "choose from 'auto', 'kaufman'"),
        (["exact", "--model", "sk", "--N", "6", "--beta", "1", "--method", "kaufman"], "kaufman solves"),
        (["exact", "--model", "sk", "--N", "40", "--beta", "1"], "--method nmf, tap or bethe"),
        (["dance"], "choose from 'train'"),
    ],
)
def test_wrong_arguments_give_one_line(capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert message in complaint(capsys, *words)
    assert os.listdir(tmp_path) == []


def test_a_bad_file_of_couplings_is_named_with_its_line(capsys, tmp_path):
    path = tmp_path / "bad.txt"
    path.write_text("0 1 1.0\n1 2 one\n")
    line = complaint(capsys, "exact", "--couplings", path, "--beta", 1)
    assert "bad.txt" in line
    assert "2" in line.split("bad.txt", 1)[1]


def test_a_place_that_cannot_be_written_is_one_line_and_code_one(capsys, trained, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    code, _, err = call(capsys, "sample", trained, "--num", 10, "-o", blocked / "s.npz")
    assert code == 1
    assert err.count("\n") == 1
    code, _, err = call(capsys, "sample", trained, "--num", 10, "-o", tmp_path / "missing" / "s.npz")
    assert code == 2
    assert err.count("\n") == 1


def test_exact_methods_agree(capsys):
    words = ["exact", *SYSTEM, "--beta", 0.44, 0.6, "--json", "--method", "kaufman", "enumeration", "transfer-matrix"]
    results = json.loads(call(capsys, *words)[1])["results"]
    assert [(r["beta"], r["method"]) for r in results[:4]] == [
        (0.44, "kaufman"),
        (0.44, "enumeration"),
        (0.44, "transfer-matrix"),
        (0.6, "kaufman"),
    ]
    for key in ("log_z", "energy_per_site", "entropy_per_site", "heat_capacity_per_site"):
        assert results[1][key] == pytest.approx(results[0][key], rel=1e-10)
        assert results[2][key] == pytest.approx(results[0][key], rel=1e-10)


def test_exact_picks_a_method(capsys):
    def method(*system):
        return json.loads(call(capsys, "exact", *system, "--beta", 0.5, "--json")[1])["method"]

    assert method("--model", "ising-square", "--L", 32) == "kaufman"
    assert method("--model", "ising-square", "--L", 4, "--field", 0.1) == "enumeration"
    assert method("--model", "ising-square", "--L", 5, "--coupling", -1) == "transfer-matrix"
    assert method("--model", "curie-weiss", "--N", 500) == "curie-weiss"
    assert method("--model", "sk", "--N", 22) == "enumeration"
    assert method("--model", "edwards-anderson", "--shape", "30x9", "--boundary", "open") == "transfer-matrix"
    words = ["exact", "--model", "sk", "--N", 20, "--beta", 1, "--method", "nmf", "tap", "bethe"]
    code, out, _ = call(capsys, *words)
    assert code == 0
    assert [line.split()[1] for line in out.splitlines() if line.split()[:1] == ["1"]] == ["nmf", "tap", "bethe"]


def test_info(capsys):
    code, out, _ = call(capsys, "info", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["version"] == vf.__version__
    assert {backend["name"] for backend in facts["backends"]} >= {"cpu", "reference"}
    assert all(backend["available"] == (backend["reason"] is None) for backend in facts["backends"])
    assert facts["threads"] >= 1
    code, out, _ = call(capsys, "info")
    assert "backend reference" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_help(capsys, command):
    code, out, _ = call(capsys, command, "--help")
    assert code == 0
    assert out.startswith(f"usage: vanfast {command}")
    assert call(capsys, "--help")[0] == 0
    assert call(capsys, "--version")[1].strip() == vf.__version__


def test_demo_on_a_short_leash(tmp_path):
    from vanfast.demo import run_demo

    for _ in range(2):  # the second replaces the first's run
        result = run_demo(tmp_path, samples=2000, training={"steps": 60, "batch": 100, "anneal": 0.9}, progress=False)
    values = result.to_json()
    assert values["exact_free_energy_per_site"] == pytest.approx(-2.133392, abs=1e-6)
    assert result.relative_error < 0.2
    assert values["samples_per_second"] > 0
    assert values["naive_samples_per_second"] > 0
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert len(vf.store.load_samples(tmp_path / "samples.npz")) == 2000
    json.dumps(values, allow_nan=False)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_sample_leaves_nothing_behind(capsys, tmp_path, signum):
    assert call(capsys, *TRAIN, "--beta", 0.3, "--steps", 1, "--quiet", "-o", tmp_path / "run")[0] == 0
    words = ["sample", tmp_path / "run", "--num", "1000000000", "-o", tmp_path / "out" / "s.npz"]
    (tmp_path / "out").mkdir()
    stopped(words, lambda: any((tmp_path / "out").iterdir()), signum, pause=0.2)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_rung_of_a_ladder_can_be_sampled(capsys, tmp_path):
    run = tmp_path / "run"
    assert call(capsys, *TRAIN, "--beta", 0.2, 0.4, "--steps", 3, "--quiet", "-o", run)[0] == 0
    first = load_run(run / "beta-0.2")
    assert (first.step, first.beta) == (3, 0.2)
    assert states(first.net.state_dict()) != states(load_run(run).net.state_dict())
    assert call(capsys, "sample", run / "beta-0.2", "--num", 10, "-o", tmp_path / "s.npz")[0] == 0
    assert "no beta-0.3" in complaint(capsys, "sample", run / "beta-0.3", "--num", 10, "-o", tmp_path / "t.npz")


def test_damaged_metrics_do_not_keep_a_run_from_ending_well(capsys, tmp_path):
    run = tmp_path / "run"
    assert call(capsys, *TRAIN, "--beta", 0.2, "--steps", 3, "--quiet", "-o", run)[0] == 0
    (run / "metrics.jsonl").unlink()
    assert call(capsys, "train", "--resume", "-o", run)[0] == 0
    assert call(capsys, "evaluate", run, "--num", 1)[0] == 0
    (run / "metrics.jsonl").write_bytes(b"\x9e\x00\n")
    assert "metrics.jsonl:1" in complaint(capsys, "evaluate", run, "--num", 10)
