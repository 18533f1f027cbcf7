"""The explorer: a study in the browser, served to this machine alone."""
