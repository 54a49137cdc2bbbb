"""The official SDK's own OAuth, for a client that has no key: an authorization code, by a person.

Where the person is to go is printed as a JSON line; where they came back to is read as one.
"""

import asyncio
import json
import sys
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata


class Memory:
    """Keeps what the provider learns."""

    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


async def go(url):
    print(json.dumps({"authorize": url}), flush=True)


async def came_back():
    line = await asyncio.to_thread(sys.stdin.readline)
    query = parse_qs(urlsplit(json.loads(line)["callback"]).query)
    said = {name: values[0] for name, values in query.items()}
    return AuthorizationCodeResult(code=said.get("code", ""), state=said.get("state"), iss=said.get("iss"))


provider = None


def client(url, client_id, redirect_uri):
    global provider
    metadata = OAuthClientMetadata(redirect_uris=[redirect_uri], client_name="the Python SDK")
    provider = OAuthClientProvider(
        server_url=url,
        client_metadata=metadata,
        storage=Memory(),
        redirect_handler=go,
        callback_handler=came_back,
        client_metadata_url=client_id,
    )
    return httpx2.AsyncClient(auth=provider, timeout=30)


def expire():
    """Makes the provider ask for the next token: as if the last one were over."""
    provider.context.token_expiry_time = 1
