"""Doubles of the storage and the transport of one broker, in memory: for tests and simulations."""
