"""Any input of a parser gives a value or a known error in the caller's words, never another exception."""

from __future__ import annotations

import io
import math
import os
import tempfile
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from deepfake_detector.config import Settings, read_settings
from deepfake_detector.datasets.safe_zip import SafeZip
from deepfake_detector.errors import ArchiveRejected, BadInput, DetectorError, SettingsError
from deepfake_detector.io import read_json
from deepfake_detector.media.decoding_cost import check_tiff_arrays, count_jpeg_scans, longest_tiff_array
from deepfake_detector.media.file_type import file_type
from deepfake_detector.serving.options import PREFIX, ServingOptions, read_options
from deepfake_detector.serving.origin import check_host, check_origin
from deepfake_detector.serving.parameters import _decode, read_parameters
from deepfake_detector.serving.upload import MultipartForm, UploadSpec, reject_external_references

settings.register_profile(
    "quick", max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("quick")

SPEC = UploadSpec("image", 500, max_files=2, text_fields=("prior",))
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="prior"\r\n\r\n0.5\r\n'
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\npicture\r\n--b--\r\n'
)
PARAMS = (Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8")
ODD_NUMBERS = [".inf", "-.inf", ".nan", "1e999", "-1", "0", "1e308", "9" * 50, "9" * 5000, "0x7fffffffffffffffffff"]


def mutated(valid: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with some replaced, removed or inserted."""

    def apply(changes: list[tuple[int, int, bytes]]) -> bytes:
        data = valid
        for at, length, new in changes:
            at %= len(data) + 1
            data = data[:at] + new + data[at + length :]
        return data

    return st.lists(st.tuples(st.integers(0, len(valid)), st.integers(0, 8), st.binary(max_size=8)), max_size=6).map(
        apply
    )


def refusal(call: Callable[[], object]) -> DetectorError | None:
    """The known error of a call, or None; any other exception is a failure of the test."""
    try:
        call()
    except DetectorError as error:
        return error
    return None


@given(data=st.binary(max_size=600) | mutated(FORM), cuts=st.lists(st.integers(0, 300), max_size=4))
@example(data=FORM, cuts=[])
def test_a_form_in_any_pieces_is_read_or_refused_and_leaves_no_file_open(data: bytes, cuts: list[int]) -> None:
    form = MultipartForm("multipart/form-data; boundary=b", SPEC)

    def read() -> None:
        for start, end in pairwise(sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})):
            form.feed(data[start:end])
        form.finish()

    error, files = refusal(read), form.files
    if error is None:
        assert all(file.seek(0, io.SEEK_END) <= SPEC.max_bytes for file in files)
        assert set(form.texts) <= {"prior"}
    else:
        assert isinstance(error, BadInput)
    form.close()
    assert all(file.closed for file in files)


@given(content_type=st.text(max_size=60) | st.sampled_from(["multipart/form-data; boundary=", "multipart/form-data"]))
def test_any_content_type_is_read_or_refused(content_type: str) -> None:
    header = content_type.encode("utf-8", "replace").decode("latin-1")
    error = refusal(lambda: MultipartForm(header, SPEC).close())
    assert error is None or error.http_status == 415


@given(
    text=st.binary(max_size=100)
    | st.sampled_from([b"1e999", b"-Infinity", b"NaN", b"[" * 99, b"9" * 99, b'"\\ud800"', b"{}"])
)
def test_a_parameter_is_in_its_range_or_refused(text: bytes) -> None:
    found = list[Any]()
    error = refusal(lambda: found.append(read_parameters({"prior": _decode(text)}).prior))
    assert error is None or len(error.message) < 300
    assert all(prior is None or 0 < prior < 1 for prior in found)


@given(query=st.dictionaries(st.text(max_size=20), st.text(max_size=50) | st.none() | st.floats(), max_size=4))
def test_any_query_is_read_or_refused(query: dict[str, Any]) -> None:
    error = refusal(lambda: read_parameters(query))
    assert error is None or error.http_status == 422


@given(
    values=st.dictionaries(
        st.sampled_from(["TOKEN", "WORKERS", "QUEUE", "HOSTS", "ROOT_PATH", "SPARES", "CONNECTIONS", "TOKN", "LINE"]),
        st.text(max_size=40) | st.integers().map(str) | st.sampled_from(["*", "a,b", "1e9", "inf", "nan", "²"]),
        max_size=3,
    )
)
def test_any_environment_gives_options_or_names_the_variable(values: dict[str, str]) -> None:
    found = list[ServingOptions]()
    error = refusal(lambda: found.append(read_options({PREFIX + name: value for name, value in values.items()})))
    assert error is None or PREFIX in error.message
    assert error is None or len(values.get("TOKEN", "")) < 16 or values["TOKEN"] not in str(error)
    for options in found:
        assert 1 <= options.workers <= 256
        assert options.root_path == "" or options.root_path.startswith("/")


@given(
    host=st.text(max_size=80) | st.from_regex(r"[a-z0-9.-]{1,20}(:[0-9]{1,6})?", fullmatch=True),
    allowed=st.lists(st.sampled_from(["a.example", "*.b.example"]), max_size=2),
)
@example(host="localhost:3000", allowed=[])
@example(host="x.b.example", allowed=["*.b.example"])
def test_no_host_but_the_allowed_is_accepted(host: str, allowed: list[str]) -> None:
    headers = Headers(raw=[(b"host", host.encode("utf-8", "replace"))])
    if (error := refusal(lambda: check_host(headers, "/about", allowed))) is not None:
        assert len(error.message) < 600
        return
    name = "[::1]" if host.startswith("[") else host.lower().partition(":")[0].removesuffix(".")
    assert name in ("localhost", "127.0.0.1", "[::1]", *allowed) or (allowed and name.endswith(".b.example"))


@given(origin=st.text(max_size=60), site=st.none() | st.text(max_size=12))
@example(origin="http://localhost", site=None)
@example(origin="http://evil", site="same-origin")
def test_no_origin_but_our_own_is_accepted(origin: str, site: str | None) -> None:
    raw = [(b"host", b"localhost"), (b"origin", origin.encode("utf-8", "replace"))]
    raw += [(b"sec-fetch-site", site.encode("utf-8", "replace"))] if site is not None else []
    error = refusal(lambda: check_origin("POST", Headers(raw=raw)))
    accepted = site in ("same-origin", "none") if site is not None else "//localhost" in origin.lower()
    assert error is not None or accepted


def zip_bytes() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/real/ä.jpg", b"picture" * 20)
        archive.writestr("train/fake/b.jpg", b"x" * 50, zipfile.ZIP_STORED)
    return buffer.getvalue()


ZIP = zip_bytes()
CENTRAL = ZIP.index(b"PK\x01\x02")


@given(data=mutated(ZIP) | mutated(ZIP[CENTRAL:]).map(lambda tail: ZIP[:CENTRAL] + tail) | st.binary(max_size=300))
@example(data=ZIP[: CENTRAL + 6] + b"\xff\x00" + ZIP[CENTRAL + 8 :])  # needs version 25.5
@example(data=ZIP.replace("ä".encode(), b"\xff\xfe"))  # a name that is no UTF-8
def test_any_zip_is_read_or_rejected(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zip"
        path.write_bytes(data)

        def read() -> None:
            opened = SafeZip(path, 10_000)
            for name in opened.names:
                opened.read(name)

        error = refusal(read)
    assert error is None or (isinstance(error, ArchiveRejected) and "a.zip" in error.message)


def mutated_params() -> st.SearchStrategy[str]:
    lines = PARAMS.splitlines()
    numbers = [i for i, line in enumerate(lines) if any(c.isdigit() for c in line.partition("#")[0])]

    def replace(choice: tuple[int, str]) -> str:
        number, value = choice
        line = lines[numbers[number % len(numbers)]]
        key = line.partition(":")[0] if ":" in line.partition("#")[0] else line.partition("-")[0] + "- "
        new = f"{key}: {value}" if ":" in line.partition("#")[0] else key + value
        return "\n".join([*lines[: numbers[number % len(numbers)]], new, *lines[numbers[number % len(numbers)] + 1 :]])

    return st.tuples(st.integers(0, 999), st.sampled_from(ODD_NUMBERS)).map(replace)


def read_params(content: bytes) -> Settings | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_bytes(content)
        found = list[Settings]()
        error = refusal(lambda: found.append(read_settings(path)))
    assert error is None or (isinstance(error, SettingsError) and "params.yaml" in str(error))
    return found[0] if found else None


@settings(max_examples=30)
@given(content=mutated_params().map(str.encode) | mutated(PARAMS.encode()))
def test_settings_are_finite_and_sensible_or_refused(content: bytes) -> None:
    found = read_params(content)
    if found is not None:
        assert math.isfinite(found.train.learning_rate)
        assert 0 < found.train.learning_rate <= 2**32
        assert 0 < found.train.epochs <= 2**32


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"{a: " * 3000,
        b"a: &a [1]\nb: *a",
        b"a: \xff",
        b"a: \0",
        b"",
        b"7",
        b"- 1",
        b"a: " + b"9" * 5000,
    ],
    ids=["lists", "mappings", "alias", "latin", "nul", "empty", "number", "list", "digits"],
)
def test_settings_that_are_no_mapping_of_plain_values_are_refused(content: bytes) -> None:
    assert read_params(content) is None


@pytest.mark.parametrize("key", ["experiment", "model_name", "bento_name"])
@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/b", "", ".hidden", "a\\b", "a b", "x" * 200, "'a\nb'"])
def test_names_in_settings_are_no_paths(key: str, name: str) -> None:
    lines = [
        f'{line.partition(":")[0]}: "{name}"' if line.strip().startswith(f"{key}:") else line
        for line in PARAMS.splitlines()
    ]
    assert read_params("\n".join(lines).encode()) is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"champion": {"version"', b"[]", b"null", b"\xff", b"[" * 100_000])
def test_a_cut_report_is_the_tools_failure_with_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "register.json"
    path.write_bytes(content)
    with pytest.raises(DetectorError, match=r"register\.json") as caught:
        read_json(path, "run it again")
    assert (caught.value.exit_code, caught.value.hint) == (2, "run it again")


@given(head=st.binary(max_size=512), start=st.integers(0, 2**64 - 1), big=st.booleans())
def test_any_bytes_have_a_type_or_none(head: bytes, start: int, big: bool) -> None:
    file_type(head)
    assert 0 <= count_jpeg_scans(head, 7) <= 7
    assert longest_tiff_array(head, start, big) >= 0
    for check in (reject_external_references, check_tiff_arrays):
        error = refusal(lambda check=check: check(head))  # type: ignore[misc]
        assert error is None or isinstance(error, BadInput)


def test_the_examples_read_their_valid_input() -> None:
    """The mutations begin from inputs that are accepted: a parser that refuses all would pass the tests above."""
    form = MultipartForm("multipart/form-data; boundary=b", SPEC)
    form.feed(FORM)
    form.finish()
    assert (len(form.files), form.texts) == (1, {"prior": b"0.5"})
    form.close()
    assert read_params(PARAMS.encode()) is not None
    assert os.linesep == "\n"
