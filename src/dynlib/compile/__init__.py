"""From a model and a stepper to a kernel: layout of the state, readable source, compiled function."""
