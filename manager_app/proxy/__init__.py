"""Produce, consume and size calls passed on to the leaders of partitions.

Start with `produce` and `consume`; `partition_calls` gets one call through elections and lost
brokers.
"""
