"""The store: records and contents, of everything a server keeps for its clients."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from antiphon.storage.contents import Contents, FolderContents
from antiphon.storage.object_store import ObjectContents
from antiphon.storage.records import Records, RecordsFailed


class Store(msgspec.Struct, frozen=True, eq=False):
    """Where things are kept. What belongs to a client is recorded with its `owner`, the label of its key, and only
    that key sees it.

    Contents are written before the record that names them, and deleted after it: contents without a record belong to
    nobody, and a record never lacks its contents."""

    records: Records
    contents: Contents

    def source(self, error: OSError) -> tuple[str, str]:
        """The place that an error came from, and the option that chooses another."""
        if isinstance(error, RecordsFailed):
            return self.records.place, "--store"
        return self.contents.place, "--contents"

    def close(self) -> None:
        """Let go of it."""
        self.records.close()


def open_store(records: str, contents: str) -> Store:
    """The store in a database (`sqlite:///PATH`, `postgresql://…`) and a folder or an object store (`s3://…`). Nothing
    is read or written yet. Raises ValueError."""
    far = re.match(r"[a-z][a-z0-9]+://", contents)
    return Store(Records(records), ObjectContents(contents) if far else FolderContents(Path(contents)))
