"""What a broker stores, and how: one writing thread, one transaction for all replicas.

`protocol` is what the engine wants of a storage; `rules`, `compaction`, `entry_ranges`, `recovery`
and `scrub` are pure; `stream` and `workers` are the thread. `sqlite/` is the storage on one SQLite
file, `wal/` tells a torn file from a corrupt one before SQLite opens it. Imported by the engine.
"""
