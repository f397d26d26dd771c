"""Data in and out: export to files, import from them.

Built on the client alone, so that a machine without a server can do it. Start with `exporting`;
`importing` finds out from the copied messages themselves how far it came (`marks`). `place` is what
both use of a cluster, `lines` and `folder` are the format on disk. Whoever shows this to people is
`myqueue.cli`.
"""
