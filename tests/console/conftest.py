"""The server of the tests of cfdot."""

from tests.cfdot.conftest import server as server
from tests.cfdot.conftest import start_server as start_server
