"""What bench/gpu_check.sh and bench/gpu do on a GPU, tried on the CPU with small sizes and made-up tools."""

import dataclasses
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "bench" / "gpu_check.sh"
PHASES = ["build", "tests", "memcheck", "racecheck", "bench"]


def check(out: Path, *flags: str, **environment: str) -> subprocess.CompletedProcess:
    trial = {"PYTHON": sys.executable, "DEVICE": "cpu", "BACKENDS": "cpu", "SIZE": "tiny", **environment}
    command = ["bash", str(SCRIPT), *flags, str(out)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | trial)


def report():
    spec = importlib.util.spec_from_file_location("report", ROOT / "bench" / "gpu" / "report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fake_sanitizer(folder: Path, body: str) -> str:
    """A PATH on which compute-sanitizer is a script."""
    tool = folder / "bin" / "compute-sanitizer"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{body}\n")
    tool.chmod(0o755)
    return f"{tool.parent}:{os.environ['PATH']}"


def test_the_plan_names_every_phase_within_nine_minutes(tmp_path: Path) -> None:
    assert subprocess.run(["bash", "-n", str(SCRIPT)]).returncode == 0
    done = check(tmp_path / "new", "--dry-run")
    first, *lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert int(first.split("at most ")[1].split(" s")[0]) < 540
    assert [line.split()[0] for line in lines] == PHASES
    assert all(0 < int(line.split()[1]) < 300 for line in lines)
    assert list(tmp_path.iterdir()) == []
    for wrong in ([], [""], ["--help"], ["one", "two"], [str(SCRIPT)]):
        done = subprocess.run(["bash", str(SCRIPT), *wrong], capture_output=True, text=True)
        assert done.returncode == 2
        assert "usage: bench/gpu_check.sh" in done.stderr or "File exists" in done.stderr


def test_a_failing_phase_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "test_made_up.py").write_text(
        "def test_right(): pass\ndef test_wrong(): assert False, 'as it should'\n"
    )
    path = fake_sanitizer(tmp_path, 'echo "========= ERROR SUMMARY: 2 errors"; exit 77')
    out, tests = tmp_path / "an out", f"{tmp_path / 'test_made_up.py'} -c /dev/null"
    done = check(out, PHASES="tests memcheck bench", TEST_ARGS=tests, PATH=path)
    assert done.returncode == 1
    summary = json.loads((out / "summary.json").read_text())
    assert {name: phase["status"] for name, phase in summary["phases"].items()} == {
        "build": "not run",
        "tests": "failed",
        "memcheck": "failed",
        "racecheck": "not run",
        "bench": "passed",
    }
    assert summary["phases"]["tests"]["tests"] == {"tests": 2, "failures": 1, "errors": 0, "skipped": 0}
    assert summary["phases"]["tests"]["failed_tests"] == ["test_made_up::test_wrong"]
    assert "as it should" in json.loads((out / "tests.json").read_text())["tests"]["failed"][0]["message"]
    assert json.loads((out / "memcheck.json").read_text())["errors"] == 2
    assert summary["all_passed"] is False
    # The small cases ask for what cannot be missed, or for what cannot be reached.
    assert summary["targets_reached"] == 9
    missed = [(entry["case"], entry["quantity"]) for entry in summary["targets_missed"]]
    assert missed == [
        ("train SK", "seconds"),
        ("sample one layer", "share_of_limit"),
        ("energy", "share_of_limit"),
        ("chains SK, tempering", "updates_per_second"),
    ]
    sizes = json.loads((out / "crossover.json").read_text())
    assert sizes["sources"].keys() == {"cpu"}
    assert sizes["crossover"][0]["seconds"]["cpu"].keys() == {"1", "4"}


def test_tests_that_are_all_skipped_have_not_passed(tmp_path: Path) -> None:
    (tmp_path / "test_skipped.py").write_text("import pytest\ndef test_it(): pytest.skip('it is Sunday')\n")
    out, tests = tmp_path / "out", f"{tmp_path / 'test_skipped.py'} -c /dev/null"
    done = check(out, PHASES="tests", TEST_ARGS=tests)
    phase = json.loads((out / "summary.json").read_text())["phases"]["tests"]
    assert (done.returncode, phase["status"], phase["reason"]) == (1, "skipped", "it is Sunday")


def test_the_kernels_in_use_are_those_of_the_folder(tmp_path: Path) -> None:
    """In a copy, whatever vanfast the interpreter has installed."""
    copy = tmp_path / "copy"
    for folder in ("bench/gpu", "kernels", "vanfast"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored, ignore_dangling_symlinks=True)
    shutil.copy(SCRIPT, copy / "bench")
    (tmp_path / "test_place.py").write_text(
        "def test_it():\n    import pathlib, vanfast.kernels as k\n"
        f"    assert pathlib.Path(k.__file__).resolve().parents[1] == pathlib.Path({str(copy)!r})\n"
    )
    tests = f"{tmp_path / 'test_place.py'} -c /dev/null"
    environment = os.environ | {"PYTHON": sys.executable, "PHASES": "tests", "TEST_ARGS": tests}
    subprocess.run(["bash", str(copy / "bench/gpu_check.sh"), str(tmp_path / "out")], env=environment)
    assert json.loads((tmp_path / "out" / "tests.json").read_text())["status"] == "passed"
    assert not (copy / "vanfast/kernels").is_symlink()


def test_when_the_time_is_up_what_was_found_is_kept(tmp_path: Path) -> None:
    (tmp_path / "test_slow.py").write_text(
        "import time\ndef test_first(): assert False\ndef test_second(): time.sleep(100)\n"
    )
    out, tests = tmp_path / "out", f"{tmp_path / 'test_slow.py'} -c /dev/null"
    check(out, PHASES="tests racecheck", TEST_ARGS=tests, TOTAL="9")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["phases"]["tests"]["status"] == "timed out"
    assert summary["phases"]["tests"]["failed_tests"] == ["test_slow::test_first"]
    assert summary["phases"]["racecheck"]["reason"] == "no time was left for this phase"


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (
            'echo "========= Error: Device not supported. Please refer to the documentation"; exit 1',
            "skipped",
            "Device",
        ),
        ("exit 0", "passed", None),
        ("exit 1", "failed", None),
    ],
)
def test_a_sanitizer_that_refuses_the_device_is_skipped_with_its_words(
    tmp_path: Path, body: str, status: str, reason: str | None
) -> None:
    out = tmp_path / "out"
    check(out, PHASES="racecheck", PATH=fake_sanitizer(tmp_path, body))
    phase = json.loads((out / "racecheck.json").read_text())
    assert phase["status"] == status
    assert reason is None or reason in phase["reason"]


def test_a_missing_sanitizer_is_skipped_with_the_reason(tmp_path: Path) -> None:
    needed = tmp_path / "bin"
    needed.mkdir()
    for tool in ("bash", "dirname", "mkdir", "nproc", "rm", "timeout", "env"):
        (needed / tool).symlink_to(Path("/usr/bin") / tool)
    check(tmp_path / "out", PHASES="memcheck", PATH=str(needed))
    phase = json.loads((tmp_path / "out" / "memcheck.json").read_text())
    assert (phase["status"], phase["reason"]) == ("skipped", "compute-sanitizer is not installed")


def test_exit_codes_are_told_apart(tmp_path: Path) -> None:
    status_of = report().status_of
    assert [status_of(code, "") for code in (0, 1, 124, 137, 125)] == [
        *("passed", "failed", "timed out", "timed out", "skipped")
    ]
    (tmp_path / "tests.xml").write_text("<testsuites><testsuite tests='3'")
    (tmp_path / "tests.log").write_text("stopped")
    phase = report().write_phase(tmp_path, "tests", 124, 150.0, 150.0, "pytest")
    assert phase["status"] == "timed out"
    assert "error" in phase["tests"]


def test_a_network_that_a_backend_has_no_kernels_for_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "bench" / "gpu")
    clock, run, targets = (importlib.import_module(name) for name in ("clock", "run", "targets"))
    target = next(target for target in targets.targets(tiny=True) if target.name == "sample SK_1RSB")
    cpu = torch.device("cpu")
    row = run._measure(dataclasses.replace(target, precision="bf16"), cpu, "cpu", clock.Clock(cpu, quick=True))
    assert (row["status"], row["case"]) == ("refused", "sample SK_1RSB")
    assert "SK has no matrix products" in row["error"]
    run.judge(row, target, {"cases": [row]})
    assert row["asked"] == {}
    chains = next(target for target in targets.targets(tiny=True) if target.kind == "chains")
    row = run._measure(chains, cpu, "reference", clock.Clock(cpu, quick=True))
    assert (row["status"], row["error"]) == ("refused", "backend 'reference' runs no Markov chains")


def test_a_backend_that_fails_is_told_and_hides_no_other(tmp_path: Path) -> None:
    """There is no CUDA device here: that backend's cases fail, one by one, and the CPU's are measured."""
    out = tmp_path / "targets.json"
    command = [sys.executable, str(ROOT / "bench/gpu/run.py"), "--out", str(out), "--device", "cpu", "--size", "tiny"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*command, "--device", "cuda"], capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert "--device cuda: torch sees no NVIDIA GPU" in done.stderr
    done = subprocess.run(
        [*command, "--only", "sample conv", "--only", "energy", "--backend", "cuda", "--backend", "cpu"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 1, done.stderr
    result = json.loads(out.read_text())
    rows = {(row["case"], row["backend"]): row for row in result["cases"]}
    assert all(row["status"] == ("measured" if backend == "cpu" else "failed") for (_, backend), row in rows.items())
    assert len(rows) == 6
    assert result["sources"].keys() == {"cpu", "cuda", "triton"}
    assert all(row["naive_ratio"] > 0 for row in rows.values() if row["kind"] == "sampling" and "time" in row)
    large = rows["sample conv L=5", "cpu"]
    assert large["asked"]["cost_per_site_ratio"]["found"] == pytest.approx(
        large["time"]["median"] / (8 * 25) / (rows["sample conv L=3", "cpu"]["time"]["median"] / (16 * 9))
    )
    assert rows["energy", "cpu"]["share_of_limit"] == pytest.approx(
        16 * (36 + 8) / rows["energy", "cpu"]["time"]["median"] / result["limits"]["copy_rate"]
    )
