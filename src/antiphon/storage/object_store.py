"""Contents in an object store that machines share: S3 and whatever speaks its API, by `obstore`.

Where it is and with which keys it is asked comes from the environment, in the variables of the AWS tools.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import TYPE_CHECKING

from antiphon.storage.contents import PIECE, check_name, is_name

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ObjectStore

_PART = 5 << 20
"""Bytes of a part of an upload; S3 takes no smaller ones."""
_PARTS = 2
"""Parts of an upload that are on their way at once, and in memory."""


class ObjectContents:
    """Contents in a bucket, below a prefix."""

    def __init__(self, url: str) -> None:
        """Take a URL, `s3://BUCKET/PREFIX`. Raises ValueError."""
        self.place = url
        self._store = _opened(url)

    async def write(self, name: str, pieces: AsyncIterator[bytes]) -> None:
        import obstore

        with _as_os_errors():
            await obstore.put_async(
                self._store, check_name(name), pieces, chunk_size=_PART, max_concurrency=_PARTS, use_multipart=True
            )

    async def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        import obstore

        options: GetOptions = {"range": {"offset": start} if end is None else (start, end)}
        with _as_os_errors():
            found = await obstore.get_async(self._store, check_name(name), options=options if start or end else None)
            async for piece in found.stream(min_chunk_size=PIECE):
                yield bytes(piece)

    async def delete(self, name: str) -> None:
        import obstore

        with _as_os_errors(), contextlib.suppress(FileNotFoundError):
            await obstore.delete_async(self._store, check_name(name))

    async def names(self, folder: str, age: float) -> list[str]:
        import obstore

        with _as_os_errors():
            return [
                name
                async for several in obstore.list(self._store, prefix=folder)
                for each in several
                if is_name(name := str(each["path"])) and each["last_modified"].timestamp() <= time.time() - age
            ]


def _opened(url: str) -> ObjectStore:
    try:
        from obstore.store import from_url
    except ModuleNotFoundError:
        raise ValueError("contents in an object store need obstore: pip install 'antiphon[shared]'") from None
    with _as_os_errors():
        return from_url(url)


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """Say as the system does what the store refuses."""
    from obstore.exceptions import BaseError, NotFoundError

    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise FileNotFoundError(str(error).partition("\n")[0]) from error
    except BaseError as error:
        raise OSError(str(error).strip().partition("\n")[0]) from error
