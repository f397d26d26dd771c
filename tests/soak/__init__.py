"""A soak: a cluster under every kind of traffic for as long as one likes, and what it takes of it.

    python -m tests.soak --minutes 60

`traffic` has the clients, `samples` what is measured and whether it is flat, `soak` the whole,
`plot` draws it.
"""
