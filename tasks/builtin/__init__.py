"""The tasks that come with xrnnbench: synthetic ones with known truth, series, text, and translation."""
