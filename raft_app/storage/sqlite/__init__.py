"""The storage of a broker in one SQLite file, through the Django connection `broker`.

Start with `storage.SqliteStorage`; the tables are in `entry_table` and `group_table`, the one
writing transaction in `transaction_writer`. Nobody outside `raft_app.storage` but the process that
opens it imports this.
"""
