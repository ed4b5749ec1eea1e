"""A fleet in virtual time: cells, an auctioneer, route-emitters and a cloud controller around the real server.

The server is the real one: its HTTP lane, routes, store, event hubs, convergence, effects, over connections in memory
and a database in memory. Around it are tasks that behave as the components of Diego do, most of them with the real
client. Connections, cells and the auctioneer are those of `bbs.testing`, which clients are tested with. Nothing in here uses real time, sockets, threads or chance that is not drawn from the seed.

    determinism.py     one seed, one run: the clock, Trio's scheduler and every draw
    bbs/testing/_network.py   connections in memory, with latency, partitions, losses and broken connections
    bbs/testing/_cpu.py       SIGSTOP, SIGCONT and SIGKILL for a process whose tasks are in this program
    cpu.py             what leads out of such a process
    database.py        a process' way to the database, which may hang, break or die in a COMMIT
    server.py          one BBS process, put together as `bbs/process/process.py` does it
    machine.py         starts such a process again whenever it ends; several take turns in being master
    world.py           everything together, and what can go wrong in it
    bbs/testing/_cell.py, _container.py   a rep, and the containers and tasks of its cell
    bbs/testing/_auctioneer.py   places instances and tasks on cells; and how the server reaches reps
    cloud_controller.py, task_client.py     what is desired, which domain is fresh; who is told that a task is over
    ledger.py, reader.py    what DesiredLRPs may be, going by what was acknowledged; who reads them meanwhile
    route_emitter.py   a mirror of the server's rows made of events alone, and the promises that events keep
    watcher.py         who watches the fleet with the client's `watch`, and what that promises
    invariants.py      what has to be true at every second, and what at quiet moments
    watches.py         what some scenarios want besides
    seeds.py           which seeds a scenario runs with
    test_simulated_*.py     the scenarios, the schedules and the mutants

    schedule.py        what happens in a run, as data: steps, faults, when and for how long
    drawing.py         a schedule for each seed
    run.py             a schedule carried out, healed, and the server started anew at its end
    promises.py        what the server promises, looked at with every step it takes
    shrinking.py       the smallest schedule that still fails
    mutants.py         faults put into the server by hand, and which promise catches each
    written.py         schedules written by hand
    __main__.py        `python -m tests.simulation`

Scenarios are functions that desire, break and wait for what they expect. Schedules expect nothing in particular: whatever
happens, every promise holds at every step, and once all is healed the fleet comes to rest.

Replaying. A failing run says which seed it had, and what happened last. The same scenario with the same seed does the
same again, event by event:

    make sim SEED=7                  # every scenario with seed 7
    make sim SEED=7 ONLY=zone        # those with `zone` in their name
    make sim SEEDS=50                # seeds 0 to 49, where `make test` runs a few

    make sim SCHEDULES=5000          # so many schedules of faults, two at a time
    python -m tests.simulation --seed 7 --shrink        # one again, made small if it fails
    python -m tests.simulation --replay file.json       # one that was printed, or written by hand
    python -m tests.simulation --mutants                # which promises catch which mutant

`SIM_TRACE=path` writes the whole trace of the last run there.
"""
