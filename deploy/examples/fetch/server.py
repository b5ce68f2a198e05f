"""mcp-server-fetch over Streamable HTTP, for the compose network it is called `fetch` in.

Both eras of the protocol on `/mcp`. Private addresses are refused, as the package does by default: whoever may call the
tool must not be able to look around in this network.
"""

from mcp.server.transport_security import TransportSecuritySettings
from mcp_server_fetch.server import create_server

PORT = 3002

if __name__ == "__main__":
    create_server().run(
        "streamable-http",
        host="0.0.0.0",
        port=PORT,
        transport_security=TransportSecuritySettings(allowed_hosts=[f"fetch:{PORT}"]),
    )
