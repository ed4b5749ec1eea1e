"""The store's database on MySQL and MariaDB, Galera clusters among them (spec: mysql.md).

The driver is an extra (``pip install 'bbs[mysql]'``), so only `bbs.store.database` imports what needs it, and only when a
connection string asks for it.
"""
