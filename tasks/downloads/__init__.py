"""Download of data sets on demand: catalogue, transfer, checksums and unpacking."""
