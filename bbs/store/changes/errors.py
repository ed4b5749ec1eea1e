"""The two ways in which following changes ends. A database that does not answer is `bbs.store.backend.BackendUnavailable`."""


class CannotFollow(Exception):
    """Changes can't be followed here as things are. The text says what somebody has to do; until then, trying again is
    in vain.
    """


class StreamLost(Exception):
    """A stream has ended, and what came after its last transaction is not known. Load all rows anew, with a new stream.

    Streams are not resumed: their slots are temporary, so that nothing is left on the server when a follower dies.
    """
