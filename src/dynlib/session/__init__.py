"""`Sim`: a simulation that can be held — run, stopped, snapshotted, branched, changed, saved and resumed."""
