"""One event loop that owns all Raft nodes of a broker: inputs in, writes, RPCs and results out.

Start with `engine.Engine` (what others may ask), then `replica.Replica` (what one replica does with
a `Ready`) and `loop` (how the effects of all replicas leave together). Imported by `broker_app`.
"""
