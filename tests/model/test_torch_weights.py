"""Both weight formats of PyTorch: tensors are read in their order, and nothing in a file is executed."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import ToolFailed
from deepfake_detector.model import torch_weights


class Global:
    """Pickles as a global of another module, as PyTorch's own classes do."""

    def __init__(self, module: str, name: str) -> None:
        self.path = (module, name)


class Storage:
    def __init__(self, key: str, elements: int, storage_type: str = "FloatStorage") -> None:
        self.pid = ("storage", Global("torch", storage_type), key, "cpu", elements, None)


class Tensor:
    def __init__(self, storage: object, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.arguments = (storage, offset, shape, strides, False, OrderedDict[str, object]())


class Call:
    """Pickles as a call of a global."""

    def __init__(self, module: str, name: str, *arguments: object) -> None:
        self.function, self.arguments = Global(module, name), arguments


class LegacyPickler(pickle._Pickler):
    """Writes the legacy format without PyTorch."""

    def persistent_id(self, obj: object) -> object:
        return obj.pid if isinstance(obj, Storage) else None

    def save(self, obj: object, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Global):
            self.write(b"c" + "\n".join(obj.path).encode() + b"\n")  # type: ignore[attr-defined]
        elif isinstance(obj, Tensor):
            self.save_reduce(Global("torch._utils", "_rebuild_tensor_v2"), obj.arguments)
        elif isinstance(obj, Call):
            self.save_reduce(obj.function, obj.arguments)
        else:
            super().save(obj, save_persistent_id)  # type: ignore[misc]

    def save_reduce(self, func: object, args: tuple[object, ...], *_: object, **__: object) -> None:
        self.save(func)
        self.save(args)
        self.write(pickle.REDUCE)  # type: ignore[attr-defined]


def write_weights(
    path: Path, tensors: object, buffers: dict[str, NDArray[Any]], trailing: bytes = b"", system: object = None
) -> str:
    """Write a file and return its digest."""
    stream = io.BytesIO()
    system = {"little_endian": True} if system is None else system
    for part in (torch_weights.MAGIC, torch_weights.PROTOCOL, system, tensors, sorted(buffers)):
        LegacyPickler(stream, 2).dump(part)
    for key in sorted(buffers):
        stream.write(struct.pack("<q", buffers[key].size) + buffers[key].tobytes())
    path.write_bytes(stream.getvalue() + trailing)
    return sha256(path)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


def test_a_permuted_tensor_is_read_in_its_own_order(path: Path) -> None:
    buffer = np.arange(8, dtype="<f4")
    storage = Storage("0", 8)
    tensors = {"a": Tensor(storage, 1, (2, 3), (1, 2)), "b": Tensor(storage, 0, (8,), (1,))}
    digest = write_weights(path, tensors, {"0": buffer})

    arrays = torch_weights.read_tensors(path, digest)

    np.testing.assert_array_equal(arrays["a"], [[1, 3, 5], [2, 4, 6]])
    assert arrays["a"].flags.c_contiguous
    np.testing.assert_array_equal(arrays["b"], buffer)


def test_scalars_and_other_types_are_read(path: Path) -> None:
    tensors = {"half": Tensor(Storage("0", 2, "HalfStorage"), 0, (2,), (1,)),
               "count": Tensor(Storage("1", 1, "LongStorage"), 0, (), ())}  # fmt: skip
    digest = write_weights(path, tensors, {"0": np.array([1.5, -2], "<f2"), "1": np.array([7], "<i8")})

    arrays = torch_weights.read_tensors(path, digest)

    assert arrays["half"].tolist() == [1.5, -2]
    assert (arrays["count"].shape, int(arrays["count"])) == ((), 7)


def test_a_file_with_another_digest_is_rejected_before_unpickling(path: Path) -> None:
    write_weights(path, Call("os", "mkdir", str(path.with_name("made"))), {})

    with pytest.raises(ToolFailed, match="has SHA-256"):
        torch_weights.read_tensors(path, "0" * 64)


def test_a_missing_file_is_an_error_with_its_path(path: Path) -> None:
    with pytest.raises(ToolFailed, match=r"cannot read the weights .*weights\.pth"):
        torch_weights.read_tensors(path, "0" * 64)


@pytest.mark.parametrize(
    "name", [("os", "mkdir"), ("builtins", "eval"), ("torch", "load"), ("collections", "defaultdict")]
)
def test_no_other_global_is_called(path: Path, name: tuple[str, str]) -> None:
    digest = write_weights(path, {"a": Call(*name, str(path.with_name("made")))}, {})

    with pytest.raises(ToolFailed, match=rf"the global {name[0]}\.{name[1]} is not allowed"):
        torch_weights.read_tensors(path, digest)

    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Tensor(Storage("0", 4), 1, (2, 2), (2, 1)), "ends at element 4 of a storage of 4"),
        (Tensor(Storage("0", 4), 0, (2, 2), (-2, 1)), "strides"),
        (Tensor(Storage("0", 4), -1, (2,), (1,)), "offset -1"),
        (Tensor(Storage("0", 5), 0, (2,), (1,)), "has 4 elements, its tensors expect 5"),
        (Tensor([0.0] * 4, 0, (4,), (1,)), "view of list"),
        (Tensor(Storage("0", 4, "StringStorage"), 0, (4,), (1,)), r"torch\.StringStorage is not allowed"),
        (Tensor(Storage("1", 4), 0, (4,), (1,)), "list of storages does not match"),
        (4, "objects that are not tensors"),
    ],
)
def test_an_invalid_tensor_is_rejected(path: Path, tensor: object, message: str) -> None:
    digest = write_weights(path, {"a": tensor}, {"0": np.zeros(4, "<f4")})

    with pytest.raises(ToolFailed, match=message):
        torch_weights.read_tensors(path, digest)


def test_a_storage_declared_twice_with_different_lengths_is_rejected(path: Path) -> None:
    tensors = {"a": Tensor(Storage("0", 4), 0, (4,), (1,)), "b": Tensor(Storage("0", 3), 0, (3,), (1,))}
    digest = write_weights(path, tensors, {"0": np.zeros(4, "<f4")})

    with pytest.raises(ToolFailed, match="declared twice"):
        torch_weights.read_tensors(path, digest)


def test_a_big_endian_file_is_rejected(path: Path) -> None:
    digest = write_weights(path, {}, {}, system={"little_endian": False})

    with pytest.raises(ToolFailed, match="not little endian"):
        torch_weights.read_tensors(path, digest)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip file", b"\x80\x02K\x01."])
def test_a_file_in_another_format_is_rejected(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(ToolFailed, match="not a weight file of PyTorch"):
        torch_weights.read_tensors(path, sha256(path))


def test_a_file_that_is_too_long_or_too_short_is_rejected(path: Path) -> None:
    tensors = {"a": Tensor(Storage("0", 4), 0, (4,), (1,))}
    digest = write_weights(path, tensors, {"0": np.zeros(4, "<f4")}, trailing=b"?")
    with pytest.raises(ToolFailed, match="1 bytes follow the last storage"):
        torch_weights.read_tensors(path, digest)

    write_weights(path, tensors, {"0": np.zeros(4, "<f4")})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ToolFailed, match="not a weight file"):
        torch_weights.read_tensors(path, sha256(path))


class ZipPickler(LegacyPickler):
    """Writes `data.pkl` of the zip format, whose storages have one field less."""

    def persistent_id(self, obj: object) -> object:
        return obj.pid[:5] if isinstance(obj, Storage) else None


def write_zip_weights(path: Path, tensors: object, buffers: dict[str, NDArray[Any]], byteorder: str = "little") -> str:
    """Write a file as PyTorch does since version 1.6, and return its digest."""
    stream = io.BytesIO()
    ZipPickler(stream, 2).dump(tensors)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("name/data.pkl", stream.getvalue())
        archive.writestr("name/byteorder", byteorder)
        for key, buffer in buffers.items():
            archive.writestr(f"name/data/{key}", buffer.tobytes())
    return sha256(path)


def test_a_zip_is_read_as_the_legacy_format(path: Path) -> None:
    storage = Storage("0", 8, "HalfStorage")
    tensors = {"a": Tensor(storage, 1, (2, 3), (1, 2)), "b": Tensor(Storage("1", 1), 0, (), ())}
    digest = write_zip_weights(path, tensors, {"0": np.arange(8, dtype="<f2"), "1": np.array([2.5], "<f4")})

    arrays = torch_weights.read_tensors(path, digest)

    np.testing.assert_array_equal(arrays["a"], [[1, 3, 5], [2, 4, 6]])
    assert arrays["a"].dtype == np.float16
    assert float(arrays["b"]) == 2.5


@pytest.mark.parametrize(
    ("tensors", "byteorder", "message"),
    [
        ({"a": Call("os", "mkdir", "made")}, "little", r"the global os\.mkdir is not allowed"),
        ({"a": Tensor(Storage("0", 4), 0, (4,), (1,))}, "big", "not little endian"),
        ({"a": Tensor(Storage("0", 5), 0, (4,), (1,))}, "little", "has 4 elements, its tensors expect 5"),
        ({"a": Tensor(Storage("1", 4), 0, (4,), (1,))}, "little", "no item named 'name/data/1'"),
        ({"a": Tensor(Storage("0", 4), 1, (4,), (1,))}, "little", "ends at element 4"),
        ({"a": 3}, "little", "objects that are not tensors"),
        ([], "little", "objects that are not tensors"),
    ],
)
def test_an_invalid_zip_is_rejected(path: Path, tensors: object, byteorder: str, message: str) -> None:
    digest = write_zip_weights(path, tensors, {"0": np.zeros(4, "<f4")}, byteorder)

    with pytest.raises(ToolFailed, match=message):
        torch_weights.read_tensors(path, digest)

    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_zip_cut_short_or_without_tensors_is_rejected(path: Path) -> None:
    write_zip_weights(path, {"a": Tensor(Storage("0", 4), 0, (4,), (1,))}, {"0": np.zeros(4, "<f4")})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ToolFailed, match="not a weight file of PyTorch"):
        torch_weights.read_tensors(path, sha256(path))

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("name/other", b"")
    with pytest.raises(ToolFailed, match="not a weight file of PyTorch"):
        torch_weights.read_tensors(path, sha256(path))
