"""Pure rules that a server and the queue in memory both follow.

`work` decides which messages of a group of queue workers are delivered, redelivered or dead.
`group_membership` and `assignors` rebalance consumer groups, `group_makers` limits how many of them
a partition knows. `producers` and `request_table` recognise repetitions: idempotent producers by
epoch and sequence, pops and single messages by request id.
"""
