"""Ensembles: one model from many initial states and with many parameters, on all cores, in vector instructions."""
