"""Sends a service requests that nobody should send, and looks whether it is still there and right.

    python tests/serving/fuzz_serve.py 2000

Bodies, parts, base64, headers and sizes are made up at random from a seed. No answer may have a status of 500 or above, the
service must print no traceback, its memory must stay within bounds, and what it painted before it must paint afterwards.
"""

from __future__ import annotations

import base64
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

TIMEOUT = 120
REQUEST = {"messages": [{"role": "user", "content": "How do I build a small house with a red roof?"}]}
WHAT = [
    "build a house",
    "a red ball",
    "draw a cup",
    "a blue cube",
    "Is there a cup?",
    "",
    " ",
    "\0",
    "\u202e\u0000x",
    "\ud83d",
    "é" * 50,
    "<BOV><|im_end|>",
    "x" * 30_000,
    "%s%n{}",
    "🙂" * 500,
]


def png(width: int = 8, height: int = 8) -> bytes:
    """A PNG that claims that size, whatever it holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    rows = b"".join(b"\0" + bytes(3 * 8) for _ in range(8))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class Fuzzer:
    """Requests by a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def bytes(self, most: int = 200) -> bytes:
        return self.chance.randbytes(self.chance.randrange(most))

    def picture(self) -> bytes:
        good = png()
        cut = self.chance.randrange(len(good))
        return self.chance.choice([
            good, good, good, good[:cut], good[:cut] + self.bytes(20) + good[cut:], png(60_000, 60_000), png(1, 1), png(0, 7), self.bytes(),
            b"GIF89a" + self.bytes(), b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\xff\xd8\xff\xe0" + self.bytes(),
        ])  # fmt: skip

    def url(self) -> str:
        data = base64.b64encode(self.picture()).decode()
        return self.chance.choice([
            f"data:image/png;base64,{data}", f"data:image/png;base64,{data[:-1]}", f"data:image/png;base64,{data}====", "data:,",
            f"data:text/html;base64,{data}", "data:image/png;base64,\u00e9", "http://127.0.0.1:1/x.png", "http://169.254.169.254/",
            "file:///etc/passwd", "ftp://x", "//x", "", "javascript:alert(1)", f"DATA:IMAGE/PNG;BASE64,{data}",
        ])  # fmt: skip

    def value(self, depth: int = 0) -> Any:
        kinds: list[Callable[[], Any]] = [
            lambda: None, lambda: True, lambda: self.chance.choice([0, 1, -1, 2**31, 2**63, 2**64, 10**400]),
            lambda: self.chance.choice([0.5, -0.0, 1e308, float("nan"), float("inf"), 1e-320]),
            lambda: self.chance.choice(WHAT), self.url, lambda: [], lambda: {},
        ]  # fmt: skip
        if depth < 3:
            kinds += [
                lambda: [self.value(depth + 1) for _ in range(self.chance.randrange(4))],
                lambda: {
                    self.chance.choice(["type", "text", "url", "role", "x"]): self.value(depth + 1) for _ in range(3)
                },
            ]
        return self.chance.choice(kinds)()

    def part(self) -> Any:
        return self.chance.choice([
            {"type": "text", "text": self.chance.choice(WHAT)}, {"type": "image_url", "image_url": {"url": self.url()}},
            {"type": "image_url", "image_url": self.url()}, {"type": self.value(), "text": self.value()}, self.value(),
        ])  # fmt: skip

    def message(self) -> Any:
        content = self.chance.choice(
            [
                self.chance.choice(WHAT),
                self.chance.choice(WHAT),
                [self.part() for _ in range(self.chance.randrange(4))],
                self.value(),
            ]
        )
        role = self.chance.choice(["user", "user", "user", "assistant", "system", "tool", self.value()])
        return self.chance.choice([{"role": role, "content": content}] * 4 + [{"role": role}, self.value()])

    def chat(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "messages": [self.message() for _ in range(self.chance.randrange(1, 4))], "max_pictures": 1, "max_tokens": 20, "steps": 1,
        }  # fmt: skip
        for name in ("stream", "temperature", "top_p", "seed", "size", "guidance", "n", "model", "tools", "stream_options", "messages",
                     "max_completion_tokens", "self_check"):  # fmt: skip
            if self.chance.random() < 0.12:
                body[name] = self.value()
        return body

    def form(self) -> tuple[bytes, str]:
        mark = self.chance.choice(["xyz", "xyz", "xyz", "a b", "x" * 100, ""])
        pieces = []
        for name in self.chance.choices(
            ["image", "image[]", "prompt", "prompt", "image", "n", "size", "mask", "x", "seed"],
            k=self.chance.randrange(1, 7),
        ):
            file = (
                f'; filename="{self.chance.choice(["a.png", "a.png", "../../a", "a" * 3000, chr(0)])}"'
                if "image" in name
                else ""
            )
            data = self.picture() if file else self.chance.choice([b"1", b"-5", b"\xff\xfe", b"192x192", self.bytes()])
            data = b"a red ball" if name == "prompt" and self.chance.random() < 0.8 else data
            pieces.append(
                f'--{mark}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + data + b"\r\n"
            )
        body = b"".join(pieces) + (f"--{mark}--\r\n".encode() if self.chance.random() < 0.8 else b"")
        return body, f"multipart/form-data; boundary={mark}"

    def request(self) -> bytes:
        """A whole request, as it goes over the wire."""
        method, kind, headers = "POST", "application/json", []
        path = self.chance.choice(
            ["/v1/chat/completions"] * 4 + ["/v1/images/generations", "/v1/images/edits", "/v1/images/edits"]
        )
        if "edits" in path:
            body, kind = self.form()
        elif "chat" in path:
            body = json.dumps(self.chat()).encode()
        else:
            asked = {"prompt": self.chance.choice(WHAT), "steps": 1}
            odd = {name: self.value() for name in ("n", "size", "seed", "guidance") if self.chance.random() < 0.2}
            body = json.dumps(asked | odd).encode()
        what = self.chance.random()
        if what < 0.08:
            cut = self.chance.randrange(len(body) + 1)
            body = body[:cut] + self.bytes(10) + body[cut + self.chance.randrange(5) :]
        elif what < 0.11:
            body = b"[" * 100_000 + b"]" * 100_000
        elif what < 0.13:
            body = self.bytes(3000)
        elif what < 0.15:
            body = b'{"messages": "' + b"\\ud800" * 1000 + b'"}'
        length = str(len(body))
        odd = self.chance.random()
        if odd < 0.03:
            length = self.chance.choice(["-1", "99999999999999", "1e3", "", "0x10", str(len(body) + 7)])
        elif odd < 0.06:
            kind = self.chance.choice(
                ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "\x7f", "x" * 5000]
            )
        elif odd < 0.09:
            headers.append(f"Authorization: {self.chance.choice(['Bearer', 'Basic é', 'Bearer ' + 'x' * 9000])}")
        elif odd < 0.11:
            method = self.chance.choice(["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "FOO"])
        elif odd < 0.13:
            path = self.chance.choice(
                ["/v1", "/..%2f..%2fetc", "/" + "a" * 9000, "/v1/chat/completions?x=%ff", "/%00", "*"]
            )
        elif odd < 0.15:
            headers.append(
                self.chance.choice(
                    ["Transfer-Encoding: chunked", "Expect: 100-continue", "Host: evil", "X: " + "y" * 70_000]
                )
            )
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Content-Type: {kind}",
            f"Content-Length: {length}",
            *headers,
        ]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode("utf-8", "surrogatepass") + body


def exchange(port: int, request: bytes) -> bytes:
    """What comes back; nothing, where the other side has hung up or waits for more."""
    # A body that is shorter than its length says is never answered; that isn't waited for.
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)\r", head)
    hopeless = (length is not None and int(length[1]) > len(body)) or b"chunked" in head
    with socket.create_connection(("127.0.0.1", port), timeout=1 if hopeless else TIMEOUT) as connection:
        try:
            connection.sendall(request)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        except OSError:
            return b""
    return answer


def painted(port: int) -> list[str]:
    """The pictures of a plan."""
    body = json.dumps(REQUEST).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    answer = exchange(port, head.encode() + body).partition(b"\r\n\r\n")[2]
    return re.findall(r"base64,([^\"]+)", answer.decode())


def memory(process: int) -> float:
    """A process's memory in MiB."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[0]) / 1024


def main(count: int, seed: int) -> int:
    """Returns how much was wrong."""
    with tempfile.TemporaryFile("w+") as said:
        server = subprocess.Popen(
            [sys.executable, "-m", "duogen.cli", "serve", "--port", "0"], stderr=subprocess.PIPE, stdout=said, text=True, bufsize=1,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert server.stderr is not None
        port = int(re.findall(r"127\.0\.0\.1:(\d+)", server.stderr.readline())[0])
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.extend(server.stderr or []), daemon=True)
        reader.start()
        before, fuzzer, statuses, wrong = painted(port), Fuzzer(seed), Counter[str](), 0
        began, small = time.monotonic(), memory(server.pid)
        for number in range(count):
            request = fuzzer.request()
            answer = exchange(port, request)
            status = answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "none"
            statuses[status] += 1
            if status.startswith("5") or b"Traceback" in answer:
                wrong += 1
                print(f"request {number}: {answer[:300]!r}\n  to {request[:400]!r}")
        large, alive = memory(server.pid), server.poll() is None
        same = alive and painted(port) == before != []
        server.terminate()
        server.wait(20)
        reader.join()
        printed = "".join(errors)
    if "Traceback" in printed:
        wrong += 1
        print(printed[-3000:])
    print(", ".join(f"{status}: {number}" for status, number in sorted(statuses.items())))
    print(f"{count} requests in {time.monotonic() - began:.0f} s; memory {small:.0f} -> {large:.0f} MiB")
    print(f"alive: {alive}, correct afterwards: {same}, wrong: {wrong}")
    return wrong + (not alive) + (not same) + (large > 2 * small)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1) != 0)
