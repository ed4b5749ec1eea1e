"""How a simulated fleet behaves, as data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """Times are in seconds. What happens again and again does so after pauses that are drawn around a mean; a mean of 0 means
    never. All draws follow from a seed, cell by cell; when they are made follows from the real clock.

    Attributes:
      creation_s: shortest and longest time in which a container is created.
      instance_lifetime_s: mean time after which an instance crashes.
      creation_failure_share: of all containers, how many cannot be created; 0 to 1.
      evacuation_every_s: mean pause between two evacuations, each of one cell.
      evacuated_for_s: how long the cell is away after it was evacuated.
      loss_every_s: mean pause between two losses of a cell, which vanishes without a word.
      lost_for_s: how long it is away. Its presence lasts as long as `presence_ttl_s` at most.
      presence_ttl_s: whole seconds for which a cell's presence is good; it is renewed three times in that time.
      bulk_every_s: pause after which a cell tells the BBS again what runs on it.
      task_every_s: mean pause between two tasks.
      task_duration_s: shortest and longest time that a task takes.
      memory_mb, disk_mb, containers: the capacity of each cell.
    """

    creation_s: tuple[float, float] = (0.3, 1.5)
    instance_lifetime_s: float = 90.0
    creation_failure_share: float = 0.02
    evacuation_every_s: float = 30.0
    evacuated_for_s: float = 5.0
    loss_every_s: float = 45.0
    lost_for_s: float = 20.0
    presence_ttl_s: int = 6
    bulk_every_s: float = 10.0
    task_every_s: float = 4.0
    task_duration_s: tuple[float, float] = (1.0, 5.0)
    memory_mb: int = 16_384
    disk_mb: int = 65_536
    containers: int = 250


QUIET = Behaviour(
    instance_lifetime_s=0, creation_failure_share=0, evacuation_every_s=0, loss_every_s=0, task_every_s=0
)
"""A fleet in which nothing goes wrong by itself."""
