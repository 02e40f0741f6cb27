"""Readers of the file formats of published data sets and of users' tables."""
