"""Where replicas live: pure rules, and the rounds that carry them out.

`rules` places new partitions, `repair_rules` decides the next step for one that lost a replica,
`repair_round` takes these steps at a bounded rate.
"""
