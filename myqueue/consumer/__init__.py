"""Consumers. Start with `consumer.Consumer`; popping is in `prefetch` and `reading`."""
