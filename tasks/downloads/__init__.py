"""Data sets that are fetched on demand: the catalogue, the download, checksums, and unpacking."""
