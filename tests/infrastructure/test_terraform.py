"""Terraform without an account: form, refusals and guarantees (terraform/tests), policy, names that users know."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from local.environment import ServiceSettings
from tests.infrastructure.conftest import REPOSITORY, Run
from tests.infrastructure.terraform import SOURCE, Terraform

FILES = sorted(SOURCE.rglob("*.tf"))
VARIABLES = (SOURCE / "variables.tf").read_text(encoding="utf-8")
OUTPUTS = (SOURCE / "outputs.tf").read_text(encoding="utf-8")

# What infrastructure.md asks an answer to.
CONTROLS = [
    "S3.1",
    "S3.5",
    "S3.8",
    "S3.9",
    "S3.12",
    "S3.13",
    "S3.14",
    "S3.15",
    "S3.17",
    "RDS.1",
    "RDS.2",
    "RDS.3",
    "RDS.4",
    "RDS.5",
    "RDS.8",
    "RDS.10",
    "RDS.11",
    "RDS.13",
    "RDS.26",
    "RDS.36",
    "RDS.38",
    "EC2.2",
    "EC2.3",
    "EC2.6",
    "EC2.7",
    "EC2.8",
    "EC2.9",
    "EC2.13",
    "EC2.19",
    "IAM.1",
    "IAM.2",
    "IAM.21",
    "KMS.1",
    "KMS.3",
    "KMS.4",
    "CloudTrail.1",
    "CloudTrail.2",
    "CloudTrail.4",
    "CloudTrail.5",
    "ELB.1",
    "ELB.5",
    "ELB.6",
    "ELB.13",
    "SecretsManager.1",
    "GuardDuty.1",
    "SSM.1",
]


def test_is_formatted(terraform: Terraform) -> None:
    checked = terraform("fmt", "-check", "-diff", "-recursive", str(SOURCE))
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("folder", [".", "state"])
def test_is_valid(terraform: Terraform, folder: str) -> None:
    if folder != ".":
        assert terraform.initialise(folder).returncode == 0
    answer = json.loads(terraform(f"-chdir={folder}", "validate", "-json").stdout)
    assert answer["diagnostics"] == []


def test_refuses_and_guarantees(terraform: Terraform) -> None:
    tested = terraform("test", "-no-color")
    assert tested.returncode == 0, tested.stdout[-5000:] + tested.stderr[-2000:]
    assert re.search(r"Success! (\d+) passed, 0 failed\.", tested.stdout), tested.stdout[-300:]


def test_a_removed_guarantee_is_noticed(terraform: Terraform) -> None:
    """The tests can fail."""
    module = terraform.folder / "modules" / "database" / "main.tf"
    original = module.read_text(encoding="utf-8")
    damaged = re.sub(r"(storage_encrypted +=) true", r"\1 false", original)
    assert damaged != original
    try:
        module.write_text(damaged, encoding="utf-8")
        tested = terraform("test", "-no-color", "-filter=tests/database.tftest.hcl")
    finally:
        module.write_text(original, encoding="utf-8")
    assert "the database is not encrypted with the key of the environment" in tested.stdout + tested.stderr


def test_policy_has_no_unexplained_failure(program: Run) -> None:
    checked = program("checkov", "--directory", SOURCE, "--compact", "--quiet", "--output", "json", "--skip-download")
    found = json.loads(checked.stdout)
    reports = found if isinstance(found, list) else [found]
    failed = [
        (check["check_id"], check["resource"], check["file_path"])
        for report in reports
        for check in report["results"]["failed_checks"]
    ]
    assert failed == []
    assert sum(report["summary"]["passed"] for report in reports) > 300
    skipped = {
        (check["check_id"], check["check_result"]["suppress_comment"])
        for report in reports
        for check in report["results"].get("skipped_checks", [])
    }
    assert [check for check, reason in skipped if len(reason) < 20] == []


def test_every_secret_of_the_settings_has_a_secret() -> None:
    """AWS keeps two of them itself: the instance's role stands for AWS_*, and RDS for the superuser."""
    wanted = {
        name.upper() for name, kind in ServiceSettings.model_fields.items() if "SecretStr" in str(kind.annotation)
    }
    listed = re.search(r"secret_settings = toset\(\[(.*?)\]\)", (SOURCE / "main.tf").read_text("utf-8"), re.DOTALL)
    assert listed
    assert set(re.findall(r'"(\w+)"', listed[1])) == wanted - {"AWS_SECRET_ACCESS_KEY", "POSTGRES_SUPERUSER_PASSWORD"}


def test_settings_on_the_machine_exist() -> None:
    block = (SOURCE / "main.tf").read_text("utf-8").split("  settings = {")[1].split("\n  }")[0]
    names = set(re.findall(r"^ +(\w+) +=", block, flags=re.MULTILINE))
    compose = {"AIRFLOW_IMAGE", "BACKEND_IMAGE", "DASHBOARD_IMAGE", "AIRFLOW_PUBLIC_URL", "AWS_DEFAULT_REGION"}
    assert names - compose <= {name.upper() for name in ServiceSettings.model_fields}
    text = (REPOSITORY / "docker-compose.yaml").read_text("utf-8") + (REPOSITORY / "docker-compose.aws.yaml").read_text(
        "utf-8"
    )
    assert [name for name in names - {"POSTGRES_PORT", "AWS_DEFAULT_REGION"} if "${" + name not in text] == []


def test_the_names_that_users_know_are_kept() -> None:
    variables = [
        "aws_region",
        "project_name",
        "environment",
        "vpc_cidr",
        "availability_zones",
        "ec2_instance_type",
        "ec2_key_name",
        "db_instance_class",
        "db_name",
        "db_username",
        "db_allocated_storage",
        "s3_bucket_name",
        "tags",
        "db_password",
        "aws_access_key",
        "aws_secret_key",
    ]
    assert [name for name in variables if f'variable "{name}"' not in VARIABLES] == []
    outputs = ["ec2_public_ip", "rds_endpoint", "s3_bucket_name", "airflow_url", "api_url"]
    assert [name for name in outputs if f'output "{name}"' not in OUTPUTS] == []


@pytest.mark.parametrize("environment", ["dev", "staging", "production"])
def test_each_environment_has_its_file_and_its_state(environment: str) -> None:
    variables = (SOURCE / "environments" / f"{environment}.tfvars").read_text(encoding="utf-8")
    assert re.search(rf'^environment += "{environment}"$', variables, flags=re.MULTILINE)
    state = (SOURCE / "environments" / f"{environment}.s3.tfbackend").read_text(encoding="utf-8")
    assert f'key          = "medilink/{environment}.tfstate"' in state


def test_each_control_is_met_by_something_that_exists_or_refused_with_a_reason() -> None:
    table = (REPOSITORY / "docs" / "security-controls.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([A-Za-z0-9]+\.\d+) \| (.+) \|$", table, flags=re.MULTILINE))
    assert rows.keys() == set(CONTROLS)
    code = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    for control, row in rows.items():
        answer, where = row.rsplit(" | ", 1)
        if answer.rsplit(" | ", 1)[-1] == "refused":
            assert len(where) > 40, control
        else:
            named = re.findall(r"`([\w.]+)`", where)
            assert named, control
            assert [name for name in named if name.split(".")[-1] not in code] == [], control


def test_no_user_data_holds_a_secret() -> None:
    text = (SOURCE / "user_data.sh").read_text(encoding="utf-8")
    handed_over = set(re.findall(r"(?<!\$)\$\{(\w+)\}", text))
    assert handed_over == {
        "log_group", "master_secret_arn", "master_username", "region", "registry", "secret_settings",
        "secrets_prefix", "settings", "vpc_cidr",
    }  # fmt: skip


def test_user_data_is_a_script(tmp_path: Path) -> None:
    """shellcheck reads it as it arrives: without Terraform's own placeholders."""
    text = (SOURCE / "user_data.sh").read_text(encoding="utf-8").replace("$${", "\0")
    arrived = re.sub(r"\$\{\w+\}", "VALUE", text.replace("${secret_settings}", "ONE TWO")).replace("\0", "${")
    (tmp_path / "user_data.sh").write_text(arrived, encoding="utf-8")
    # 1091: a file that only the machine has.
    checked = subprocess.run(
        ["shellcheck", "--exclude=SC1091", tmp_path / "user_data.sh"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
    scripts = re.findall(r"<<'SCRIPT'\n(.*?)\nSCRIPT\n", arrived, flags=re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        checked = subprocess.run(
            ["shellcheck", "--exclude=SC1091", "-"], input=script, capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stdout
