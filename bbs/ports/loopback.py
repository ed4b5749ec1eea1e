"""Which hosts are this machine to itself."""

from ipaddress import IPv4Address, IPv6Address, ip_address


def is_loopback(host: str) -> bool:
    """Whether ``host`` is an address of the machine to itself, IPv6 without brackets. Names are not asked for, so none is."""
    try:
        address: IPv4Address | IPv6Address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback


def is_here(host: str) -> bool:
    """As `is_loopback`, and for the name ``localhost``, in small letters."""
    return is_loopback(host) or host == "localhost"
