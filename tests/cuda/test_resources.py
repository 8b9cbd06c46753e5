"""What kernels need of a GPU, as the compiler tells it, against the committed budgets."""

import json

import pytest

from tests.cuda import resources

USAGE = """
arch = sm_80
 Function void vanfast::(anonymous namespace)::scan_kernel<vanfast::Big<3> >(float*, int):
  REG:40 STACK:8 SHARED:0 LOCAL:0 CONSTANT[0]:352
arch = sm_90
 Function void vanfast::(anonymous namespace)::scan_kernel<vanfast::Big<3> >(float*, int):
  REG:41 STACK:0 SHARED:16 LOCAL:0 CONSTANT[0]:352
"""
CODE = """
arch = sm_80
\t\tFunction : void vanfast::(anonymous namespace)::scan_kernel<vanfast::Big<3> >(float*, int)
        /*0000*/                   MOV R1, c[0x0][0x28] ;            /* 0x00000a00ff017624 */
        /*0010*/              @!P0 STL [R1], R2 ;                    /* 0x00000a00ff017624 */
        /*0020*/               @P1 HMMA.16816.F32.BF16 R4, R8, R2, R4 ; /* 0x00000a00ff017624 */
        /*0030*/                   LDSM.16.M88.4 R4, [R2] ;          /* 0x00000a00ff017624 */
        /*0040*/                   LDL R4, [R1] ;                    /* 0x00000a00ff017624 */
arch = sm_90
\t\tFunction : void vanfast::(anonymous namespace)::scan_kernel<vanfast::Big<3> >(float*, int)
        /*0000*/                   LDGSTS.E.BYPASS.128 [R1], [R2] ;  /* 0x00000a00ff017624 */
"""
NOTHING = dict.fromkeys(resources.FIELDS, 0)


def test_listings_are_read():
    table = resources.read(USAGE, CODE)
    first = NOTHING | {"registers": 40, "stack": 8, "local": 2, "tensor": 1, "matrix_loads": 1}
    second = NOTHING | {"registers": 41, "shared": 16, "async_copies": 1}
    assert table == {"scan_kernel<Big<3>>": {"sm_80": first, "sm_90": second}}
    assert table.keys() == {line.split("  ")[0] for line in resources.rows(table).splitlines()[1:]}


def test_excesses_are_told():
    good = {"a": {"sm_80": NOTHING | {"registers": 40, "tensor": 5, "stack": 8, "local": 2}}}

    def changed(**fields):
        return resources.excesses({"a": {"sm_80": good["a"]["sm_80"] | fields}}, good)

    assert resources.excesses(good, good) == changed(registers=39, tensor=9, local=0) == []
    assert changed(registers=41) == ["a, sm_80: registers 41, budget 40"]
    assert changed(local=3) == ["a, sm_80: local 3, budget 2"]
    assert changed(tensor=0) == ["a, sm_80: tensor 0, budget 5"]
    assert changed(shared=1, stack=9) == ["a, sm_80: shared 1, budget 0", "a, sm_80: stack 9, budget 8"]
    assert resources.excesses(good, {}) == ["a: no budget"]
    assert resources.excesses({}, good) == ["a: has a budget, but is no more"]
    assert resources.excesses({"a": {}}, good) == ["a, sm_80: only in the budgets"]


def test_writing_never_allows_spills(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "BUDGETS", tmp_path / "budgets.json")
    monkeypatch.setattr(resources.shutil, "which", lambda name: "/bin/echo")
    table = {"a": {"sm_80": NOTHING | {"registers": 40, "local": 2}}}
    resources.write(table)
    assert resources.excesses(table, resources.budgets()) == ["a, sm_80: local 2, budget 0"]
    by_hand = json.loads(resources.BUDGETS.read_text())
    by_hand["kernels"]["a"]["sm_80"]["local"] = 2
    resources.BUDGETS.write_text(json.dumps(by_hand))
    resources.write(table)
    assert resources.budgets() == table


def test_kernels_keep_to_their_budgets():
    try:
        measured = resources.measure()
    except resources.Missing as tool:
        pytest.skip(f"kernels cannot be compiled or looked into: {tool}")
    assert {architecture for by_architecture in measured.values() for architecture in by_architecture} == {
        "sm_80",
        "sm_90",
    }
    assert resources.excesses(measured, resources.budgets()) == [], resources.rows(measured)
