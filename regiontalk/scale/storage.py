"""Files of this machine and of object stores alike, through Arrow's file systems.

Credentials come from where Arrow takes them (the environment, an instance's role); what is printed
names neither them nor what stands for them in an address.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_USER = re.compile(r"(?<=://)[^/@]*@")
_SECRET = re.compile(r"(?i)((?:key|secret|token|password|sig|signature)[\w-]*=)[^&\s]+")


def shown(uri: str) -> str:
    """An address as it may be printed: without a user, keys and tokens.

    >>> shown("s3://KEY:SECRET@bucket/photos?session_token=abc")
    's3://bucket/photos?session_token=***'
    """
    return _SECRET.sub(r"\1***", _USER.sub("", uri))


def is_local(uri: str) -> bool:
    """Whether an address is a path of this machine."""
    return "://" not in uri or uri.startswith("file://")


def open_storage(uri: str) -> tuple[Any, str]:
    """The Arrow file system of a path or URI, and the path inside it.

    Raises:
        ValueError: no such kind of storage, or the address cannot be read.
        OSError: the storage cannot be reached.
        ImportError: Arrow is not installed.
    """
    try:
        from pyarrow import fs
    except ImportError as error:
        raise ImportError(
            "scale needs Ray and Arrow; install them with: pip install 'regiontalk[scale]'"
        ) from error
    if is_local(uri):
        path = os.path.expanduser(uri.removeprefix("file://"))
        return fs.LocalFileSystem(), os.path.abspath(path)
    with storage_errors(uri):
        filesystem, path = fs.FileSystem.from_uri(uri)
    return filesystem, str(path)


@contextmanager
def storage_errors(uri: str) -> Iterator[None]:
    """What a storage raises as one line that says what to do, without credentials.

    Raises:
        OSError: of the same kind where Python has one.
        ValueError: the address is not understood.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        why = shown(" ".join(str(error).split()))[:300]
        if isinstance(error, ValueError):
            raise ValueError(
                f"{shown(uri)}: expected a path or an address such as s3://bucket/folder ({why})"
            ) from None
        advice = (
            "free some space or choose another place"
            if is_local(uri)
            else "check the address, and the credentials in the environment"
        )
        raise OSError(
            f"{shown(uri)}: cannot be read or written ({why}); {advice}"
        ) from None
