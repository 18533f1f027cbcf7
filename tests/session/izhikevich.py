"""The neuron on which the clauses are tried: the built-in model with a fixed and an adaptive stepper."""

from __future__ import annotations

from functools import cache

from dynlib import FullModel, Sim, build

MODEL = "builtin://ode/izhikevich"


@cache
def full(stepper: str = "rk4", *, jit: bool = True) -> FullModel:
    return build(MODEL, stepper=stepper, dt=0.1 if stepper != "rk45" else None, jit=jit)


def neuron(stepper: str = "rk4") -> Sim:
    return Sim(full(stepper))
