"""What a method is: coefficients as data, options with their defaults, and a registry of what each method can do."""

from dynlib.steppers import catalogue
from dynlib.steppers.registry import StepperSpec, get_stepper, list_steppers, register, select_steppers

__all__ = ["StepperSpec", "catalogue", "get_stepper", "list_steppers", "register", "select_steppers"]
