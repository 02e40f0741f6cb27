"""Temporal methods, made for sequences: TimeSHAP, FIT, WinIT, Dynamask, extremal masks and others."""
