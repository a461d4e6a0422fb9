"""A fault -> a message, a hint, an exit code and an HTTP status.

DetectorError
|-- BadInput             exit 1, HTTP 4xx: the caller can correct it
|   |-- SettingsError        params.yaml holds an unknown, missing or wrong value
|   |-- ArchiveRejected      a data archive is unsafe, broken or not in the expected layout
|   |-- CredentialsMissing   the data source needs a login that was not found
|   |-- DataRejected         the data failed a check of severity stop
|   |-- UnreadableImage      bytes that no image decoder reads
|   |-- UnreadableVideo      a file that no video decoder reads
|   |-- InputTooLarge        more bytes, pixels or seconds than the limits allow
|   |-- ModelNotFound        no bundle, no version, no champion of that name
|   |-- PromotionRefused     the gate refused the version, and --force was not given
|   `-- ConcurrentChange     the champion changed between a decision and its execution
`-- ToolFailed           exit 2, HTTP 500: the input is not the cause
    |-- CheckCrashed         an expectation raised an exception
    |-- MissingExtra         a package that only this function needs is not installed
    `-- BundleCorrupt        a bundle whose files do not match their digests
        `-- BundleOutdated       an intact bundle of a format that this version does not read
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class DetectorError(Exception):
    """An error for the user: what happened, with the value, and what to do next.

    Args:
        message: what went wrong, quoting the offending value.
        hint: the next step; may be empty.
    """

    code: str = "detector_error"
    exit_code: int = 2
    http_status: int = 500

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class BadInput(DetectorError):
    """The input cannot be used as it is."""

    code, exit_code, http_status = "bad_input", 1, 422


class SettingsError(BadInput):
    """A settings file with an unknown, missing or wrong value."""

    code = "bad_settings"


class ArchiveRejected(BadInput):
    """A data archive that is unsafe to open, broken, or laid out differently."""

    code = "archive_rejected"


class CredentialsMissing(BadInput):
    """A data source that needs a login which was not found."""

    code, http_status = "credentials_missing", 401


class DataRejected(BadInput):
    """Data that failed a check of severity `stop`."""

    code = "data_rejected"


class UnreadableImage(BadInput):
    """Bytes that are not a picture this program reads."""

    code, http_status = "unreadable_image", 415


class UnreadableVideo(BadInput):
    """A file that is not a video this program reads."""

    code, http_status = "unreadable_video", 415


class InputTooLarge(BadInput):
    """More bytes, pixels or seconds than the limits allow."""

    code, http_status = "too_large", 413


class ModelNotFound(BadInput):
    """No bundle, version or champion of that name."""

    code, http_status = "model_not_found", 404


class PromotionRefused(BadInput):
    """A version that the gate refused."""

    code, http_status = "promotion_refused", 409


class ConcurrentChange(BadInput):
    """The champion changed between a decision and its execution."""

    code, http_status = "concurrent_change", 409


class ToolFailed(DetectorError):
    """The program or one of its tools failed; the input is not the cause."""

    code = "tool_failed"


class CheckCrashed(ToolFailed):
    """An expectation raised an exception, so the data were not checked."""

    code = "check_crashed"


class MissingExtra(ToolFailed):
    """A package that only the requested function needs is not installed; the hint names the extra that brings it."""

    code = "missing_extra"


@contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Import optional packages in the `with` block.

    Args:
        extra: of pyproject.toml.
        what: needs them, in the plural: "videos".

    Raises:
        MissingExtra: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        hint = f"pip install 'deepfake-detector[{extra}]', or `pip install '.[{extra}]'` in a checkout"
        raise MissingExtra(f"{what} need the package {error.name}, which is not installed", hint) from error


class BundleCorrupt(ToolFailed):
    """A bundle whose files do not match their digests."""

    code = "bundle_corrupt"


class BundleOutdated(BundleCorrupt):
    """An intact bundle, written by another version of this program."""

    code = "bundle_outdated"
