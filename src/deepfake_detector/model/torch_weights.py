"""Weight file of PyTorch -> {name: array of the tensor's shape}, read without PyTorch.

Since version 1.6 the file is a zip: `data.pkl` holds a pickle of the dictionary of tensors, `data/KEY` the elements of
each storage, `byteorder` their order. Source: `torch.serialization._save` of PyTorch 2.x.

Before, the file is a sequence of pickles: magic number, protocol, system information, dictionary of tensors, keys of
the storages. The storages follow in the order of the keys, each as an int64 number of elements and the elements, little
endian. Source: `torch.serialization._legacy_save` and `_legacy_load` of PyTorch 1.x.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import ToolFailed

ZIP_MAGIC = b"PK\x03\x04"
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STORAGE_DTYPES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
}
REINSTALL_HINT = "reinstall the package that contains these weights"
MALFORMED = (
    pickle.UnpicklingError,
    struct.error,
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    KeyError,
    IndexError,
    ImportError,
    OverflowError,
    MemoryError,  # a damaged length
    NotImplementedError,  # an unknown compression
    zipfile.BadZipFile,
    RecursionError,
)

Array = NDArray[Any]


@dataclass(frozen=True)
class _Storage:
    """One-dimensional buffer that tensors are views of; its elements follow the pickles."""

    dtype: np.dtype[Any]
    key: str
    elements: int


@dataclass(frozen=True)
class _TensorView:
    """View of a storage; `offset`, `shape` and `strides` count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(path: Path, sha256: str) -> dict[str, Array]:
    """Read all tensors of a file.

    Nothing in the file is executed. Its pickles may name ordered dictionaries, tensors and storages only, and these
    become plain records.

    Args:
        path: the file.
        sha256: expected digest of the file, 64 hexadecimal digits.

    Returns:
        Name -> array with the tensor's shape, contiguous, in native byte order.

    Raises:
        ToolFailed: the file cannot be read, has another digest, or is not in this format.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ToolFailed(f"cannot read the weights {path}: {error}", REINSTALL_HINT) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise ToolFailed(f"{path} has SHA-256 {digest}, expected {sha256}", REINSTALL_HINT)
    try:
        return _parse_zip(content) if content.startswith(ZIP_MAGIC) else _parse_legacy(content)
    except MALFORMED as error:
        raise ToolFailed(f"{path} is not a weight file of PyTorch: {error}", REINSTALL_HINT) from error


def _parse_zip(content: bytes) -> dict[str, Array]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        (pickled,) = (name for name in names if name.endswith("/data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("the file is not little endian")
        unpickler = _StrictUnpickler(io.BytesIO(archive.read(pickled)))
        views = _checked_views(unpickler.load())
        buffers = {
            key: np.frombuffer(archive.read(f"{folder}data/{key}"), storage.dtype)
            for key, storage in unpickler.storages.items()
        }
    for key, storage in unpickler.storages.items():
        if len(buffers[key]) != storage.elements:
            raise ValueError(f"storage {key} has {len(buffers[key])} elements, its tensors expect {storage.elements}")
    return {name: _copy_view(buffers[view.storage.key], view) for name, view in views.items()}


def _checked_views(unpickled: object) -> dict[str, _TensorView]:
    if not isinstance(unpickled, dict) or not all(isinstance(view, _TensorView) for view in unpickled.values()):
        raise ValueError("it contains objects that are not tensors")
    return {str(name): view for name, view in unpickled.items()}


def _parse_legacy(content: bytes) -> dict[str, Array]:
    stream = io.BytesIO(content)
    magic, protocol, system = (_StrictUnpickler(stream).load() for _ in range(3))
    if (magic, protocol) != (MAGIC, PROTOCOL):
        raise ValueError(f"magic number and protocol are {magic!r} and {protocol!r}")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("the file is not little endian")
    unpickler = _StrictUnpickler(stream)
    views, keys = _checked_views(unpickler.load()), _StrictUnpickler(stream).load()
    if sorted(keys) != sorted(unpickler.storages):
        raise ValueError("the list of storages does not match the tensors")
    buffers = {key: _read_storage(stream, unpickler.storages[key]) for key in keys}
    if stream.tell() != len(content):
        raise ValueError(f"{len(content) - stream.tell()} bytes follow the last storage")
    return {name: _copy_view(buffers[view.storage.key], view) for name, view in views.items()}


def _read_storage(stream: io.BytesIO, storage: _Storage) -> Array:
    """Elements (n,) of the storage at the stream's position."""
    (count,) = struct.unpack("<q", stream.read(8))
    if count != storage.elements:
        raise ValueError(f"storage {storage.key} has {count} elements, its tensors expect {storage.elements}")
    return np.frombuffer(stream.read(count * storage.dtype.itemsize), storage.dtype, count)


def _copy_view(buffer: Array, view: _TensorView) -> Array:
    """Copy a tensor out of its storage, following its strides.

    Convolutions converted from TensorFlow are stored permuted: `reshape` alone would return the right shape with the
    weights in the wrong order.
    """
    if len(view.shape) != len(view.strides) or min((*view.shape, *view.strides, view.offset, 0)) < 0:
        raise ValueError(f"a tensor has shape {view.shape}, strides {view.strides} and offset {view.offset}")
    axes = zip(view.shape, view.strides, strict=True)
    last = view.offset + sum((length - 1) * stride for length, stride in axes)
    if 0 not in view.shape and last >= len(buffer):  # as_strided does not check bounds
        raise ValueError(f"a tensor ends at element {last} of a storage of {len(buffer)}")
    strides_bytes = [stride * buffer.itemsize for stride in view.strides]
    strided = np.lib.stride_tricks.as_strided(buffer[view.offset :], view.shape, strides_bytes, writeable=False)
    return np.array(strided, strided.dtype.newbyteorder("="), order="C")


def _build_view(storage: object, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> Any:
    """Replaces `torch._utils._rebuild_tensor_v2`; its further arguments (gradient, hooks) are ignored."""
    if not isinstance(storage, _Storage):
        raise ValueError(f"a tensor is a view of {type(storage).__name__}, not of a storage")
    return _TensorView(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


class _StrictUnpickler(pickle.Unpickler):
    """Resolves ordered dictionaries, tensors and storages; rejects every other global."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Resolve a global; `pickle` calls this for each global in the file."""
        allowed: dict[tuple[str, str], Callable[..., Any] | str] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _build_view,
            **{("torch", storage): storage for storage in STORAGE_DTYPES},
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"the global {module}.{name} is not allowed")
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Register a storage: ("storage", type, key, device, number of elements), and None in the legacy format."""
        tag, storage_type, key, _, elements, *view_metadata = pid
        if tag != "storage" or storage_type not in STORAGE_DTYPES or view_metadata not in ([], [None]):
            raise pickle.UnpicklingError(f"the persistent id {pid!r} is not allowed")
        storage = _Storage(STORAGE_DTYPES[storage_type], str(key), int(elements))
        if self.storages.setdefault(storage.key, storage) != storage:
            raise pickle.UnpicklingError(f"storage {key} is declared twice with different types or lengths")
        return storage
