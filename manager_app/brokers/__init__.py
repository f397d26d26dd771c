"""Brokers as a manager meets them: over HTTP alone.

`client` makes one call, `orders` and `membership_orders` make many at once (place, drop and change
replicas, move leaderships), `reports` takes the brokers' heartbeats.
"""
