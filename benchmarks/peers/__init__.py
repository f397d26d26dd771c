"""What is measured side by side: this system, others, and what Python itself allows.

Start in `system`, which says what one has to offer: servers to start, and in a client's process a
`Session` with senders and receivers. Each system is one module; `catalogue` lists them. The
workloads know the protocols alone, so the same code measures all. The packages of the others are
optional: what is missing says how to get it, and nothing is installed by itself.
"""
