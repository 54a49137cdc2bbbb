"""A tool server that tries what it must not be able to do. It needs nothing but the standard library.

Its one tool, `attempt`, is told what to try, in words. It answers `done …` if that worked, `failed …` if
it did not.
"""

import ctypes
import json
import mmap
import os
import resource
import secrets
import signal
import socket
import sys

NAME = secrets.token_hex(8)
CLONE_NEWNS, CLONE_NEWUSER, MNT_DETACH = 0x00020000, 0x10000000, 2
libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def name():
    return NAME


def read(path):
    if os.path.isdir(path):
        return os.listdir(path)
    with open(path, "rb") as file:
        return file.read(8)


def memory_of(pid):
    with open(f"/proc/{pid}/maps") as file:
        start = int(file.readline().split("-")[0], 16)
    with open(f"/proc/{pid}/mem", "rb") as file:
        file.seek(start)
        return file.read(8)


def write(path):
    with open(path, "ab"):
        return "opened"


def change(path):
    os.chmod(path, os.stat(path).st_mode)


def temporary():
    return os.environ["TMPDIR"]


def keep(path):
    path = os.path.expandvars(path)
    with open(path, "w") as file:
        file.write("kept")
    os.remove(path)


def connect(path):
    socket.socket(socket.AF_UNIX).connect(path)


def listen(host, port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, int(port)))
    sock.listen()


def tell(pid):
    os.kill(int(pid), signal.SIGCONT)


def trace(pid):
    checked(libc.ptrace(16, int(pid), 0, 0))


def descriptors():
    found = [number for number in range(3, 1024) if os.path.exists(f"/proc/self/fd/{number}")]
    if not found:
        raise OSError("no more than the standard ones")
    return found


def gain():
    os.setuid(0)


def rights():
    status = dict(line.split(":\t") for line in open("/proc/self/status") if ":\t" in line)
    held = [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")]
    if not any(held) and status["NoNewPrivs"].strip() == "1" and not any(resource.getrlimit(resource.RLIMIT_CORE)):
        raise OSError("none")
    return held


def blocked():
    return next(line for line in open("/proc/self/status") if line.startswith("SigBlk")).split()[1].strip("0")


def uncover(path):
    checked(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS))
    checked(libc.umount2(path.encode(), MNT_DETACH))


def memory(mib):
    mmap.mmap(-1, int(mib) << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()


def files(_):
    opened = []
    try:
        while True:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        count = len(opened)
    for number in opened:
        os.close(number)
    return count


def processes(most):
    started = []
    try:
        while len(started) < int(most):
            pid = os.fork()
            if pid == 0:
                signal.pause()
            started.append(pid)
    except OSError:
        pass
    for pid in started:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(started)


def raise_limit():
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_DATA, resource.RLIMIT_NPROC):
        most = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (most + 1, most + 1))


def linger(seconds):
    if os.fork() == 0:
        os.setsid()
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        libc.prctl(1, 0)
        if os.fork() == 0:
            null = os.open("/dev/null", os.O_RDWR)
            for number in range(3):
                os.dup2(null, number)
            os.execv("/bin/sleep", ["sleep", seconds])
        os._exit(0)
    os.wait()


def answer(id, result):
    print(json.dumps({"jsonrpc": "2.0", "id": id, "result": {"resultType": "complete", **result}}), flush=True)


def call(arguments):
    what, *words = arguments["mark"].split(" ")
    try:
        return f"done {globals()[what](*words)}"
    except (OSError, MemoryError, ValueError) as error:
        return f"failed {error!r}"


for line in sys.stdin:
    message = json.loads(line)
    id, method, params = message.get("id"), message.get("method"), message.get("params", {})
    if id is None:
        continue
    if method == "server/discover":
        answer(id, {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}})
    elif method == "tools/list":
        schema = {"type": "object", "properties": {"mark": {"type": "string"}}, "required": ["mark"]}
        answer(id, {"tools": [{"name": "attempt", "inputSchema": schema}]})
    elif method == "tools/call":
        if params["arguments"]["mark"] == "die":
            os._exit(0)
        answer(id, {"content": [{"type": "text", "text": call(params["arguments"])}], "isError": False})
