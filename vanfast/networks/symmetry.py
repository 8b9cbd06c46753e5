"""Groups of permutations of a site's states, which act on all sites alike."""

from __future__ import annotations

from itertools import permutations

SYMMETRIES = ("cyclic", "permutation", "reflection")
MOST_PERMUTED = 5  # states: each of their q! permutations costs a pass through the network


def state_maps(symmetry: str | None, q: int) -> tuple[tuple[int, ...], ...]:
    """The elements of a group, each as the images of the states 0 .. q - 1, the identity first.

    None: the identity alone. "cyclic": the q shifts k -> k + g mod q, Z_q. "permutation": all q! permutations, S_q, the
    symmetry of the Potts model, for q <= 5. "reflection": k -> q - 1 - k, which is S -> -S for block sums.

    Raises ValueError for another name, or "permutation" with more states.
    """
    states = tuple(range(q))
    if symmetry is None:
        return (states,)
    if symmetry == "cyclic":
        return tuple(tuple((k + shift) % q for k in states) for shift in states)
    if symmetry == "reflection":
        return states, states[::-1]
    if symmetry != "permutation":
        raise ValueError(f"symmetry = {symmetry!r} must be None, {', '.join(map(repr, SYMMETRIES))}")
    if q > MOST_PERMUTED:
        raise ValueError(f"symmetry = 'permutation' takes q <= {MOST_PERMUTED}, q is {q}: use 'cyclic'")
    return tuple(permutations(states))
