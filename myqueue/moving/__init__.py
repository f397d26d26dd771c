"""Data in and out: export to files, import from them, and the copy of topics to another cluster.

Built on the client alone, so that a machine without a server can do it. Start with `exporting`;
`importing` and `mirroring` find out from the copied messages themselves how far they came
(`marks`). `place` is what all of them use of a cluster, `lines` and `folder` are the format on
disk. Whoever shows this to people is `myqueue.cli`.
"""
