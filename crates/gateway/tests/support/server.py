"""An MCP server on stdio for tests. It keeps every line that it is told, and does what is asked.

Arguments: the directory where it keeps things, and the era that it speaks.
"""

import json
import os
import sys
import time

kept, era = sys.argv[1], sys.argv[2]
name = f"{time.time_ns():020d}-{os.getpid()}"
# Whoever looks at it while it is written finds no half of it.
with open(os.path.join(kept, name + ".new"), "w") as file:
    file.write(str(os.getpid()))
os.rename(file.name, os.path.join(kept, name + ".pid"))
told = open(os.path.join(kept, name + ".in"), "a", buffering=1)
progress = {}
waiting = {}

TOOLS = ["echo", "environment", "crash", "silent", "long", "garbage", "ask", "progress", "changed", "elicit", "insist", "wait"]


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def answer(id, result):
    if era == "stateless":
        result = {"resultType": "complete", **result}
    say({"jsonrpc": "2.0", "id": id, "result": result})


def text(value):
    return {"content": [{"type": "text", "text": value}], "isError": False}


def call(id, params):
    tool, arguments = params["name"], params.get("arguments", {})
    if tool == "echo":
        answer(id, text(json.dumps(arguments)))
    elif tool == "environment":
        answer(id, text(json.dumps(dict(os.environ))))
    elif tool == "crash":
        os._exit(3)
    elif tool == "long":
        sys.stdout.write("x" * arguments["bytes"])
        sys.stdout.flush()
        answer(id, text("long"))
    elif tool == "garbage":
        sys.stdout.write("this is not JSON\n[1,2]\n{\"jsonrpc\":\n")
        answer(id, text("after garbage"))
    elif tool == "ask":
        for n, method in enumerate(["sampling/createMessage", "ping", "roots/list"]):
            say({"jsonrpc": "2.0", "id": f"s{n}", "method": method, "params": {}})
        asked = [json.loads(sys.stdin.readline()) for _ in range(3)]
        for line in asked:
            told.write(json.dumps(line) + "\n")
        answer(id, text(json.dumps(asked)))
    elif tool == "elicit":
        asks = {"mode": "form", "message": "Which?", "requestedSchema": {"type": "object", "properties": {}}}
        say({"jsonrpc": "2.0", "id": "e1", "method": "elicitation/create", "params": asks})
        waiting["e1"] = id
    elif tool == "insist":
        asks = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {}}}
        for n in range(arguments["times"]):
            say({"jsonrpc": "2.0", "id": f"i{n}", "method": "elicitation/create", "params": asks})
            told.write(sys.stdin.readline())
        answer(id, text("asked"))
    elif tool == "wait":
        waiting["wait"] = id
    elif tool == "progress":
        progress[arguments["me"]] = (id, params.get("_meta", {}).get("progressToken"))
        if len(progress) == arguments["of"]:
            for me, (_, token) in progress.items():
                params = {"progressToken": token, "progress": 1, "message": me}
                say({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
            for me, (id, _) in progress.items():
                answer(id, text(me))
    elif tool == "changed":
        say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        answer(id, text("changed"))


for line in sys.stdin:
    told.write(line)
    message = json.loads(line)
    id, method, params = message.get("id"), message.get("method"), message.get("params", {})
    if method is None and id in waiting:
        answer(waiting.pop(id), text(json.dumps(message)))
        if "wait" in waiting:
            answer(waiting.pop("wait"), text("waited"))
    if id is None or method is None:
        continue
    if method == "server/discover" and era == "stateless":
        answer(id, {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}})
    elif method == "initialize" and era == "session":
        info = {"name": "stdio", "version": "1"}
        answer(id, {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": info})
    elif method == "tools/list":
        schema = {"type": "object"}
        answer(id, {"tools": [{"name": tool, "inputSchema": schema} for tool in TOOLS]})
    elif method == "tools/call":
        call(id, params)
    else:
        error = {"code": -32601, "message": "method not found"}
        say({"jsonrpc": "2.0", "id": id, "error": error})
