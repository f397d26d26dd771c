"""Which lie of a disk is found how, before SQLite opens a file that it would silently cut.

| what happened                                   | found by                                    |
| ----------------------------------------------- | ------------------------------------------- |
| power failed within the last commit             | `scan`: at most one bad frame run at the end |
| a frame in the middle is damaged                | `scan`: good commits follow the bad frame    |
| acknowledged commits at the end are gone        | `receipt`: the WAL is shorter than noted     |
| a write or an fsync failed while running        | `fault_marker`, left for the next start      |
| which error of SQLite says what about the disk  | `disk_errors`                                |

`doubt` asks them all; a database in doubt is set aside, never deleted.
"""
