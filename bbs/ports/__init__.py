"""The ports of a process besides the API's, and what all ports share: addresses and file descriptors."""
