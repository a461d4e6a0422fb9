"""What went wrong -> one sentence, one hint, one exit code, one HTTP status.

DetectorError
|-- BadInput             exit 1, HTTP 4xx: the caller can mend it
|   |-- SettingsError        params.yaml holds an unknown, missing or wrong value
|   |-- ArchiveRejected      a data archive is unsafe, broken or not in the expected layout
|   |-- CredentialsMissing   the data source wants a login that is not there
|   |-- DataRejected         the data was read and judged unfit to train on
|   |-- UnreadableImage      bytes that no image decoder accepts
|   |-- UnreadableVideo      a file that no video decoder accepts
|   |-- InputTooLarge        more bytes, pixels or seconds than the limits allow
|   |-- ModelNotFound        no bundle, no version, no champion of that name
|   |-- PromotionRefused     the gate says no, and nobody said --force
|   `-- Overtaken            somebody else moved the champion between the decision and the deed
`-- ToolFailed           exit 2, HTTP 500: the caller did nothing wrong
    |-- CheckCrashed         an expectation raised instead of answering
    `-- BundleCorrupt        a model bundle whose bytes are not those that were sealed
        `-- BundleOutdated       whole, but of a format that this version does not read
"""

from __future__ import annotations


class DetectorError(Exception):
    """An error that people read: what happened, with the value, and what to do next.

    Args:
        message: what went wrong, quoting the offending value.
        hint: the next step for whoever reads it; may be empty.
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
    """The caller gave something that cannot be used as it is."""

    code, exit_code, http_status = "bad_input", 1, 422


class SettingsError(BadInput):
    """A settings file that does not say what the program needs to know."""

    code = "bad_settings"


class ArchiveRejected(BadInput):
    """A data archive that is unsafe to open, broken, or laid out differently."""

    code = "archive_rejected"


class CredentialsMissing(BadInput):
    """A data source that wants a login which was not found."""

    code, http_status = "credentials_missing", 401


class DataRejected(BadInput):
    """Data that was read and judged unfit to train on."""

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
    """No bundle, version or champion under the name that was asked for."""

    code, http_status = "model_not_found", 404


class PromotionRefused(BadInput):
    """A version that the gate does not let serve."""

    code, http_status = "promotion_refused", 409


class Overtaken(BadInput):
    """A decision whose champion is not the champion any more."""

    code, http_status = "overtaken", 409


class ToolFailed(DetectorError):
    """The program or one of its tools broke; the input is not to blame."""

    code = "tool_failed"


class CheckCrashed(ToolFailed):
    """An expectation that raised an exception, so the data was not judged at all."""

    code = "check_crashed"


class BundleCorrupt(ToolFailed):
    """A model bundle whose bytes are not those that were sealed."""

    code = "bundle_corrupt"


class BundleOutdated(BundleCorrupt):
    """A model bundle as it was sealed, by another version of this program."""

    code = "bundle_outdated"
