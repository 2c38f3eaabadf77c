"""The image's recipe, as far as it can be shown without building it."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.fixtures.network import HOST, free_port

ROOT = Path(__file__).parents[2]
INSTRUCTION = re.compile(r"([A-Z]+)\s+(.*)", re.DOTALL)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, each joined into one line."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(found[1], found[2]) for line in lines if (found := INSTRUCTION.fullmatch(line))]


def arguments(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def health_program() -> list[str]:
    command = arguments("HEALTHCHECK")[-1].partition("CMD ")[2]
    return [sys.executable, *json.loads(command)[1:]]


@contextmanager
def answering(status: HTTPStatus, asked: list[str]) -> Iterator[int]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer((HOST, 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def is_healthy(port: int) -> bool:
    env = {**os.environ, "TIDEGATE_HTTP_PORT": str(port), "http_proxy": "http://192.0.2.1:1"}
    return subprocess.run(health_program(), check=False, env=env, stderr=subprocess.DEVNULL, timeout=30).returncode == 0


@pytest.mark.parametrize(("status", "healthy"), [(HTTPStatus.OK, True), (HTTPStatus.SERVICE_UNAVAILABLE, False)])
def test_the_image_is_healthy_when_readyz_says_yes(status: HTTPStatus, *, healthy: bool) -> None:
    asked: list[str] = []
    with answering(status, asked) as port:
        assert is_healthy(port) is healthy
    assert asked == ["/readyz"]


def test_the_image_is_not_healthy_when_nobody_answers() -> None:
    assert not is_healthy(free_port())


def test_the_command_is_the_worker_and_takes_other_verbs() -> None:
    assert json.loads(arguments("ENTRYPOINT")[-1]) == ["tidegate"]
    assert json.loads(arguments("CMD")[-1]) == ["run"]


def test_it_runs_as_a_numbered_user_that_is_not_root() -> None:
    assert arguments("USER") == ["65532:65532"]


def test_it_listens_beyond_loopback() -> None:
    assert "TIDEGATE_HTTP_HOST=0.0.0.0" in arguments("ENV")[-1].split()


def test_every_package_is_pinned_by_hash_or_is_our_own() -> None:
    installs = [
        part for run in arguments("RUN") for part in run.split("&&") if re.search(r"pip\S* .*\b(install|wheel)\b", part)
    ]
    assert len(installs) == 4
    for install in installs:
        assert (
            "--require-hashes" in install
            or "--no-index --no-build-isolation" in install
            or "--no-index /wheels/" in install
        )


def test_what_is_copied_exists_and_passes_dockerignore() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    admitted = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert lines[0] == "*"
    for source in (name for copy in arguments("COPY") if "--from" not in copy for name in copy.split()[:-1]):
        assert source in admitted
        assert (ROOT / source).exists(), source
