"""terraform destroy, of what test_apply.py applied and gave back: a file of its own, so that others test meanwhile."""

from __future__ import annotations

import json

import pytest

from tests.infrastructure.emulated import Emulated

pytestmark = pytest.mark.integration


def test_destroy_leaves_nothing(emulated: Emulated) -> None:
    destroyed = emulated.told("destroyed")
    assert destroyed["exit_code"] == 0, destroyed["failure"]
    state = json.loads((emulated.terraform.folder / "terraform.tfstate").read_text(encoding="utf-8"))
    assert state["resources"] == []
    client = emulated.client
    left = {
        "buckets": client("s3").list_buckets()["Buckets"],
        "queues": client("sqs").list_queues().get("QueueUrls", []),
        "databases": client("rds").describe_db_instances()["DBInstances"],
        "secrets": client("secretsmanager").list_secrets()["SecretList"],
        "repositories": client("ecr").describe_repositories()["repositories"],
        "load balancers": client("elbv2").describe_load_balancers()["LoadBalancers"],
        "log groups": client("logs").describe_log_groups()["logGroups"],
        "alarms": client("cloudwatch").describe_alarms()["MetricAlarms"],
        "topics": client("sns").list_topics()["Topics"],
        "trails": client("cloudtrail").list_trails()["Trails"],
        "roles": [each for each in client("iam").list_roles()["Roles"] if "medilink" in each["RoleName"]],
        "networks": [each for each in client("ec2").describe_vpcs()["Vpcs"] if not each["IsDefault"]],
        "machines": [
            machine
            for reservation in client("ec2").describe_instances()["Reservations"]
            for machine in reservation["Instances"]
            if machine["State"]["Name"] != "terminated"
        ],
    }
    assert {kind: found for kind, found in left.items() if found} == {}
