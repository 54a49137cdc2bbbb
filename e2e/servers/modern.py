"""A tool server on the official Python SDK, which speaks both eras; the gateway meets the newer.

    modern.py EFFECTS stdio
    modern.py EFFECTS http PORT URL ISSUER

It has a few of the tools, resources and prompts of the reference server, under the same names, and
writes what its tools did to the file EFFECTS, one JSON line each. Over HTTP it answers nobody who
does not show an assertion of ISSUER for exactly URL, and writes down which decision that names.
"""

import asyncio
import contextlib
import json
import os
import sys
from typing import Annotated

import jwt
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import BaseModel

effects, kind, *rest = sys.argv[1:]


class Assertions:
    """Believes what the gateway's key signed for this server alone."""

    def __init__(self, url, issuer):
        self.url, self.issuer = url, issuer
        self.keys = jwt.PyJWKClient(f"{issuer}/oauth/jwks")

    async def verify_token(self, token):
        try:
            key = await asyncio.to_thread(self.keys.get_signing_key_from_jwt, token)
            wanted = {"audience": self.url, "issuer": self.issuer}
            claims = jwt.decode(token, key.key, ["ES256", "EdDSA"], **wanted)
        except jwt.PyJWTError as error:
            print(f"refused an assertion: {error}", file=sys.stderr)
            return None
        return AccessToken(
            token=token, client_id=claims["client_id"], scopes=[], resource=self.url, claims=claims
        )


def did(what, **more):
    shown = get_access_token()
    claims = shown.claims if shown else {}
    line = {"did": what, "instance": claims.get("sub"), **claims.get("chancery", {}), **more}
    with open(effects, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


protection = {}
if kind == "http":
    port, url, issuer = rest
    protection = {
        "token_verifier": Assertions(url, issuer),
        "auth": AuthSettings(issuer_url=issuer, resource_server_url=url, validate_token_resource=True),
    }
server = MCPServer("modern", instructions="A few tools.", log_level="WARNING", **protection)


@server.tool(name="echo", structured_output=False)
async def echo(message: str) -> str:
    """Echoes."""
    did("echo", message=message)
    return f"Echo: {message}"


@server.tool(name="get-env", structured_output=False)
async def get_env() -> str:
    """Tells the environment."""
    did("get-env")
    return json.dumps(dict(os.environ))


@server.tool(name="trigger-long-running-operation", structured_output=False)
async def long(duration: float, steps: int, context: Context) -> str:
    """Takes its time and says how far it is."""
    did("long")
    try:
        for done in range(1, steps + 1):
            await asyncio.sleep(duration / steps)
            await context.report_progress(done, steps)
    except asyncio.CancelledError:
        did("cancelled")
        raise
    return f"Long running operation completed. Duration: {duration} seconds, Steps: {steps}."


class City(BaseModel):
    city: str


async def which_city() -> Elicit[City]:
    return Elicit("Which city?", City)


@server.tool(name="weather", structured_output=False)
async def weather(city: Annotated[City, Resolve(which_city)]) -> str:
    """Asks whoever is at the client which city is meant."""
    did("weather", city=city.city)
    return f"Sunny in {city.city}."


@server.resource("demo://resource/static/document/features.md")
def features() -> str:
    """What there is."""
    return "features"


@server.resource("demo://resource/static/document/startup.md")
def startup() -> str:
    """How it starts."""
    return "startup"


@server.prompt(name="simple-prompt")
def simple() -> str:
    """A prompt."""
    return "This is a simple prompt without arguments."


@server.prompt(name="args-prompt")
def args(city: str) -> str:
    """A prompt with an argument."""
    return f"What's weather in {city}?"


async def serve():
    import uvicorn

    # Whoever stands between, the gateway's assertion is what counts.
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = server.streamable_http_app(transport_security=security)
    config = uvicorn.Config(app, host="127.0.0.1", port=int(port), log_level="warning")
    await uvicorn.Server(config).serve()


with contextlib.suppress(KeyboardInterrupt):
    if kind == "stdio":
        server.run("stdio")
    else:
        asyncio.run(serve())
