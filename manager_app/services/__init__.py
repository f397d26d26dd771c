"""Writes to the manager's database: one module per noun, one transaction per call.

They call no broker; what a manager carries out beyond the database is with its subject, in
`placement.topic_changes`, `clients.registration` and `brokers.reports`.
"""
