"""Suites: the tasks, methods, metrics and seeds of a grid. The packaged suites are the TOML files in this folder."""
