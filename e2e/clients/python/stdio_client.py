"""Drives the official MCP client over stdio: COMMAND [ARG...], then steps as JSON on standard input.

Each step is {"list": true} or {"call": NAME, "arguments": {...}}; one JSON line is printed a step.
"""

import asyncio
import json
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def step(session, wanted):
    if "list" in wanted:
        tools = await session.list_tools()
        return {"tools": [tool.name for tool in tools.tools]}
    try:
        result = await session.call_tool(wanted["call"], wanted.get("arguments", {}))
    except Exception as error:  # what the SDK makes of an error is what is under test
        return {"raised": type(error).__name__, "text": str(error)}
    dumped = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "isError": dumped.get("isError", False),
        "text": "".join(part.get("text", "") for part in dumped.get("content", [])),
        "structured": dumped.get("structuredContent"),
    }


async def main():
    command, *args = sys.argv[1:]
    async with stdio_client(StdioServerParameters(command=command, args=args)) as streams:
        async with ClientSession(*streams) as session:
            greeted = await session.initialize()
            print(json.dumps({"greeted": greeted.model_dump(mode="json", by_alias=True)["protocolVersion"]}), flush=True)
            for line in sys.stdin:
                print(json.dumps(await step(session, json.loads(line))), flush=True)


asyncio.run(main())
