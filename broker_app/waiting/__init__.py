"""Requests that wait, a future each and no thread: for messages, for work, for their turn.

Imported by services and the broker's runtime.
"""
