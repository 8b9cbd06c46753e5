"""A result is stale as soon as a kernel it was measured with says something else."""

import json
import shutil
from pathlib import Path

import pytest

from vanfast.benchmarks import digest
from vanfast.cli import main

ROOT = Path(__file__).parents[2]
# A file of each engine, and code in it.
EDITED = [
    ("cpu", "csrc/cpu/energy.cpp", "kMinCount = 64"),
    ("cuda", "csrc/cuda/lattice_energy.cu", "result += value"),
    ("triton", "kernels/energy.py", "BLOCK_SITES = 1024"),
]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sources with one result of each engine, one of two, and one without a digest."""
    for folder in ("csrc", "kernels"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    results = tmp_path / "bench" / "results"
    results.mkdir(parents=True)
    for engines in (["cpu"], ["cuda"], ["triton"], ["cuda", "triton"]):
        kept = {"machine": {}, digest.KEY: digest.sources(engines, tmp_path)}
        (results / f"{'_'.join(engines)}.json").write_text(json.dumps(kept))
    (results / "older.json").write_text('{"rows": []}')
    monkeypatch.setattr(digest, "source_root", lambda: tmp_path)
    return tmp_path


def states(tree: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    found = digest.check(tree / "bench" / "results", tree)
    return {status.file.removesuffix(".json"): (status.state, status.changed) for status in found}


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_nothing_is_stale_before_an_edit(tree: Path) -> None:
    expected = {name: ("current", ()) for name in ("cpu", "cuda", "triton", "cuda_triton")}
    assert states(tree) == expected | {"older": ("no digest", ())}
    assert main(["bench", "--check-digest"]) == 0


@pytest.mark.parametrize(("engine", "name", "code"), EDITED, ids=lambda value: value if value in digest.ENGINES else "")
def test_an_edited_kernel_makes_its_results_stale_and_no_others(
    tree: Path, engine: str, name: str, code: str, capsys: pytest.CaptureFixture
) -> None:
    before = states(tree)
    replace(tree / name, code, code + "0")
    stale = {file for file, (state, _) in states(tree).items() if state == "stale"}
    assert stale == {file for file in before if engine in file}
    assert all(states(tree)[file][1] == (engine,) for file in stale)
    assert main(["bench", "--check-digest", "--json", str(tree / "out.json")]) == 1
    assert capsys.readouterr().out.count("stale") == len(stale)
    told = {entry["file"]: entry for entry in json.loads((tree / "out.json").read_text())["results"]}
    assert told[f"{engine}.json"] == {"file": f"{engine}.json", "state": "stale", "changed": [engine]}
    assert told["older.json"]["state"] == "no digest"
    replace(tree / name, code + "0", code)
    assert states(tree) == before


def test_a_common_header_and_a_new_or_renamed_file_count_too(tree: Path) -> None:
    replace(tree / "csrc/common/philox.h", "0x", "0X")
    assert {name for name, (state, _) in states(tree).items() if state == "stale"} == {"cpu", "cuda", "cuda_triton"}
    replace(tree / "csrc/common/philox.h", "0X", "0x")
    (tree / "kernels/another.py").write_text("x = 1\n")
    assert states(tree)["triton"] == ("stale", ("triton",))
    (tree / "kernels/another.py").unlink()
    (tree / "csrc/cuda/lattice_energy.cu").rename(tree / "csrc/cuda/lattice.cu")
    assert states(tree)["cuda_triton"] == ("stale", ("cuda",))


def test_comments_blank_lines_and_notes_do_not_count(tree: Path) -> None:
    before = states(tree)
    replace(tree / "csrc/cuda/lattice_energy.cu", "// Energies", "// Measured: 0.5 ms\n\n// Energies")
    replace(tree / "kernels/energy.py", '"""Energies', '"""Measured: 0.5 ms. Energies')
    replace(tree / "kernels/energy.py", "\nimport torch\n", "\n# why not\nimport torch   \n")
    (tree / "kernels/notes.md").write_text("notes")
    assert states(tree) == before


def test_files_that_are_no_results_are_told(tree: Path, capsys: pytest.CaptureFixture) -> None:
    results = tree / "bench" / "results"
    (results / "broken.json").write_text("{")
    assert main(["bench", "--check-digest"]) == 2
    assert "broken.json: expected JSON" in capsys.readouterr().err
    (results / "broken.json").write_text('{"sources": {"opencl": "0"}}')
    assert main(["bench", "--check-digest"]) == 2
    assert "names the engine 'opencl', known are cpu, cuda, triton" in capsys.readouterr().err
    (results / "broken.json").write_text('{"sources": []}')
    assert main(["bench", "--check-digest"]) == 2
    (results / "broken.json").write_text("[]")
    assert states(tree)["broken"] == ("no digest", ())
    assert main(["bench", "--check-digest", "--results", str(tree / "no")]) == 2
    assert main(["bench", "--results", str(results)]) == 2


def test_an_installed_package_says_that_it_has_no_sources(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(digest, "source_root", lambda: None)
    assert digest.sources(["cpu"]) == {}
    assert main(["bench", "--check-digest"]) == 2
    assert "needs the source tree" in capsys.readouterr().err


def test_bench_writes_what_it_was_measured_with(tmp_path: Path) -> None:
    assert main(["bench", "--case", "one-layer-20", "--threads", "1", "--json", str(tmp_path / "out.json")]) == 0
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["sources"] == {"cpu": digest.digest("cpu", ROOT)}
    assert {"gpu", "cpu", "torch", "triton", "python", "vanfast", "date"} <= result["machine"].keys()
