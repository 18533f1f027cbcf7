"""Adapters, one for each peer: WORKS, version() and SETTINGS; what they import is installed where they run."""
