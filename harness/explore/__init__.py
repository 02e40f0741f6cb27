"""Inspection of single plug-ins, tasks and attributions, conformance checks, and downloads."""
