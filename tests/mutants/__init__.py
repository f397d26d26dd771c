"""Faults planted on purpose, each of which a named test must find: `make mutants`."""
