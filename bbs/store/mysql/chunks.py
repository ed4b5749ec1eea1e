"""Texts in groups that the server takes at once."""

from collections.abc import Iterator, Sequence


def chunks(texts: Sequence[str], bytes_max: int) -> Iterator[Sequence[str]]:
    """``texts`` in groups, none of which has more than ``bytes_max`` bytes with a separator after each text, unless it is a
    single one.
    """
    # A character has four bytes at most, so what is usual need not be measured.
    if 4 * (sum(map(len, texts)) + len(texts)) <= bytes_max:
        yield texts
        return
    begin = size = 0
    for number_, text in enumerate(texts):
        text_bytes = len(text.encode()) + 2
        if size and size + text_bytes > bytes_max:
            yield texts[begin:number_]
            begin, size = number_, 0
        size += text_bytes
    yield texts[begin:]
