"""Protocol-buffer encoding, as much as the files written here need of it."""


def field(number: int, content: bytes) -> bytes:
    """Returns a field that holds text, bytes or a message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def integer(number: int, n: int) -> bytes:
    """Returns a field that holds an integer n >= 0."""
    return varint(number << 3) + varint(n)


def varint(n: int) -> bytes:
    """Returns an integer n >= 0, seven bits a byte, the lowest first."""
    parts = []
    while n > 127:
        parts.append(n & 127 | 128)
        n >>= 7
    return bytes([*parts, n])
