"""Every barrier of every kernel is needed: without it an output changes or an error is raised.

And with all of them no output depends on the order in which threads run.
"""

from __future__ import annotations

import functools
from collections import Counter
from types import ModuleType

import pytest

from tests.cuda import barriers
from tests.cuda.children import Failed

SEEDS = (1, 2, 3, 4, 5, 6)


@functools.cache
def right(module: ModuleType, name: str) -> tuple[list[bytes], set[str]]:
    return barriers.run(module, name, SEEDS[0])


@pytest.mark.parametrize("name", barriers.cases())
def test_outputs_do_not_depend_on_the_order_of_threads(emulated_module: ModuleType, name: str) -> None:
    for seed in SEEDS[1:3]:
        assert barriers.run(emulated_module, name, seed)[0] == right(emulated_module, name)[0]


def test_every_barrier_is_reached_by_a_case(emulated_module: ModuleType) -> None:
    written = Counter(barriers.in_sources())
    assert [site for site, calls in written.items() if calls > 1] == []  # sites are lines
    reached = set().union(*(right(emulated_module, name)[1] for name in barriers.cases()))
    assert reached == {*written}


def notices(module: ModuleType, name: str, seed: int, site: str) -> bool:
    try:
        return barriers.run(module, name, seed, skip=site)[0] != right(module, name)[0]
    except Failed:
        return True


@pytest.mark.parametrize("site", sorted({*barriers.in_sources()}))
def test_a_missing_barrier_shows(emulated_module: ModuleType, site: str) -> None:
    passing = [name for name in barriers.cases() if site in right(emulated_module, name)[1]]
    assert any(notices(emulated_module, name, seed, site) for seed in SEEDS for name in passing)
