"""How the client that writes rows over HTTP is set up, and what its errors mean."""

from urllib.parse import unquote, urlsplit

from questdb import QuestDBError, QuestDBErrorCode

_CONNECTION_LOST = {
    QuestDBErrorCode.CouldNotResolveAddr,
    QuestDBErrorCode.SocketError,
    QuestDBErrorCode.ServerFlushError,
}


def sender_conf(http_url: str) -> str:
    """The writer's configuration for a server."""
    parts = urlsplit(http_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    conf = f"{parts.scheme}::addr={parts.hostname}:{port};auto_flush=off;protocol_version=2;retry_timeout=0;"
    if parts.username:
        conf += f"username={_escaped(unquote(parts.username))};"
    if parts.password:
        conf += f"password={_escaped(unquote(parts.password))};"
    return conf


def _escaped(value: str) -> str:
    return value.replace(";", ";;")


def is_connection_lost(error: BaseException) -> bool:
    """Whether the rows may be sent again: no answer came, or one that says the server is at fault."""
    if not isinstance(error, QuestDBError) or error.code not in _CONNECTION_LOST:
        return False
    return '"code":"invalid"' not in str(error)  # the server answered: these rows do not fit the table
