"""A real cluster: three Postgres on loopback, looked after by Patroni, with etcd to say who is primary.

`python -m tests.cluster` fails it over again and again under writes (`make cluster` installs what that needs first);
`tests/cluster/test_cluster.py` does so once for each kind of failure that is quick. `docs/high-availability.md` is what an
operator needs of it.

    packages    what has to be installed, and what of it is not
    nodes       etcd, the three nodes, and what can be done to them
    failures    the kinds of failure, and how each is mended
    rounds      a server and its clients beside the cluster, one failure after the other, and what must be true then
"""
