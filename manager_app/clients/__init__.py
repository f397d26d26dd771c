"""Producers and consumers: registration and tokens, and the copy in memory that hot views look at.

Start with `registration`; `registry` keeps the clients in memory with their heartbeats, and
`heartbeat_passing` sends those that a read-only manager took to the primary.
"""
