"""Pages and pictures from the web, where that is asked for: slowly, within limits, and never from an address that points inside."""

from __future__ import annotations

import ipaddress
import socket
import time
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urljoin, urlsplit
from urllib.robotparser import RobotFileParser

import urllib3

from duogen.training.engine.config import FetchLimits
from duogen.training.engine.item import Dropped
from duogen.training.engine.sources import MAX_PAGE, MAX_PICTURE, Resources, inlined

MAX_ROBOTS = 500_000


@dataclass
class Fetcher:
    """Fetches over HTTP and HTTPS.

    An address's host is looked up once, all that it stands for must be public, and the connection is made to just that: a name can't
    change its mind between the check and the call. Each redirect is checked like the first address.

    Args:
        inside: also fetches from addresses that aren't public; for tests.
    """

    limits: FetchLimits
    inside: bool = False
    _robots: dict[str, RobotFileParser] = field(default_factory=dict, init=False, repr=False)
    _last: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    @staticmethod
    @lru_cache(maxsize=4)
    def of(limits: FetchLimits) -> Fetcher:
        """One a process: it remembers when it last asked whom."""
        return Fetcher(limits)

    def page(self, url: str) -> bytes:
        return self(url, MAX_PAGE)

    def picture(self, url: str) -> bytes:
        return self(url, MAX_PICTURE)

    def __call__(self, url: str, limit: int) -> bytes:
        """The bytes at an address.

        Raises:
            Dropped: it may not be fetched, can't be reached, is too large, or leads in circles.
        """
        for _ in range(self.limits.max_redirects + 1):
            host = self._allowed(url)
            robot = self._robot(url)
            if not robot.can_fetch(self.limits.agent, url):
                raise Dropped("robots.txt doesn't allow it")
            self._wait(host, robot)
            status, headers, body = self._get(url, limit)
            if status in (301, 302, 303, 307, 308):
                url = urljoin(url, headers.get("location", ""))
                continue
            if status != 200:
                raise Dropped(f"the server answers {status}")
            return body
        raise Dropped(f"more than {self.limits.max_redirects} redirects")

    def _allowed(self, url: str) -> str:
        try:
            parts = urlsplit(url)
            host = parts.hostname
            _ = parts.port
        except ValueError as error:
            raise Dropped("no usable address") from error
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            raise Dropped("no usable address")
        return host

    def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = sorted({str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
        except (OSError, UnicodeError) as error:
            raise Dropped(f"{host}: there is no such host") from error
        if not self.inside and any(not ipaddress.ip_address(each.partition("%")[0]).is_global for each in found):
            raise Dropped(f"{host}: points inside")
        return found

    def _get(self, url: str, limit: int) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(url)
        host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
        address = self._addresses(host, port)[0]
        timeout = urllib3.Timeout(self.limits.timeout)
        pool: urllib3.HTTPConnectionPool
        if parts.scheme == "https":
            pool = urllib3.HTTPSConnectionPool(
                address, port, timeout=timeout, server_hostname=host, assert_hostname=host
            )
        else:
            pool = urllib3.HTTPConnectionPool(address, port, timeout=timeout)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        own = host if parts.port is None else f"{host}:{port}"
        headers = {"Host": own, "User-Agent": self.limits.agent, "Accept": "text/html,image/png,image/jpeg,image/webp"}
        end = time.monotonic() + 10 * self.limits.timeout
        try:
            with pool:
                answer = pool.urlopen(
                    "GET", target, headers=headers, redirect=False, retries=False, preload_content=False
                )
                body = b""
                for piece in answer.stream(65536, decode_content=True):
                    body += piece
                    if len(body) > limit:
                        raise Dropped(f"more than {limit:,} bytes")
                    if time.monotonic() > end:
                        raise Dropped("it takes too long")
                return answer.status, {name.lower(): value for name, value in answer.headers.items()}, body
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Dropped(f"{host} can't be reached ({type(error).__name__})") from error

    def _robot(self, url: str) -> RobotFileParser:
        parts = urlsplit(url)
        site = f"{parts.scheme}://{parts.netloc}"
        if site not in self._robots:
            robot = RobotFileParser()
            try:
                status, _, body = self._get(f"{site}/robots.txt", MAX_ROBOTS)
            except Dropped as why:
                if "points inside" in str(why) or "no such host" in str(why):
                    raise
                status, body = 503, b""
            if status in (401, 403) or status >= 500:
                robot.parse(
                    ["User-agent: *", "Disallow: /"]
                )  # RFC 9309, section 2.3.1: a server in trouble allows nothing
            elif status != 200:
                robot.parse([])  # none: all is allowed
            else:
                robot.parse(body.decode("utf-8", "replace").splitlines())
            self._robots[site] = robot
        return self._robots[site]

    def _wait(self, host: str, robot: RobotFileParser) -> None:
        asked = robot.crawl_delay(self.limits.agent)
        gap = max(self.limits.seconds_between, min(60.0, float(asked or 0)))
        left = self._last.get(host, -gap) + gap - time.monotonic()
        if left > 0:
            time.sleep(left)
        self._last[host] = time.monotonic()


@dataclass(frozen=True)
class Fetched:
    """What is beside a page, or else what is fetched from where it says.

    Args:
        base: the page's own address.
    """

    near: Resources
    fetcher: Fetcher
    base: str

    def __call__(self, url: str) -> bytes:
        if url.startswith("data:"):
            return inlined(url)
        try:
            return self.near(url)
        except Dropped:
            whole = urljoin(self.base, url)
            if not whole.startswith(("http://", "https://")):
                raise
            return self.fetcher.picture(whole)
