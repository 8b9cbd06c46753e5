"""What the compiler gave every CUDA kernel: registers, stack, spills, shared memory, tensor-core instructions.

`python -m tests.cuda.resources` prints the table, with --write it becomes the budget that test_resources.py holds the
kernels to (bench/results/resources_cuda.json). Local loads and stores, which are spills or arrays that are not in
registers, are never written: who means them enters them in the file by hand.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUDGETS = ROOT / "bench/results/resources_cuda.json"
# Fields of a kernel, and the instructions (SASS) that some of them count.
INSTRUCTIONS = {"local": r"LDL|STL", "tensor": r"HMMA|HGMMA", "async_copies": r"LDGSTS", "matrix_loads": r"LDSM"}
FIELDS = ("registers", "stack", "shared", *INSTRUCTIONS)
Table = dict[str, dict[str, dict[str, int]]]  # kernel, architecture, field


class Missing(Exception):
    """A tool that is not here."""


def tools() -> str:
    """The folder of cuobjdump and nvdisasm: the toolkit's, or the one in triton's wheel."""
    if not shutil.which("c++filt"):
        raise Missing("c++filt is not on PATH")
    places = [Path(found).resolve().parent for name in ("cuobjdump", "nvcc") if (found := shutil.which(name))]
    if spec := find_spec("triton"):
        places += [Path(folder) / "backends/nvidia/bin" for folder in spec.submodule_search_locations or ()]
    for place in (*places, Path("/usr/local/cuda/bin")):
        if (place / "cuobjdump").exists() and (place / "nvdisasm").exists():
            return str(place)
    raise Missing("cuobjdump and nvdisasm are neither with nvcc nor in triton's wheel")


def objects() -> list[Path]:
    """The kernels' objects, compiled where they are out of date, for the GPUs that setup.py names by default."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VANFAST_CUDA")}
    command = [sys.executable, "setup.py", "-q", "cuda_objects"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    found = [ROOT / line for line in done.stdout.split() if line.endswith(".o")]
    if not found:
        raise Missing("nvcc is neither in CUDA_HOME nor CUDA_PATH nor on PATH nor in /usr/local/cuda")
    return found


def short(name: str) -> str:
    """A demangled kernel without its arguments, namespaces and what unnamed namespaces add."""
    name = re.sub(r"\(anonymous namespace\)::|_GLOBAL__N__\w+::|\bvanfast::|\bcuda::", "", name)
    depth = 0
    for i, letter in enumerate(name):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            name = name[:i]
            break
    return re.sub(r"> (?=>)", ">", name.removeprefix("void "))


def read(usage: str, code: str) -> Table:
    """The table of one object from demangled listings, `cuobjdump -res-usage` and `-sass`."""
    table: Table = {}
    architecture, fields = "", {}
    for line in usage.splitlines():
        if found := re.match(r"arch = (sm_\d+)", line):
            architecture = found[1]
        elif found := re.match(r"\s*Function (.*):$", line):
            fields = table.setdefault(short(found[1]), {}).setdefault(architecture, dict.fromkeys(FIELDS, 0))
        elif found := re.search(r"REG:(\d+) STACK:(\d+) SHARED:(\d+)", line):
            fields |= dict(zip(FIELDS, map(int, found.groups()), strict=False))
    for line in code.splitlines():
        if found := re.match(r"arch = (sm_\d+)", line):
            architecture = found[1]
        elif found := re.match(r"\s*Function : (.*)$", line):
            fields = table[short(found[1])][architecture]
        elif found := re.match(r"\s*/\*\w+\*/\s+(?:@!?U?P\w+ )?([A-Z0-9]+)", line):
            for field, pattern in INSTRUCTIONS.items():
                fields[field] += bool(re.fullmatch(pattern, found[1]))
    return table


def measure() -> Table:
    where = tools()
    environment = os.environ | {"PATH": f"{where}{os.pathsep}{os.environ['PATH']}"}
    table: Table = {}
    for file in objects():
        listings = []
        for option in ("-res-usage", "-sass"):
            command = f'cuobjdump {option} "$0" | c++filt'
            done = subprocess.run(
                ["sh", "-c", command, file], env=environment, capture_output=True, text=True, check=True
            )
            listings.append(done.stdout)
        for kernel, by_architecture in read(listings[0], listings[1]).items():
            if kernel in table:
                raise RuntimeError(f"two kernels are called {kernel}")
            table[kernel] = by_architecture
    return dict(sorted(table.items()))


def excesses(measured: Table, budgets: Table) -> list[str]:
    """In which ways kernels need more than their budgets, or lack the tensor-core instructions promised there."""
    result = [f"{kernel}: no budget" for kernel in measured.keys() - budgets.keys()]
    result += [f"{kernel}: has a budget, but is no more" for kernel in budgets.keys() - measured.keys()]
    for kernel in measured.keys() & budgets.keys():
        for architecture in measured[kernel].keys() | budgets[kernel].keys():
            fields, budget = (table[kernel].get(architecture) for table in (measured, budgets))
            where = f"{kernel}, {architecture}"
            if fields is None or budget is None:
                result.append(f"{where}: only {'in the budgets' if fields is None else 'compiled'}")
                continue
            for field in ("registers", "stack", "shared", "local"):
                if fields[field] > budget[field]:
                    result.append(f"{where}: {field} {fields[field]}, budget {budget[field]}")
            for field in ("tensor", "async_copies", "matrix_loads"):
                if (fields[field] > 0) != (budget[field] > 0):
                    result.append(f"{where}: {field} {fields[field]}, budget {budget[field]}")
    return sorted(result)


def budgets() -> Table:
    table: Table = json.loads(BUDGETS.read_text())["kernels"]
    return table


def rows(table: Table) -> str:
    head = ("kernel", "architecture", *FIELDS)
    cells = [
        (kernel, architecture, *(str(fields[f]) for f in FIELDS))
        for kernel, by_architecture in table.items()
        for architecture, fields in by_architecture.items()
    ]
    widths = [max(len(row[i]) for row in (head, *cells)) for i in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in (head, *cells))


def write(table: Table) -> None:
    allowed = budgets() if BUDGETS.exists() else {}
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    kernels = {
        kernel: {
            architecture: fields | {"local": allowed.get(kernel, {}).get(architecture, {}).get("local", 0)}
            for architecture, fields in by_architecture.items()
        }
        for kernel, by_architecture in table.items()
    }
    found = re.search(r"V([\d.]+)", version)
    text = json.dumps({"nvcc": found[1] if found else "", "kernels": kernels}, indent=1)
    # one line for each kernel and architecture
    BUDGETS.write_text(
        re.sub(r"\{\n\s+(\"registers\"[^}]*?)\s*\}", lambda m: "{" + " ".join(m[1].split()) + "}", text) + "\n"
    )


if __name__ == "__main__":
    measured = measure()
    print(rows(measured))
    if "--write" in sys.argv[1:]:
        write(measured)
