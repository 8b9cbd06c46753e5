"""Limited-memory quasi-Newton minimisation of a smooth convex function plus an L1 penalty.

OWL-QN: G. Andrew, J. Gao, ICML 2007. Each step stays in the orthant of its start (of the pseudo-gradient where a
coordinate is 0): coordinates that would change sign become 0. Without a penalty it is plain L-BFGS.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

MEMORY = 20


def minimise(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    penalty: np.ndarray,
    tolerance: float,
    max_steps: int,
    report: Callable[[float, np.ndarray], None],
) -> tuple[np.ndarray, bool, float]:
    """The minimum of function(x) + sum(penalty * |x|), whether the pseudo-gradient fell to `tolerance`, and the largest
    component of the step that would follow: not small where the minimum is at infinity.

    function gives its value and gradient; report is called with value and pseudo-gradient at every step.
    """
    x = np.array(start)
    smooth, gradient = function(x)
    steps: deque[np.ndarray] = deque(maxlen=MEMORY)
    changes: deque[np.ndarray] = deque(maxlen=MEMORY)
    for count in range(max_steps + 1):
        slope = _pseudo_gradient(x, gradient, penalty)
        value = smooth + penalty @ np.abs(x)
        report(value, slope)
        direction = -_two_loops(slope, steps, changes)
        reach = float(np.abs(direction).max())
        if np.abs(slope).max() <= tolerance:
            return x, True, reach
        if count == max_steps:
            break
        # Only what rests at 0 is kept from moving against its slope: elsewhere the function is smooth, and to do so, as
        # the paper does, took hundreds of times the steps where the optimum lies on a plateau.
        direction[(penalty > 0) & (x == 0) & (direction * slope >= 0)] = 0
        orthant = np.where(x == 0, -np.sign(slope), np.sign(x))
        share = 1.0 if steps else min(1.0, 1.0 / float(np.abs(slope).sum()))
        while True:
            trial = x + share * direction
            trial[(penalty > 0) & (trial * orthant < 0)] = 0
            trial_smooth, trial_gradient = function(trial)
            fall = float(slope @ (trial - x))
            slack = 1e-15 * max(1.0, abs(value))  # at the end the fall is lost in rounding
            if trial_smooth + penalty @ np.abs(trial) <= value + 1e-4 * fall + slack:
                break
            share /= 2
            if share < 1e-12:
                return x, False, reach
        step, change = trial - x, trial_gradient - gradient
        if step @ change > 1e-16 * float(np.linalg.norm(step) * np.linalg.norm(change)):
            steps.append(step)
            changes.append(change)
        x, smooth, gradient = trial, trial_smooth, trial_gradient
    return x, False, reach


def _pseudo_gradient(x: np.ndarray, gradient: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """The one-sided derivative of steepest descent; 0 where a coordinate rests at 0."""
    at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - penalty, 0)
    return np.where(x == 0, at_zero, gradient + penalty * np.sign(x))


def _two_loops(slope: np.ndarray, steps: deque[np.ndarray], changes: deque[np.ndarray]) -> np.ndarray:
    """The inverse Hessian of the last steps, times slope."""
    result = slope.copy()
    kept = []
    for step, change in zip(reversed(steps), reversed(changes), strict=True):
        weight = float(step @ result) / float(step @ change)
        result -= weight * change
        kept.append(weight)
    if steps:
        result *= float(steps[-1] @ changes[-1]) / float(changes[-1] @ changes[-1])
    for step, change, weight in zip(steps, changes, reversed(kept), strict=True):
        result += (weight - float(change @ result) / float(step @ change)) * step
    return result
