"""One event loop that owns all Raft nodes of a broker: inputs in, writes, RPCs and results out."""
