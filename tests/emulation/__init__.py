"""Tests of csrc/emulation itself."""

from pathlib import Path

from tests.cuda import emulated

HERE = Path(__file__).parent


def kernel_sources() -> list[Path]:
    """Files of the module that holds the kernels of this folder, relative to the root."""
    files = [*(emulated.ROOT / "csrc/emulation").glob("*.cpp"), *HERE.glob("*.cu"), *HERE.glob("*.cpp")]
    return sorted(file.relative_to(emulated.ROOT) for file in files)


def line_of(file: str, text: str, occurrence: int = 0) -> str:
    """The site "file:line" of a line that holds the text."""
    lines = [i for i, line in enumerate((HERE / file).read_text().splitlines(), 1) if text in line]
    return f"tests/emulation/{file}:{lines[occurrence]}"
