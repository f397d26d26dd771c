"""Producers and consumers: registration and tokens, and the copy in memory that hot views look at.

Start with `registration`; `registry` keeps the clients in memory with their heartbeats, `signs`
passes heartbeats that a read-only manager heard on to the primary.
"""
