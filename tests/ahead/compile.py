"""Compiles Triton kernels for GPUs that are not there, and reads what the assembler says of them.

A case is a call of a launcher with meta tensors of realistic sizes. What it would launch is recorded, and compiled with
the types, constants and alignments that Triton's own specialisation would give it.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
TENSOR_MEMORY = 512  # columns of a Blackwell processor
CHOICES = ("num_warps", "num_stages", "num_ctas", "maxnreg", "enable_fp_fusion")
POINTERS = {
    torch.float64: "*fp64",
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.int8: "*i8",
    torch.uint8: "*u8",
    torch.int32: "*i32",
    torch.int64: "*i64",
    torch.bool: "*i1",
}


class Launch(NamedTuple):
    """One kernel as it would be launched."""

    kernel: JITFunction
    arguments: dict[str, Any]
    options: dict[str, Any]


def recorded(call: Callable[[], object]) -> list[Launch]:
    """What `call` would launch; nothing is launched."""
    launches: list[Launch] = []

    def record(self: JITFunction, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        options = {name: kwargs.pop(name) for name in CHOICES if name in kwargs}
        arguments = dict(zip(self.arg_names, args, strict=False)) | kwargs
        for name, parameter in self.signature.parameters.items():
            if name not in arguments:
                arguments[name] = parameter.default
        launches.append(Launch(self, arguments, options))

    run, JITFunction.run = JITFunction.run, record
    try:
        call()
    finally:
        JITFunction.run = run
    return launches


def source(launch: Launch) -> ASTSource:
    """The launch with types and constants as Triton's specialisation gives them."""
    signature, constants, attributes = {}, {}, {}
    for i, parameter in enumerate(launch.kernel.params):
        value = launch.arguments[parameter.name]
        name = parameter.name
        if parameter.is_constexpr or value is None:
            signature[name], constants[(i,)] = "constexpr", value
        elif isinstance(value, torch.Tensor):
            signature[name], attributes[(i,)] = POINTERS[value.dtype], [["tt.divisibility", 16]]
        elif isinstance(value, bool):
            signature[name] = "u1"
        elif isinstance(value, int):
            if value == 1 and not (parameter.do_not_specialize or parameter.annotation_type):
                signature[name], constants[(i,)] = "constexpr", 1
                continue
            fits = "i32" if -(2**31) <= value < 2**31 else "i64" if value < 2**63 else "u64"
            signature[name] = parameter.annotation_type or fits
            if value % 16 == 0 and not parameter.do_not_specialize:
                attributes[(i,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = "fp32"
    return ASTSource(fn=launch.kernel, signature=signature, constexprs=constants, attrs=attributes)


def resources(launch: Launch, sm: int) -> dict[str, Any]:
    """Registers a thread, bytes of spills a thread, bytes of shared memory, and the tensor core instructions in use."""
    compiled = triton.compile(source(launch), target=GPUTarget("cuda", sm, 32), options=launch.options)
    # A kernel past Blackwell's tensor memory comes out empty, to fail when it is launched.
    assert getattr(compiled.metadata, "tmem_size", 0) <= TENSOR_MEMORY, compiled.metadata.tmem_size
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "kernel.cubin"
        binary.write_bytes(compiled.asm["cubin"])
        command = [str(TOOLS / "cuobjdump"), "-res-usage", str(binary)]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", report)
    assert found, report
    registers, stack, static, local = map(int, found.groups())
    pattern = r"(?:mma\.sync|wgmma\.mma_async|tcgen05\.mma)[\w.:]*"
    return {
        "registers": registers,
        "spills": stack + local,
        "shared": max(compiled.metadata.shared, static),
        "tensor_core": sorted({shortened(word) for word in re.findall(pattern, compiled.asm["ptx"])}),
    }


def shortened(instruction: str) -> str:
    """The shape and operand type of a PTX tensor core instruction: wgmma m64n128k8 tf32."""
    shape = re.search(r"m\d+n\d+k\d+", instruction)
    kind = re.search(r"tf32|bf16|f16|kind::\w+", instruction)
    return " ".join([instruction.split(".")[0], *(found[0] for found in (shape, kind) if found)])
