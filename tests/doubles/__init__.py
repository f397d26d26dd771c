"""Doubles of the storage, the transport and the memory of one broker: for tests and simulations."""
