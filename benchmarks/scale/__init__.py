"""What a large cluster needs: a model on paper, its unit costs measured on this machine.

    python -m benchmarks.scale                                   100 brokers, 100,000 partitions
    python -m benchmarks.scale --brokers 10 --partitions 5000    another shape
    python -m benchmarks.scale --check 100,1000                  beside clusters that fit here

`cluster_size` is what is asked, `costs` what one unit of everything takes, `model` multiplies, and
sorts by what breaks first. `manager_costs` and `cluster_costs` measure the units on the real code,
`check` compares what the model says with what clusters of this machine do.
"""
