"""Questions about a system, one a file: a function that takes a model and gives a frozen result."""
