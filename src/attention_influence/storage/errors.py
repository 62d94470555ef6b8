"""What a disk or an object store says when it refuses: whether waiting helps, and what the user can do."""

import errno
import os
import socket
import ssl

from attention_influence.errors import StorageError

# What may be over in a moment. Object stores' drivers say EBUSY for "slow down" and EIO for an internal error.
_TRANSIENT = {
    *(errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EIO, errno.ENOLCK, errno.EPIPE, errno.EREMOTEIO, errno.ESTALE),
    *(errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    *(errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH, errno.ENOTCONN, errno.ESHUTDOWN, errno.ETIMEDOUT),
}
# Packages of drivers, whose errors need not be OSErrors.
_DRIVERS = {
    *("adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "fsspec", "gcsfs", "google", "httpcore", "httpx"),
    *("huggingface_hub", "paramiko", "requests", "s3fs", "urllib3"),
}
# In the names of drivers' errors that stay as they are: no right, or a request that is wrong.
_LASTING = ("Auth", "Credential", "Profile", "Validation", "Token")
_RETRIED_STATUS = (408, 425, 429)

_NO_ROOM = "Free some space there, or use another folder"
_NO_RIGHT = "Give this user the right to it, or use another folder"
_IN_THE_WAY = "Use another path"
_ADVICE = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: "Use a file system that takes files of this size, or raise the limit (ulimit -f)",
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.EROFS: "Use a folder that can be written",
    errno.EISDIR: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.ELOOP: _IN_THE_WAY,
    errno.ENAMETOOLONG: "Use a shorter name",
    errno.EMFILE: "Raise the limit of open files (ulimit -n)",
    errno.ENFILE: "Raise the system's limit of open files",
    errno.ENOMEM: "Free some memory",
}
_CHECK = "Check the disk or the network, and the path"


def is_storage_error(error: BaseException) -> bool:
    """Whether a disk, a network or an object store failed, and not this library."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _DRIVERS


def is_transient(error: BaseException) -> bool:
    """Whether the same call may well succeed in a moment: a network's or an object store's error, not the file's."""
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror | ssl.SSLError):
        return True
    status = _http_status(error)
    if status is not None and 400 <= status < 500:
        return status in _RETRIED_STATUS
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _TRANSIENT
    if isinstance(error, FileNotFoundError | PermissionError | ValueError):
        return False
    return is_storage_error(error) and not any(word in type(error).__name__ for word in _LASTING)


def advice(error: BaseException) -> str:
    """What the user can do about a storage error, a sentence without its full stop."""
    return _ADVICE.get(_errno(error) or 0, _CHECK)


def refused(what: str, error: BaseException) -> StorageError | None:
    """The error to raise when storage would not let `what` be done; None when the file itself is at fault.

    Arrow and zlib report damage as an OSError without a number.
    """
    if not is_storage_error(error) or (_errno(error) is None and type(error) is OSError):
        return None
    if isinstance(error, FileNotFoundError):
        return None
    return StorageError(f"cannot {what}: {error}. {advice(error)}, and run the same command again")


def in_words(error: BaseException) -> str:
    """A storage error, with its file if it names one, and what to do; without a full stop."""
    message = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        names = " and ".join(
            os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)
        )
        message = f"{names}: {error.strerror}" if names else error.strerror
    return f"{message}. {advice(error)}"


def _errno(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _http_status(error: BaseException) -> int | None:
    """The status of an HTTP answer that a driver's error carries."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = (
            getattr(response, "status_code", None) or getattr(error, "status", None) or getattr(error, "code", None)
        )
    return status if isinstance(status, int) else None
