"""Calls of clients passed on to the leaders of partitions: produce, consume, size, fetch, offsets.

Start with `produce` and `consume`; `partition_calls` gets one call through elections and lost
brokers.
"""
