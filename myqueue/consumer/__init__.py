"""Consumers with cursors of their own: every message of a topic once.

Start with `aio.AsyncConsumer`; `consumer.Consumer` is written from it by `make fronts`. `options`
says which core it has: `core`, whose `prefetcher` pops in advance, or that of a member of
`myqueue.group`. Imported by users, the command line and `testing`.
"""
