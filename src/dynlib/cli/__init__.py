"""The command `dynlib`: one file per command, no logic of its own."""
