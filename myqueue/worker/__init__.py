"""Queue workers: single messages received for work, and acknowledged one by one.

Start with `aio.AsyncWorker`; `worker.Worker` is written from it by `make fronts`. `core` decides:
from whom to receive, how to wait, what to repeat. `ack_batches` are the calls of one ack,
`work_requests` the requests; `redriving` sends dead letters back. Imported by users, the command
line and `testing`.
"""
