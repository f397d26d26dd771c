"""Where replicas live: pure rules, and the rounds that carry them out.

`rules` places new partitions and spreads leaders, `topic_changes` creates and deletes topics.
`repair_rules` decides the next step for a partition that lost a replica, from the values that
`partition_facts` reads; `repair_round` takes these steps at a bounded rate.
"""
