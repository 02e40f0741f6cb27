"""Suites: which tasks, methods, metrics and seeds make a grid. The packaged ones are the TOML files in this folder."""
