"""terraform apply against an emulator of AWS, beside the other tests: nearly all of it is the provider's own waiting.

Apply takes a minute and a half, destroy more than one, and neither needs much of a processor. So a process of its own
begins to apply when the tests have been collected, and destroys while others test; the tests of test_apply.py wait for
what they need. It ends with the test session that began it, however that ends.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil

from local.postgres import free_port
from local.supervisor import spawn
from tests.infrastructure.terraform import NotToBeHad, Terraform

REPOSITORY = Path(__file__).parents[2]
EMULATOR = Path(__file__).with_name("aws_emulator.py")
MOTO = "moto[server]==5.2.5"
ACCOUNT = "123456789012"
REGION = "eu-west-1"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
VARIABLES = {
    "environment": "dev",
    "account_id": ACCOUNT,
    "domain_name": "medilink.example.org",
    "allowed_cidr_blocks": ["203.0.113.0/24"],
    "alarm_emails": ["oncall@example.org"],
    "deletion_protection": False,
}
PATIENCE_SECONDS = 600


@dataclass(frozen=True)
class Emulated:
    """The stack and its emulator. The process that makes it leaves what it did in files of `folder`."""

    folder: Path
    port: int

    @property
    def address(self) -> str:
        """The emulator's; TLS, because the bucket's policy refuses anything else."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def authority(self) -> Path:
        """The certificate that its clients trust."""
        return self.folder / "certificate.pem"

    @property
    def terraform(self) -> Terraform:
        """Terraform over the copy that was applied."""
        return Terraform(self.folder / "terraform", self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """What points boto3, the aws command line and Terraform to the emulator."""
        place = {"AWS_ENDPOINT_URL": self.address, "AWS_CA_BUNDLE": str(self.authority), "AWS_REGION": REGION}
        return KEYS | place | {"AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}

    def client(self, service: str) -> Any:
        """A client of one of the emulated services."""
        return boto3.client(
            service,
            REGION,
            endpoint_url=self.address,
            verify=str(self.authority),
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def told(self, what: str, patience: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """What was left under this name; waits for it so many seconds."""
        answer = self.folder / f"{what}.json"
        deadline = time.monotonic() + patience
        while not answer.exists():
            assert time.monotonic() < deadline, f"nothing was {what} within {patience} s: {self.log()}"
            time.sleep(0.2)
        return json.loads(answer.read_text(encoding="utf-8"))

    def tell(self, what: str, **answer: object) -> None:
        """Leave an answer, whole or not at all."""
        unfinished = self.folder / f"{what}.new"
        unfinished.write_text(json.dumps(answer), encoding="utf-8")
        unfinished.replace(self.folder / f"{what}.json")

    def log(self) -> str:
        """The end of what the process printed."""
        return (self.folder / "log").read_text(encoding="utf-8")[-3000:]


def begin() -> Emulated:
    """The stack of this test session; the first worker that asks starts to apply, in a process of its own."""
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"{os.getpid()}"
    folder = Path(tempfile.gettempdir()) / f"medilink-aws-{session}"
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    else:
        port, watched = free_port(), os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
        with (folder / "log").open("wb") as log:
            subprocess.run(
                [sys.executable, "-P", "-m", __name__, str(folder), str(port), str(watched)],
                env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                check=True,
            )
        Emulated(folder, port).tell("begun", port=port)
    return Emulated(folder, Emulated(folder, 0).told("begun")["port"])


def make(stack: Emulated) -> None:
    """Emulator, apply, second plan; and, when asked to, destroy."""
    try:
        _start_emulator(stack)
        terraform = Terraform.prepare(stack.folder)
    except NotToBeHad as reason:
        stack.tell("applied", not_to_be_had=str(reason))
        return
    terraform.environment.update(stack.environment)
    certificate = stack.client("acm").request_certificate(DomainName="*.medilink.example.org")
    variables = VARIABLES | {"certificate_arn": certificate["CertificateArn"]}
    (terraform.folder / "test.auto.tfvars.json").write_text(json.dumps(variables), encoding="utf-8")
    applied = terraform("apply", "-auto-approve", "-input=false", "-no-color", "-parallelism=30")
    if applied.returncode:
        stack.tell("applied", failure=applied.stderr[-4000:])
        return
    plan = terraform("plan", "-detailed-exitcode", "-input=false", "-no-color", "-parallelism=30")
    outputs = json.loads(terraform("output", "-json").stdout)
    stack.tell(
        "applied",
        outputs={name: output["value"] for name, output in outputs.items()},
        plan_exit_code=plan.returncode,
        plan=plan.stdout[-4000:] + plan.stderr[-2000:],
    )
    stack.told("wanted-back", math.inf)
    destroyed = terraform("destroy", "-auto-approve", "-input=false", "-no-color", "-parallelism=30")
    stack.tell("destroyed", exit_code=destroyed.returncode, failure=destroyed.stderr[-4000:])


def _start_emulator(stack: Emulated) -> None:
    uv = shutil.which("uv")
    if uv is None or shutil.which("openssl") is None:
        raise NotToBeHad("uv and openssl are not both on PATH; ./test.sh brings uv.")
    # Its packages contradict ours, and nobody who starts Medilink needs them.
    python = [uv, "run", "--quiet", "--no-project", "--no-config", "--with", MOTO, "python"]
    fetched = subprocess.run([*python, "-c", "import moto"], capture_output=True, text=True, check=False)
    if fetched.returncode:
        raise NotToBeHad(f"{MOTO} cannot be fetched from PyPI: {fetched.stderr.strip()[-300:]}")
    key = stack.folder / "key.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    files = ["-keyout", key, "-out", stack.authority, "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*request, *files], capture_output=True, check=True)
    server = ["-H", "127.0.0.1", "-p", str(stack.port), "-c", str(stack.authority), "-k", str(key)]
    spawn(
        [*python, str(EMULATOR), *server],
        environment=os.environ | KEYS | {"AWS_DEFAULT_REGION": REGION},
        folder=stack.folder,
        log=stack.folder / "emulator.log",
    )
    trusted = ssl.create_default_context(cafile=stack.authority)
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{stack.address}/moto-api/", context=trusted, timeout=2).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise NotToBeHad(f"the emulator does not answer: {(stack.folder / 'emulator.log').read_text()[-500:]}")


def _end_with(watched: psutil.Process, stack: Emulated) -> None:
    """When the tests are over, or were killed, nothing of this is left."""
    with suppress(psutil.NoSuchProcess):
        watched.wait()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    shutil.rmtree(stack.folder)
    os._exit(0)


if __name__ == "__main__":
    # Nobody waits for it: the tests ask for what it leaves, and it watches them.
    if os.fork():
        os._exit(0)
    stack = Emulated(Path(sys.argv[1]), int(sys.argv[2]))
    threading.Thread(target=_end_with, args=[psutil.Process(int(sys.argv[3])), stack], daemon=True).start()
    try:
        make(stack)
    except Exception as error:  # noqa: BLE001 - whatever ended it is told to the tests
        stack.tell("applied", failure=f"{type(error).__name__}: {error}")
    # The emulator ends with this process, and is asked until the tests are done.
    signal.pause()
