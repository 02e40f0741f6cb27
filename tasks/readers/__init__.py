"""Data from outside: where they are, how they are fetched, and how their files are read."""
