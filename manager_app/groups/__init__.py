"""Consumer groups as the primary coordinates them. Start with `coordinator`.

The rules are pure, in `myqueue.contract.rules`; `offsets` asks the partitions where groups are.
"""
