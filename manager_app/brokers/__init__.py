"""A manager's HTTP calls to brokers, and the brokers' reports.

`client` makes one call, `orders` and `membership_orders` make many at once (place, drop and change
replicas, move leaderships), `reports` takes the brokers' heartbeats.
"""
