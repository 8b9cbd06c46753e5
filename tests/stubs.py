"""Whether a stub (*.pyi) tells the names of its native module."""

import ast
import re
from pathlib import Path
from types import ModuleType
from typing import Any


def members(nodes: list[ast.stmt]) -> dict[str, Any]:
    named = {node.name: node for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    values = [node for node in nodes if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
    return named | {ast.unparse(node.target): node for node in values}


def public(owner: object) -> set[str]:
    return {name for name in vars(owner) if not name.startswith("_")}


def check(function: Any, stub: ast.FunctionDef) -> None:
    """Arguments as pybind11 prints them in the first line of a docstring."""
    if not isinstance(function, property):
        signature = function.__doc__.splitlines()[0]
        told = [argument.arg for argument in (*stub.args.args, *stub.args.kwonlyargs) if argument.arg != "self"]
        assert told == [name for name in re.findall(r"[(,] ?(\w+):", signature) if name != "self"], signature


def assert_true(stub_file: Path, module: ModuleType, besides: str = "$^") -> None:
    """Functions, classes and their members, with arguments; names that match `besides` are left out."""
    stub = members(ast.parse(stub_file.read_text()).body)
    assert {*stub} == {name for name in public(module) if not re.match(besides, name)}
    for name, node in stub.items():
        if isinstance(node, ast.AnnAssign):
            assert not callable(getattr(module, name)), name
            continue
        if isinstance(node, ast.FunctionDef):
            check(getattr(module, name), node)
            continue
        owner, methods = getattr(module, name), members(node.body)
        assert {*methods} - {"__init__"} == public(owner)
        for method, inner in methods.items():
            check(getattr(owner, method), inner)
