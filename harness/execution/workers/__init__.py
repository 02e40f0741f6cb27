"""Doing jobs in other processes: on all cores of this machine, or on the workers of a dask cluster."""
