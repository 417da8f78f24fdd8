"""What a client asks of the server itself: is it well, which version, which features."""

from importlib import metadata

from mainspring.server.call import Call, Reply, Route

__all__ = ["INFO_ROUTES", "ROUTES"]


async def health(call: Call) -> Reply:
    """Say that the server answers."""
    return Reply(b"OK", content_type="text/plain; charset=utf-8")


async def version(call: Call) -> Reply:
    """Say the server's version."""
    return Reply(metadata.version("mainspring").encode(), content_type="text/plain; charset=utf-8")


async def info(call: Call) -> object:
    """Say which of the optional parts of MLflow are here: clients ask before they use one."""
    return {
        "store_type": "SqlStore",
        "workspaces_enabled": False,
        "trace_archival_enabled": False,
        "multipart_uploads_enabled": False,
        "multipart_downloads_enabled": False,
        "presigned_upload_run_id_supported": False,
        "presigned_upload_model_id_supported": False,
        "features_enabled": {"gateway": False},
    }


async def workspaces(call: Call) -> Reply:
    """Say that there are no workspaces, as an MLflow server without them does."""
    told = f"Endpoint: {call.path} disabled because the server is running without workspaces support."
    return Reply(told.encode(), 503, "text/plain; charset=utf-8")


ROUTES = (
    Route("GET", "/health", health, ""),
    Route("GET", "/version", version, ""),
)
#: Below ``/api/3.0/mlflow``.
INFO_ROUTES = (
    Route("GET", "server-info", info, ""),
    Route("GET", "workspaces", workspaces, ""),
    Route("POST", "workspaces", workspaces, ""),
)
