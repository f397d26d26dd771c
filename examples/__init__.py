"""Ten small programs, each of one page. `python -m examples.NAME` runs one.

They find their cluster by MYQUEUE_ADDRESS, `http://127.0.0.1:8000` for one that `make run` started.
The tests run each with `myqueue.testing.InMemoryQueue`.
"""
