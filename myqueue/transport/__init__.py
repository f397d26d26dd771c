"""HTTP to managers and brokers, blocking and asyncio, and what every call needs.

`session` gets one call to a partition's leader through retries and redirects; `metadata` knows
the leaders, `managers` the managers, `retry` when to try again. Flows (`effects`) decide, and are
driven by `driving`, `pump` (threads) or `aio_driving` (event loop). Above it: producer, consumer,
group, worker.
"""
