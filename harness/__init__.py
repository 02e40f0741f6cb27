"""The harness: run the grid, store every number, publish the boards."""
