"""A fleet that is simulated towards a real BBS: cells, an auctioneer, a route-emitter and those who desire apps, each a task.

They speak the protocols of the real ones: presences by gRPC with Locket, calls of the BBS over HTTPS, everything else by the
API. `Fleet` runs them all in one nursery; what goes wrong and how often is a `Behaviour`.
"""

from bbs.demo.auctioneer import Auctioneer
from bbs.demo.behaviour import Behaviour
from bbs.demo.cell import Cell
from bbs.demo.fleet import Fleet, running_by_cell
from bbs.demo.presence import presence_of
from bbs.demo.route_emitter import RouteEmitter

__all__ = ["Auctioneer", "Behaviour", "Cell", "Fleet", "RouteEmitter", "presence_of", "running_by_cell"]
