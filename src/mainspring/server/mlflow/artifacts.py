"""Files on MLflow's wire: the artifact tree below ``mlflow-artifacts``, and what a run or a logged model keeps in it.

Source: mlflow_artifacts.proto, and `_list_artifacts`, `get_artifact_handler`, `upload_artifact_handler` of handlers.py.
"""

import posixpath

import msgspec

from mainspring.errors import Invalid
from mainspring.server.artifact_root import list_local, open_local, put_local
from mainspring.server.call import Call, Reply, Route
from mainspring.server.decoding import missing_value
from mainspring.server.mlflow.shapes import Chosen
from mainspring.server.transfer import receive_object, send_file, send_stream
from mainspring.tracking.files import (
    Entry,
    LoggedFile,
    begin_upload,
    drop_upload,
    end_upload,
    find_file,
    list_folder,
    put_file,
    put_part,
    remove_files,
    root_of,
    upload_parts,
)
from mainspring.tracking.limits import check_path
from mainspring.tracking.logged_models import find_logged_model
from mainspring.tracking.runs import run_with_id

__all__ = ["PAGE_ROUTES", "ROUTES", "TREE_ROUTES"]

_MOST_PAGE_UPLOAD = 10 << 20
_MOST_PARTS = 10_000
_JOIN_BYTES = 1 << 20


class _Folder(msgspec.Struct):
    path: str = ""


class _RunFolder(Chosen):
    path: str = ""


class _ModelFolder(msgspec.Struct):
    artifact_directory_path: str = ""


class _ModelFile(msgspec.Struct):
    artifact_file_path: str


class _BeginUpload(msgspec.Struct):
    path: str
    num_parts: int = 1


class _Part(msgspec.Struct):
    part_number: int
    etag: str = ""
    url: str = ""


class _EndUpload(msgspec.Struct):
    path: str
    upload_id: str
    parts: list[_Part] = []


class _DropUpload(msgspec.Struct):
    path: str
    upload_id: str


class _Presign(Chosen):
    model_id: str = ""
    path: str = ""


async def list_tree(call: Call) -> object:
    """List a folder of the tree; names come without their folder."""
    folder = check_path((await call.read(_Folder)).path)
    return _files_on_wire(await call.ask(list_folder, call.store, folder), "")


async def download(call: Call) -> object:
    """Send a file of the tree."""
    path = check_path(call.names["path"])
    return await send_file(call, await call.ask(find_file, call.store, path), posixpath.basename(path))


async def upload(call: Call) -> object:
    """Keep the body as a file of the tree."""
    path = check_path(call.names["path"])
    file = await receive_object(call)
    await call.write(lambda t: put_file(t, path, file, at=call.now))
    return Reply()


async def delete(call: Call) -> object:
    """Take a file or a folder out of the tree."""
    path = check_path(call.names["path"])
    await call.write(lambda t: remove_files(t, path))
    return {}


async def begin(call: Call) -> object:
    """Begin a file that comes in parts, and say where each is to be sent."""
    given = await call.read(_BeginUpload)
    if not 1 <= given.num_parts <= _MOST_PARTS:
        raise Invalid(f"A file has 1 to {_MOST_PARTS} parts, not {given.num_parts}", where="num_parts")
    path = _upload_path(call, given.path)
    upload_id = await call.write(lambda t: begin_upload(t, path, at=call.now))
    root = f"{call.scheme}://{call.headers.get(b'host', b'').decode('latin-1')}"
    parts = [
        {
            "url": f"{root}/api/2.0/mlflow-artifacts/mpu/part/{upload_id}/{number}",
            "part_number": number,
        }
        for number in range(1, given.num_parts + 1)
    ]
    return {"upload_id": upload_id, "credentials": parts}


async def part(call: Call) -> object:
    """Keep the body as one part of a file. The id in the path is what allows it."""
    number = call.names["part"]
    if not (number.isascii() and number.isdigit() and len(number) < 6):
        raise Invalid(f"A part has a number from 1 to {_MOST_PARTS}", where="part")
    file = await receive_object(call)
    await call.write(lambda t: put_part(t, call.names["upload_id"], int(number), file))
    return Reply(b"{}", headers=(("etag", f'"{file.digest}"'),))


async def complete(call: Call) -> object:
    """Make one file of the parts."""
    given = await call.read(_EndUpload)
    path = _upload_path(call, given.path)
    numbers = [each.part_number for each in given.parts]
    parts = await call.ask(upload_parts, call.store, given.upload_id, path, numbers)
    file = await call.ask(_joined, call, parts)
    await call.write(lambda t: end_upload(t, given.upload_id, file, at=call.now))
    return {}


async def abort(call: Call) -> object:
    """Forget a file that came in parts."""
    given = await call.read(_DropUpload)
    path = _upload_path(call, given.path)
    await call.write(lambda t: drop_upload(t, given.upload_id, path))
    return {}


async def presigned(call: Call) -> object:
    """Say that files are not to be had from a storage of their own."""
    return Reply(
        b'{"error_code": "NOT_IMPLEMENTED", "message": "Presigned download is not supported for the current artifact'
        b' repository"}',
        501,
    )


async def presign(call: Call) -> object:
    """Refuse an address for direct transfer, as MLflow does for artifacts that its server serves."""
    given = await call.read(_Presign)
    if not given.path:
        raise missing_value("path")
    what = "upload" if call.path.endswith("presigned-upload-url") else "download"
    raise Invalid(
        f"Presigned {what} is not supported for proxied artifact storage (artifact URI scheme: mlflow-artifacts). This"
        " endpoint requires a direct cloud storage artifact URI.",
        where="path",
    )


async def list_run(call: Call) -> object:
    """List a folder of a run's files."""
    given = await call.read(_RunFolder)
    folder = check_path(given.path)
    run = await call.ask(run_with_id, call.store, given.run)
    entries = await call.ask(_entries, call, run.artifact_uri, folder)
    return {"root_uri": run.artifact_uri, **_files_on_wire(entries, folder)}


async def list_model(call: Call) -> object:
    """List a folder of a logged model's files."""
    folder = check_path((await call.read(_ModelFolder)).artifact_directory_path)
    model = await call.ask(find_logged_model, call.store, call.names["model_id"])
    entries = await call.ask(_entries, call, model.artifact_uri, folder)
    return {"root_uri": model.artifact_uri, **_files_on_wire(entries, folder)}


async def get_run_file(call: Call) -> object:
    """Send a file of a run."""
    given = await call.read(_RunFolder)
    path = check_path(given.path)
    run = await call.ask(run_with_id, call.store, given.run)
    return await _send(call, run.artifact_uri, path)


async def get_model_file(call: Call) -> object:
    """Send a file of a logged model."""
    path = check_path((await call.read(_ModelFile)).artifact_file_path)
    model = await call.ask(find_logged_model, call.store, call.names["model_id"])
    return await _send(call, model.artifact_uri, path)


async def upload_run_file(call: Call) -> object:
    """Keep a small body as a file of a run."""
    words = call.query
    run_id, path = words.get("run_uuid", [""])[-1], words.get("path", [""])[-1]
    if not run_id:
        raise Invalid("Request must specify run_uuid.", where="run_uuid")
    if not path:
        raise Invalid("Request must specify path.", where="path")
    path = check_path(path)
    length = call.headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > _MOST_PAGE_UPLOAD:
        raise Invalid("Artifact size is too large. Max size is 10MB.", where="body")
    run = await call.ask(run_with_id, call.store, run_id)
    file = await receive_object(call)
    if not file.size_bytes:
        raise Invalid("Request must specify data.", where="body")
    if file.size_bytes > _MOST_PAGE_UPLOAD:
        raise Invalid("Artifact size is too large. Max size is 10MB.", where="body")
    if (local := call.root.local(run.artifact_uri)) is not None:
        await call.ask(lambda: put_local(local, path, call.workspace.artifacts.read_bytes(file.digest)))
        return Reply()
    await call.write(lambda t: put_file(t, posixpath.join(root_of(run.artifact_uri), path), file, at=call.now))
    return Reply()


def _entries(call: Call, artifact_uri: str, folder: str) -> list[Entry]:
    """Return what lies in a folder below an address; blocks."""
    if (local := call.root.local(artifact_uri)) is not None:
        return list_local(local, folder)
    return list_folder(call.store, posixpath.join(root_of(artifact_uri), folder).rstrip("/"))


async def _send(call: Call, artifact_uri: str, path: str) -> Reply:
    if (local := call.root.local(artifact_uri)) is not None:
        return send_stream(call, *await call.ask(open_local, local, path), posixpath.basename(path))
    whole = posixpath.join(root_of(artifact_uri), path).rstrip("/")
    return await send_file(call, await call.ask(find_file, call.store, whole), posixpath.basename(whole))


def _upload_path(call: Call, name: str) -> str:
    """Return the path that an upload in parts is for: the folder is in the address, the file's name in the body."""
    return check_path(posixpath.join(check_path(call.names.get("path", "")), posixpath.basename(check_path(name))))


def _joined(call: Call, parts: list[LoggedFile]) -> LoggedFile:
    incoming = call.workspace.artifacts.incoming()
    try:
        for each in parts:
            with call.workspace.artifacts.open(each.digest) as stream:
                while piece := stream.read(_JOIN_BYTES):
                    incoming.write(piece)
        return LoggedFile(incoming.keep(), sum(each.size_bytes for each in parts))
    finally:
        incoming.discard()


def _files_on_wire(entries: list[Entry], folder: str) -> dict[str, object]:
    files = []
    for name, size in entries:
        file: dict[str, object] = {"path": posixpath.join(folder, name), "is_dir": size is None}
        files.append({**file, "file_size": size} if size else file)
    return {"files": files} if files else {}


#: Below ``/api/2.0/mlflow-artifacts``.
TREE_ROUTES = (
    Route("GET", "artifacts", list_tree, "artifacts.read"),
    Route("GET", "artifacts/{path...}", download, "artifacts.read"),
    Route("PUT", "artifacts/{path...}", upload, "artifacts.write"),
    Route("DELETE", "artifacts/{path...}", delete, "artifacts.delete"),
    Route("POST", "mpu/create/{path...}", begin, "artifacts.write"),
    Route("POST", "mpu/create", begin, "artifacts.write"),
    Route("PUT", "mpu/part/{upload_id}/{part}", part, ""),
    Route("POST", "mpu/complete/{path...}", complete, "artifacts.write"),
    Route("POST", "mpu/complete", complete, "artifacts.write"),
    Route("POST", "mpu/abort/{path...}", abort, "artifacts.write"),
    Route("POST", "mpu/abort", abort, "artifacts.write"),
    Route("GET", "presigned/{path...}", presigned, "artifacts.read"),
)
#: Below ``/api/2.0/mlflow``.
ROUTES = (
    Route("GET", "artifacts/list", list_run, "artifacts.read"),
    Route("POST", "artifacts/presigned-upload-url", presign, "artifacts.write"),
    Route("POST", "artifacts/presigned-download-url", presign, "artifacts.read"),
    Route("GET", "logged-models/{model_id}/artifacts/directories", list_model, "artifacts.read"),
    Route("GET", "logged-models/{model_id}/artifacts/files", get_model_file, "artifacts.read"),
)
#: As MLflow's own pages ask, at the root.
PAGE_ROUTES = (
    Route("GET", "/get-artifact", get_run_file, "artifacts.read"),
    Route("GET", "/ajax-api/2.0/mlflow/get-artifact", get_run_file, "artifacts.read"),
    Route("POST", "/ajax-api/2.0/mlflow/upload-artifact", upload_run_file, "artifacts.write"),
)
