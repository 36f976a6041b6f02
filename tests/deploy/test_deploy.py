"""The files of deploy/: run for real where their program can be had, else checked against what they name."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
import yaml
from tests.conftest import Serve, Served
from tests.nginx import nginx_with
from tests.puppet import Scripted
from tests.servers import free_port, running

from dazi.doctor import Patient, examine
from dazi.errors import UpstreamError
from dazi.safety.plan import Safety
from dazi.settings import Settings
from dazi.upstream import Finish, Prompt, Sink
from dazi.upstream.balance import Seat
from dazi.upstream.demo import DemoUpstream
from dazi.upstream.member import Member
from dazi.upstream.pool import Pool, Rules

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
CERTIFICATE = ROOT / "tests" / "upstream" / "localhost.pem"
ADMIN = "the-operators-own-key-9"
USER = "a-key-of-a-user-123"
Yaml = Any  # what a file holds


def text(path: str) -> str:
    return (DEPLOY / path).read_text("utf-8")


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def troubles(url: str) -> dict[str, str]:
    return {one.check: one.words async for one in examine(Patient(url=url, wait=2)) if one.is_trouble}


async def test_the_nginx_site_streams(serve: Serve, stack: AsyncExitStack, tmp_path: Path) -> None:
    """As it stands in the file, but for the ports and the certificate."""
    served = await serve({"demo": DemoUpstream()})
    shutil.copy(DEPLOY / "two-nodes" / "dazi-proxy.conf", tmp_path)
    site = text("nginx/dazi.conf").replace("127.0.0.1:8000", f"127.0.0.1:{served.port}")
    site = re.sub(r"/etc/ssl/\S+\.pem", str(CERTIFICATE), site)
    port = await stack.enter_async_context(nginx_with(tmp_path, site, listen="443"))
    found = await troubles(f"https://localhost:{port}")
    assert found.keys() == {"tls"}  # nobody vouches for the test's certificate


async def test_the_nginx_of_compose_streams(serve: Serve, stack: AsyncExitStack, tmp_path: Path) -> None:
    """As it stands in the file, but for its port, the gateways' names, and that Debian's nginx cannot look them up again."""
    served = await serve({"demo": DemoUpstream()})
    shutil.copy(DEPLOY / "two-nodes" / "dazi-proxy.conf", tmp_path)
    site = text("docker/nginx.conf").replace(" resolve;", ";")
    site = re.sub(r"gateway-[ab]:8000", f"127.0.0.1:{served.port}", site)
    port = await stack.enter_async_context(nginx_with(tmp_path, site, listen="80"))
    assert await troubles(f"http://127.0.0.1:{port}") == {}


async def test_caddy_streams(serve: Serve, stack: AsyncExitStack, tmp_path: Path) -> None:
    served = await serve({"demo": DemoUpstream()})
    port = free_port()
    site = text("caddy/Caddyfile").replace("127.0.0.1:8000", f"127.0.0.1:{served.port}")
    site = site.replace("chat.example.com {", f"http://127.0.0.1:{port} {{")
    file = tmp_path / "Caddyfile"
    file.write_text("{\n\tadmin off\n}\n" + site)
    await stack.enter_async_context(
        running("caddy", "run", "--config", str(file), "--adapter", "caddyfile", folder=tmp_path, port=port)
    )
    assert await troubles(f"http://127.0.0.1:{port}") == {}


def test_the_unit_is_one(tmp_path: Path) -> None:
    """As it stands in the file, but for where the program is."""
    unit = tmp_path / "dazi.service"
    unit.write_text(text("systemd/dazi.service").replace("/opt/dazi/.venv/bin/dazi", "/bin/true"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False
    )
    assert (checked.returncode, [line for line in checked.stderr.splitlines() if "dazi" in line]) == (0, [])


def test_every_setting_that_is_named_is_one() -> None:
    files = [path for path in DEPLOY.rglob("*") if path.is_file()]
    named = {name for path in files for name in re.findall(r"\bDAZI_([A-Z_]+)\b", path.read_text("utf-8"))}
    assert named
    assert {name.lower() for name in named} <= set(Settings.__struct_fields__)


def test_the_image_is_small_runs_as_nobody_and_knows_its_health() -> None:
    lines = text("docker/Dockerfile").splitlines()
    words = [line.split()[0] for line in lines if re.match(r"[A-Z]+ ", line)]
    last = len(words) - 1 - words[::-1].index("FROM")
    assert {"USER", "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT"} <= set(words[last:])
    assert words.count("FROM") == 2
    assert "USER 10001" in lines
    copied = [
        part for line in lines if line.startswith("COPY ") and "--from" not in line for part in line.split()[1:-1]
    ]
    assert all((ROOT / part).exists() for part in copied)
    assert all(f"!{part}" in (ROOT / ".dockerignore").read_text() for part in copied)


def test_compose_mounts_what_there_is_and_gives_the_drain_its_time() -> None:
    compose: Yaml = yaml.safe_load(text("docker/compose.yaml"))
    services = compose["services"]
    assert services["gateway-a"] == services["gateway-b"]
    assert int(services["gateway-a"]["stop_grace_period"].removesuffix("s")) > Settings().drain
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())]
    assert all((DEPLOY / "docker" / path).is_file() for path in mounted if path.startswith("."))
    assert {path for path in mounted if not path.startswith(".")} == compose["volumes"].keys()
    assert all(
        not str(port).startswith(("0.0.0.0", "80", "8000:"))
        for one in services.values()
        for port in one.get("ports", ())
    )


def test_kubernetes_gives_the_drain_its_time_and_asks_where_we_answer() -> None:
    parts = {part["kind"]: part for part in yaml.safe_load_all(text("kubernetes/dazi.yaml"))}
    assert parts.keys() == {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "Ingress"}
    pod = parts["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > float(parts["ConfigMap"]["data"]["DAZI_DRAIN"])
    (container,) = pod["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert parts["Service"]["spec"]["selector"] == parts["Deployment"]["spec"]["selector"]["matchLabels"]


class Flaky:
    """Answers, but for each third time."""

    def __init__(self) -> None:
        self.asked = 0

    async def generate(self, prompt: Prompt, sink: Sink) -> Finish:
        self.asked += 1
        if self.asked % 3 == 0:
            raise UpstreamError("upstream_error", "It does not want to.", retryable=True)
        await asyncio.sleep(0.05)
        return await Scripted("a", "b", "c", usage=None).generate(prompt, sink)


@pytest.mark.timeout(180)
async def test_every_query_of_the_dashboard_and_the_alerts_has_data_from_a_real_prometheus(
    serve: Serve, stack: AsyncExitStack, tmp_path: Path
) -> None:
    houses = Pool([Seat(Member(name, Flaky()), "several", "m") for name in ("one", "two")], Rules(backoff=0))
    models = {"m": DemoUpstream(pace=2000), "flaky": Flaky(), "several": houses}
    served = await serve(models, settings=everything(tmp_path))
    prometheus = await stack.enter_async_context(scraping(served, tmp_path))
    load = asyncio.gather(*(keep_busy(served) for _ in range(3)))
    try:
        queries, until = {*dashboard_queries(), *alert_queries()}, monotonic() + 90
        while queries and monotonic() < until:
            queries -= {query for query in queries if await has_data(prometheus, query)}
            await asyncio.sleep(0.3)
        assert queries == set()
    finally:
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)


async def test_every_number_that_the_gateway_tells_is_on_the_dashboard(serve: Serve) -> None:
    served = await serve({"m": Scripted("a")})
    told = set(re.findall(r"(?m)^# TYPE (dazi_\w+)", (await served.client.get("/metrics")).text))
    assert told
    assert {name for name in told if not any(name in query for query in dashboard_queries())} == set()


def everything(folder: Path) -> Settings:
    """A log on the disk, a line for those who cannot start at once, and a checker: all that has numbers of its own."""
    (folder / "words.txt").write_text("never said\n")
    return Settings(
        log=f"sqlite:///{folder}/log.db",
        fsync="normal",
        api_keys=(USER,),
        admin_key=ADMIN,
        running_total=1,
        queue=1,
        safety=Safety(words=(f"{folder}/words.txt",)),
    )


def dashboard_queries() -> list[str]:
    panels = json.loads(text("grafana/dashboard.json"))["panels"]
    return [target["expr"].replace("$__rate_interval", "10s") for panel in panels for target in panel["targets"]]


def alert_queries() -> list[str]:
    rules: Yaml = yaml.safe_load(text("prometheus/alerts.yml"))
    asked = [rule["expr"].rsplit(" > ", 1)[0] for group in rules["groups"] for rule in group["rules"]]
    common = {'why="stalled"': 'why="finished"', 'verdict="unchecked"': 'verdict="pass"'}
    return [
        re.sub("|".join(common), lambda rare: common[rare[0]], re.sub(r"\[\w+\]", "[10s]", query)) for query in asked
    ]


async def keep_busy(served: Served) -> None:
    """Ask and read again, as one of several for whom there is not always a place."""
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    headers = {"Authorization": f"Bearer {USER}"}
    while True:
        for model in ("m", "flaky", "several"):
            answer = await served.client.post("/v1/generations", json={**body, "model": model}, headers=headers)
            if answer.status_code == 200:
                await served.client.get(f"/v1/generations/{answer.headers['dazi-generation']}/events", headers=headers)
            await asyncio.sleep(0.05)


@asynccontextmanager
async def scraping(served: Served, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Run Prometheus, with the configuration of deploy/ but for its address and pace; gives its client."""
    port = free_port()
    (folder / "admin_key").write_text(ADMIN)
    settings: Yaml = yaml.safe_load(text("prometheus/prometheus.yml"))
    settings["global"]["scrape_interval"] = "1s"
    settings["rule_files"] = [str(DEPLOY / "prometheus" / "alerts.yml")]
    (job,) = settings["scrape_configs"]
    job["authorization"]["credentials_file"] = str(folder / "admin_key")
    job["static_configs"] = [{"targets": [f"127.0.0.1:{served.port}"]}]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(settings))
    options = (f"--config.file={file}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}")
    async with (
        running("prometheus", *options, folder=folder, port=port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        yield client


async def has_data(prometheus: httpx.AsyncClient, query: str) -> bool:
    """Whether a query has a number now."""
    answer = (await prometheus.get("/api/v1/query", params={"query": query})).json()
    if answer["status"] != "success":
        return False
    return any(sample["value"][1] not in ("NaN", "+Inf") for sample in answer["data"]["result"])
