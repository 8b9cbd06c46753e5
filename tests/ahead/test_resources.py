"""Every Triton kernel compiled for GPUs that are not there: registers, spills, shared memory, tensor cores."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is not installed: pip install 'vanfast[triton]'")

from triton.runtime.jit import JITFunction

from tests.ahead.cases import Case, all_cases
from tests.ahead.table import BUDGETS, ROOT, TARGETS, Table, measured, version

CASES = all_cases()
BUDGET = json.loads(BUDGETS.read_text())
SHARED = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}  # bytes a block may have
# What bf16 products are called where tf32 ones keep their name: Blackwell's instruction takes any 16-bit kind.
NAMES = {"tf32": ("tf32", "kind::tf32"), "bf16": ("bf16", "kind::f16")}


@pytest.fixture(scope="session")
def table() -> Table:
    return measured(list(CASES))


@pytest.mark.parametrize("sm", TARGETS)
@pytest.mark.parametrize("name", CASES)
def test_resources(name: str, sm: int, table: Table) -> None:
    key, case = f"{name} sm_{sm}", CASES[name]
    row, budget = table[key], BUDGET["rows"][key]
    assert row["spills"] <= budget["spills"], "spills more than its budget"
    assert row["shared"] <= SHARED[sm]
    assert_tensor_cores(case, row["tensor_core"])
    if version() == BUDGET["triton"]:  # what another compiler makes of it is not in the table
        assert row["registers"] <= budget["registers"], BUDGET["refresh"]
        assert row["shared"] <= budget["shared"], BUDGET["refresh"]
        assert row["tensor_core"] == budget["tensor_core"], BUDGET["refresh"]


def assert_tensor_cores(case: Case, found: list[str]) -> None:
    kinds = {instruction.split()[-1] for instruction in found}
    if case.operands is None:
        assert not kinds
    else:
        assert kinds, "no tensor core instruction"
        assert kinds <= {*NAMES[case.operands], "bf16", "kind::f16"}, found  # a first layer of spins is always bf16
        assert kinds & {*NAMES[case.operands]}, found


def test_every_kernel_is_compiled() -> None:
    kernels = {
        name
        for file in Path(ROOT / "kernels").glob("*.py")
        for name, value in vars(importlib.import_module(f"vanfast.kernels.{file.stem}")).items()
        if isinstance(value, JITFunction) and name.endswith("_kernel")
    }
    assert kernels == {case.kernel for case in CASES.values()}


def test_the_table_has_these_rows_alone() -> None:
    assert [*BUDGET["rows"]] == [f"{name} sm_{sm}" for name in CASES for sm in TARGETS]


def test_large_tiles_use_the_instruction_of_the_generation() -> None:
    for name in ("conv middle ready", "conv input middle", "conv weight middle", "masked", "masked spins"):
        for precision in ("fp32", "tf32", "bf16"):
            for sm, instruction in ((80, "mma"), (90, "wgmma"), (100, "tcgen05")):
                row = BUDGET["rows"][f"{name} {precision} sm_{sm}"]
                assert {found.split()[0] for found in row["tensor_core"]} == {instruction}, (name, precision, sm)
