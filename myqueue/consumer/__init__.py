"""Consumers. Start with `consumer.Consumer`; its `core` decides, `prefetcher` pops."""
