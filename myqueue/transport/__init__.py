"""HTTP to managers and brokers, blocking and asyncio, and what every call needs.

Start with `session`: it registers a client, keeps it alive, and gets its calls to partitions'
leaders through retries and redirects; `metadata` knows the leaders, `managers` the managers,
`retry` when to try again. `partition_waiting` is whom a reader asks next, and how it waits for
messages. Flows (`effects`) decide, and are driven by `driving`, `pump` (threads) or `aio_driving`
(event loop). What users call has a `lifetime` or `aio_lifetime` below it, and `aio_client_base`,
from which `make fronts` writes `client_base`. Above it: producer, consumer, group, worker.
"""
