"""The suites that come with xrnnbench, as TOML files."""
