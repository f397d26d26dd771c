"""Producers. Start with `producer.Producer`; the pure core is `delivery`."""
