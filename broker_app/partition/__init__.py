"""The replicated state machine of one partition: deterministic, the only writer of its state.

Start with `statemachine.PartitionState`, then `commands` (what is in the log) and `state`
(what applying it gives); `admission` and `speculation` are the leader's view of what is not applied
yet. Knows no HTTP and no clock. Imported by services, selectors and the broker's runtime.
"""
