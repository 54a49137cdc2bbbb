"""One client process with several servers: it starts each as a child of its own.

    several.py COMMAND ARGUMENT… -- SERVER…

Starts COMMAND ARGUMENT… with SERVER in the place of `{}` for each server. One JSON line in,
[NUMBER, MESSAGE], sends MESSAGE to that server and prints its next line.
"""

import json
import subprocess
import sys

split = sys.argv.index("--")
command, servers = sys.argv[1:split], sys.argv[split + 1 :]
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
started = [subprocess.Popen([word.replace("{}", server) for word in command], **pipes) for server in servers]
print("started", flush=True)
for line in sys.stdin:
    number, message = json.loads(line)
    started[number].stdin.write(json.dumps(message) + "\n")
    started[number].stdin.flush()
    print(started[number].stdout.readline().strip() or "null", flush=True)
for process in started:
    process.stdin.close()
    process.wait()
