"""Consumer groups as the primary coordinates them. Start with `coordinator`.

Joins, heartbeats and rebalances are decided by the pure rules of
`myqueue.contract.rules.group_membership`; `offsets` asks the leaders of partitions for the
committed offsets and the lag of a group.
"""
