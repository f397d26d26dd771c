"""How the cluster is: what a manager looks at every few seconds, and what people are told of it.

Start with `watch`. Every manager looks by itself, a standby or a read-only one too: it asks each
broker how it stands (`GET /standing`) and the database for the rest, and keeps rates of an hour and
of a day in memory. Nothing of it is stored.
"""
