"""How brokers reach each other: frames on one TCP port, snapshots on connections of their own.

`protocol` is what the engine wants of a transport; `codec`, `frames`, `handshake`, `send_queue` and
the `snapshot_*` modules do no I/O; `tcp/` does. Imported by the engine and the broker's process.
"""
