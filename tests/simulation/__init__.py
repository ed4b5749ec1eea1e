"""A fleet in virtual time: cells, an auctioneer, route-emitters and a cloud controller around the real server.

The server is the real one: its HTTP lane, routes, store, event hubs, convergence, effects, over connections in memory
and a database in memory. Around it are tasks that behave as the components of Diego do, most of them with the real
client. Nothing in here uses real time, sockets, threads or chance that is not drawn from the seed.

    determinism.py     one seed, one run: the clock, Trio's scheduler and every draw
    network.py         connections in memory, with latency, partitions and broken connections
    server.py          one BBS process, put together as `bbs/process/process.py` does it
    world.py           everything together, and what can go wrong in it
    cell.py, container.py   a rep and the containers of its cell
    auctioneer.py      places instances on cells
    cloud_controller.py     what is desired, and which domain is fresh
    route_emitter.py   a mirror of the server's rows made of events alone, and the promises that events keep
    invariants.py      what has to be true at every second, and what at quiet moments
    watches.py         what some scenarios want besides
    seeds.py           which seeds a scenario runs with
    test_simulated_*.py     the scenarios

Replaying. A failing run says which seed it had, and what happened last. The same scenario with the same seed does the
same again, event by event:

    make sim SEED=7                  # every scenario with seed 7
    make sim SEED=7 ONLY=zone        # those with `zone` in their name
    make sim SEEDS=50                # seeds 0 to 49, where `make test` runs a few

`SIM_TRACE=path` writes the whole trace of the last run there.
"""
