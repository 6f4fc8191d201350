"""moto's server, with the answers that AWS gives and moto 5.2.5 does not, so that a second plan can be empty.

    uv run --no-project --with moto[server]==5.2.5 python tests/infrastructure/aws_emulator.py -H 127.0.0.1 -p PORT …

It is given to moto's own command line. Each gap closed here is one that the provider notices.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import uuid

os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"

from moto.cloudtrail.models import CloudTrailBackend
from moto.core.responses import ActionResult
from moto.ec2.exceptions import InvalidPermissionNotFoundError, InvalidSecurityGroupRuleIdNotFoundError
from moto.ec2.models.security_groups import SecurityGroupBackend, SecurityGroupRule
from moto.ec2.responses.instances import InstanceResponse
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.rds.models import RDSBackend
from moto.rds.responses import DBParameterGroupNotFoundError, RDSResponse
from moto.s3.models import FakeBucket
from moto.server import DomainDispatcherApplication, main
from moto.sqs.models import Queue


def describe_db_parameters(self: RDSResponse) -> ActionResult:
    """Parameters that a user has set carry Source=user; the provider looks for these only."""
    name = self.params.get("DBParameterGroupName")
    groups = self.backend.describe_db_parameter_groups({"db_parameter_group_name": name})
    if not groups:
        raise DBParameterGroupNotFoundError(name)
    return ActionResult({"Parameters": [{**each, "Source": "user"} for each in groups[0].parameters.values()]})


def create_db_instance(self: RDSBackend, parameters: dict, original=RDSBackend.create_db_instance) -> object:
    """Performance Insights are told back, and every instance has a resource id of its own."""
    instance = original(self, parameters)
    instance.performance_insights_enabled = bool(parameters.get("enable_performance_insights"))
    instance.performance_insights_kms_key_id = parameters.get("performance_insights_kms_key_id")
    instance.dbi_resource_id = f"db-{uuid.uuid4().hex[:26].upper()}"
    return instance


def queue_attributes(self: Queue, original=Queue.attributes.fget) -> dict:
    """The redrive policy comes back as it was written, without spaces."""
    attributes = original(self)
    if attributes.get("RedrivePolicy"):
        attributes["RedrivePolicy"] = json.dumps(json.loads(attributes["RedrivePolicy"]), separators=(",", ":"))
    return attributes


def rule_description(self: SecurityGroupRule) -> str | None:
    """A rule that refers to a group keeps its description."""
    return (self.ip_range or {}).get("Description") or (self.source_group or {}).get("Description")


def told_by_its_id(revoke):
    """A rule's id that is gone gets AWS's own answer, so that a revocation that the provider repeats is one."""

    def revoked(self: SecurityGroupBackend, *arguments, security_rule_ids: list[str] | None = None, **others) -> None:
        try:
            revoke(self, *arguments, security_rule_ids=security_rule_ids, **others)
        except InvalidPermissionNotFoundError as error:
            if security_rule_ids:
                raise InvalidSecurityGroupRuleIdNotFoundError(", ".join(security_rule_ids)) from error
            raise

    return revoked


def monitor_instances(self: InstanceResponse) -> ActionResult:
    """Detailed monitoring can be switched on."""
    ids = self._get_param("InstanceIds", [])
    for instance_id in ids:
        self.ec2_backend.get_instance(instance_id).monitoring_state = "enabled"
    return ActionResult(
        {"InstanceMonitorings": [{"InstanceId": each, "Monitoring": {"State": "enabled"}} for each in ids]}
    )


def get_permission(self: FakeBucket, action: str, resource: str) -> PermissionResult:
    """A statement that speaks of plain http says nothing of a request that came over TLS, as all do here."""
    policy = json.loads(self.policy or '{"Statement": []}')
    plain = {"Bool": {"aws:SecureTransport": "false"}}
    policy["Statement"] = [each for each in policy["Statement"] if each.get("Condition") != plain]
    if not policy["Statement"]:
        return PermissionResult.NEUTRAL
    return IAMPolicy(json.dumps(policy)).is_action_permitted(action, resource)


def delete_trail(self: CloudTrailBackend, name: str) -> None:
    """A trail is deleted by its ARN as well as by its name."""
    del self.trails[name.rpartition("/")[2]]


ONE_AT_A_TIME = threading.Lock()


def dispatch(self: DomainDispatcherApplication, *request, original=DomainDispatcherApplication.__call__):
    """Each call is atomic: moto's own lists lose entries when two threads change them at once."""
    with ONE_AT_A_TIME:
        return original(self, *request)


CloudTrailBackend.delete_trail = delete_trail
FakeBucket.get_permission = get_permission
DomainDispatcherApplication.__call__ = dispatch
RDSResponse.describe_db_parameters = describe_db_parameters
RDSBackend.create_db_instance = create_db_instance
Queue.attributes = property(queue_attributes)
SecurityGroupBackend.revoke_security_group_egress = told_by_its_id(SecurityGroupBackend.revoke_security_group_egress)
SecurityGroupBackend.revoke_security_group_ingress = told_by_its_id(SecurityGroupBackend.revoke_security_group_ingress)
SecurityGroupRule.description = property(rule_description)
InstanceResponse.monitor_instances = monitor_instances

if __name__ == "__main__":
    main(sys.argv[1:])
