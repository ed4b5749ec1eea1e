"""What goes wrong with a configuration before anything can be checked in it."""


class ConfigInvalid(Exception):
    """The configuration cannot be used; the text says what is wrong, where, and what to do. It holds no secrets."""


class ConfigUnreadable(ConfigInvalid):
    """There is no configuration to speak of: the file cannot be read, or is not JSON. The text is close to Go's."""
