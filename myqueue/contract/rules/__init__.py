"""Pure rules that a server and the queue in memory both follow.

`work` for queue workers, `group_membership` and `assignors` for consumer groups, `group_makers`
for how many of them a partition knows, `producers` and `request_table` for what recognises
repetitions.
"""
