"""The library's version and its numerics revision."""

VERSION = "0.1.0"
NUMERICS_REVISION = 1
"""Raised only when a change can alter a bit of a trajectory or the meaning of a stored field."""
