"""What the author of a test is told who asks for something that cannot be."""


class StageMisused(Exception):
    """What was asked of a stage makes no sense; the text says what to do instead."""
