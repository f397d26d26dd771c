"""Measures the whole system: three broker processes, a client in a process of its own.

    python -m benchmarks                        all workloads
    python -m benchmarks sync_1,produce_batch   some of them
    python -m benchmarks plot                   throughput and latency as an SVG drawing
    python -m benchmarks --peers nats,redis     others in turn with this system, with ratios

Each figure stands beside what the bare disk does, measured in the same run in the same directory,
and each run reads back what was acknowledged and compares it.
"""
