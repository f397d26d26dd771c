"""What client and servers share: the wire contract, its bounds, and pure rules.

`errors` is the one tree of errors, `inputs` and `group_inputs` the inputs of every call, `answers`
what they answer, `records` the record batch, `partitioner` the choice of a partition, `backoff` how
long to wait after failures, `retry_after` what a refusal says of that, `http1` the bytes of a
request and its answer for who makes calls, `rules/` what a server and
the queue in memory both decide by. Servers import this package and nothing else of the client; it
imports nothing of ours.
"""
