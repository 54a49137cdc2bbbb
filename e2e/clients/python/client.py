"""The official Python SDK as a client, driven by a test.

    client.py MODE DOOR [ARG...]

MODE is `legacy` or a protocol version of the stateless era. DOOR is how it gets to the gateway:
`stdio COMMAND [ARG...]`, `http URL`, `dpop URL AGENT KEY_FILE`, or `oauth URL CLIENT_ID REDIRECT_URI`. Steps are JSON lines on standard
input; one JSON line is printed for the greeting and one for each step. With ANSWERS in its
environment it declares that it may be asked, answers, and tells in the step `asked` what it was.
"""

import asyncio
import json
import os
import sys

import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


def transport(door):
    kind, *rest = door
    if kind == "stdio":
        return stdio_client(StdioServerParameters(command=rest[0], args=rest[1:]))
    if kind == "http":
        return streamable_http_client(rest[0])
    if kind == "oauth":
        import authorizing

        return streamable_http_client(rest[0], http_client=authorizing.client(*rest))
    import dpop

    return streamable_http_client(rest[0], http_client=dpop.client(*rest))


asked = []


async def elicited(context, params):
    asked.append(params.model_dump(mode="json", by_alias=True, exclude_none=True))
    return types.ElicitResult(action="accept", content={"city": "Bern", "name": "Ada"})


async def sampled(context, params):
    asked.append(params.model_dump(mode="json", by_alias=True, exclude_none=True))
    text = types.TextContent(type="text", text="words of a model")
    return types.CreateMessageResult(role="assistant", content=text, model="test")


async def rooted(context):
    asked.append({"roots": True})
    return types.ListRootsResult(roots=[types.Root(uri="file:///srv/work", name="work")])


def answers():
    if "ANSWERS" not in os.environ:
        return {}
    return {
        "elicitation_callback": elicited,
        "sampling_callback": sampled,
        "list_roots_callback": rooted,
    }


def said(result):
    dumped = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "isError": dumped.get("isError", False),
        "text": "".join(part.get("text", "") for part in dumped.get("content", [])),
        "structured": dumped.get("structuredContent"),
    }


async def call(client, wanted):
    """Calls a tool, with progress if that is asked for; cut after `cancel` messages of progress."""
    progress, enough = [], asyncio.Event()

    async def heard(done, total, message):
        progress.append([done, total])
        if len(progress) >= wanted.get("cancel", sys.maxsize):
            enough.set()

    follow = heard if "progress" in wanted or "cancel" in wanted else None
    calling = asyncio.ensure_future(
        client.call_tool(wanted["call"], wanted.get("arguments", {}), progress_callback=follow)
    )
    if "cancel" in wanted:
        await asyncio.wait([calling, asyncio.ensure_future(enough.wait())], return_when=asyncio.FIRST_COMPLETED)
        if not calling.done():
            calling.cancel()
            await asyncio.wait([calling])
            return {"cancelled": True, "progress": progress}
    answer = said(await calling)
    return {**answer, "progress": progress} if follow else answer


async def step(client, wanted):
    if "list" in wanted:
        listed = await client.list_tools(cache_mode="bypass")
        return {"tools": [tool.name for tool in listed.tools]}
    if "call" in wanted:
        return await call(client, wanted)
    if "expire" in wanted:
        import authorizing

        authorizing.expire()
        return {}
    if "asked" in wanted:
        told, asked[:] = list(asked), []
        return {"asked": told}
    if "resources" in wanted:
        listed = await client.list_resources()
        return {"resources": [str(resource.uri) for resource in listed.resources]}
    if "read" in wanted:
        read = await client.read_resource(wanted["read"])
        return {"text": "".join(getattr(part, "text", "") for part in read.contents)}
    if "prompt" in wanted:
        prompt = await client.get_prompt(wanted["prompt"], wanted.get("arguments"))
        return {"text": "".join(getattr(message.content, "text", "") for message in prompt.messages)}
    raise ValueError(f"no such step: {wanted}")


async def main():
    mode, *door = sys.argv[1:]
    async with Client(transport(door), mode=mode, **answers()) as client:
        greeted = client.protocol_version
        if mode != "legacy":
            # A pinned client sends no greeting of its own: ask, as an automatic one would.
            raw = await client.session.send_discover(mode)
            greeted = types.DiscoverResult.model_validate(raw).supported_versions[0]
        print(json.dumps({"greeted": greeted}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                answer = await step(client, json.loads(line))
            except Exception as error:  # what the SDK makes of an error is what is under test
                code = getattr(getattr(error, "error", None), "code", None)
                data = getattr(getattr(error, "error", None), "data", None)
                answer = {"raised": type(error).__name__, "code": code, "data": data, "text": str(error)}
            print(json.dumps(answer), flush=True)


asyncio.run(main())
