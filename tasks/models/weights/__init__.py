"""The published models and their ``manifest.json``, written by ``xrnnbench publish``; see :mod:`..published`."""
