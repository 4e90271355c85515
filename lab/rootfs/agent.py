"""Runs commands in a site host for the lab, over the out-of-band link (its "BMC").

It decides nothing and knows nothing of Tandem. Standard library only, so that it starts before
anything else works. One connection is one command:

  request   one line of JSON {"argv": [...], "timeout_s": 30, "stdin_bytes": 0, "env": {}},
            then stdin_bytes bytes
  answer    frames of one letter, a 4-byte length and that many bytes:
            o stdout, e stderr, then exactly one of x exit code, t timed out, f failed to start

Started by runit; its only caller is tandem_lab.agent_client.
"""

import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

PORT = 7000
CHUNK_BYTES = 65536
# A process stuck in the kernel (frozen disk) cannot be killed; do not wait for it for ever.
KILL_GRACE_S = 1.0


def main() -> None:
    listener = socket.create_server(("0.0.0.0", PORT), reuse_port=False, backlog=64)
    print(f"agent: listening on {PORT}", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def serve(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with connection, connection.makefile("rb") as reader:
            request = json.loads(reader.readline())
            data = reader.read(request.get("stdin_bytes", 0))
            run(connection, request, data)
    except (OSError, ValueError) as error:
        print(f"agent: {error}", file=sys.stderr, flush=True)


def run(connection: socket.socket, request: dict, data: bytes) -> None:
    environment = {**os.environ, "HOME": "/root", "LC_ALL": "C.UTF-8", **request.get("env", {})}
    try:
        process = subprocess.Popen(
            request["argv"],
            stdin=subprocess.PIPE if data else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        send(connection, b"f", str(error).encode())
        return
    if data:
        threading.Thread(target=feed, args=(process, data), daemon=True).start()
    deadline = time.monotonic() + request["timeout_s"]
    finished = relay(connection, process, deadline)
    if finished:
        send(connection, b"x", str(process.returncode).encode())
    else:
        send(connection, b"t", b"")


def feed(process: subprocess.Popen, data: bytes) -> None:
    try:
        with process.stdin:
            process.stdin.write(data)
    except OSError:
        pass


def relay(connection: socket.socket, process: subprocess.Popen, deadline: float) -> bool:
    """Send output on as it comes; False if the deadline passed or the caller went away."""
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ, b"o")
    selector.register(process.stderr, selectors.EVENT_READ, b"e")
    selector.register(connection, selectors.EVENT_READ, b"")
    try:
        while len(selector.get_map()) > 1:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                kill(process)
                return False
            # A daemon that the command left behind may hold its output open: the end of the
            # command itself is looked at twice a second.
            events = selector.select(min(remaining_s, 0.5))
            if not events and process.poll() is not None:
                return True
            for key, _ in events:
                if key.data == b"":
                    # Nothing more is ever sent by a caller: this is its end.
                    kill(process)
                    return False
                chunk = os.read(key.fd, CHUNK_BYTES)
                if chunk:
                    send(connection, key.data, chunk)
                else:
                    selector.unregister(key.fileobj)
        process.wait(max(0.0, deadline - time.monotonic()))
        return True
    except subprocess.TimeoutExpired:
        kill(process)
        return False
    except OSError:
        kill(process)
        raise
    finally:
        selector.close()


def kill(process: subprocess.Popen) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(KILL_GRACE_S)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass


def send(connection: socket.socket, kind: bytes, data: bytes) -> None:
    connection.sendall(kind + struct.pack(">I", len(data)) + data)


if __name__ == "__main__":
    main()
