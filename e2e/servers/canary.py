"""A tool server on the official SDK that writes down every call that reached it: canary.py FILE [PORT [MORE]].

With a port it speaks streamable HTTP on loopback, without one stdio. It has so many MORE tools, `operation-0` and
on. Each line of FILE is a call: the tool, its mark, when it came, and who is behind it by the token or assertion that
came with it: the subject, who acts if that is another, the decision. What stands in FILE happened.
"""

import base64
import json
import os
import sys
import time

import anyio
from mcp.server.mcpserver import Context, MCPServer

FILE = sys.argv[1]
server = MCPServer("canary", log_level="ERROR")


def shown(headers):
    """What the caller's token or assertion says; not verified here: a test looks for it in the log."""
    _, _, token = (headers or {}).get("authorization", "").partition(" ")
    if token.count(".") != 2:
        return {}
    claims = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))


def write_down(tool, mark, ctx):
    claims = shown(ctx.headers)
    line = {"tool": tool, "mark": mark, "at": time.time(), "subject": claims.get("sub")}
    line["actor"] = claims.get("act", {}).get("sub")
    line["decision"] = claims.get("chancery", {}).get("decision_id")
    with open(FILE, "a") as file:
        file.write(json.dumps(line) + "\n")


@server.tool()
async def touch(mark: str, ctx: Context) -> str:
    """Does something."""
    write_down("touch", mark, ctx)
    return "touched " + mark


@server.tool()
async def slow(mark: str, ctx: Context) -> str:
    """Does something, slowly."""
    write_down("slow", mark, ctx)
    await anyio.sleep(0.7)
    return "touched " + mark


@server.tool()
async def die(mark: str, ctx: Context) -> str:
    """Does something and ends without an answer."""
    write_down("die", mark, ctx)
    os._exit(1)


def operation(name):
    @server.tool(name=name)
    async def operate(mark: str, ctx: Context) -> str:
        """Does something else."""
        write_down(name, mark, ctx)
        return "done " + mark


for number in range(int(sys.argv[3]) if len(sys.argv) > 3 else 0):
    operation(f"operation-{number}")

if len(sys.argv) > 2:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]), json_response=True, stateless_http=True)
else:
    server.run("stdio")
