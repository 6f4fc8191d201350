# What must not be lost in a change: encryption, no public access, backups, least privilege.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

variables {
  name        = "medilink-test"
  region      = "eu-west-1"
  account_id  = "123456789012"
  kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000"
}

run "the_key_is_rotated" {
  command = plan
  module {
    source = "./modules/encryption"
  }

  assert {
    condition     = aws_kms_key.this.enable_key_rotation && aws_kms_key.this.deletion_window_in_days == 30
    error_message = "the key is not rotated, or can be deleted at once"
  }
}

run "private_subnets_give_no_public_addresses" {
  command = plan
  module {
    source = "./modules/network"
  }
  variables {
    cidr  = "10.40.0.0/16"
    zones = ["eu-west-1a", "eu-west-1b"]
  }

  assert {
    condition     = alltrue([for subnet in concat(aws_subnet.private, aws_subnet.public) : !subnet.map_public_ip_on_launch])
    error_message = "what starts in a subnet gets a public address"
  }
  assert {
    condition     = length(toset(aws_subnet.private[*].availability_zone)) == 2 && aws_flow_log.this.traffic_type == "ALL"
    error_message = "the private subnets share a zone, or traffic is not recorded"
  }
}

run "a_bucket_is_private_encrypted_and_versioned" {
  command = plan
  module {
    source = "./modules/bucket"
  }
  variables {
    access_log = { bucket = "logs" }
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this.block_public_acls,
      aws_s3_bucket_public_access_block.this.block_public_policy,
      aws_s3_bucket_public_access_block.this.ignore_public_acls,
      aws_s3_bucket_public_access_block.this.restrict_public_buckets,
    ])
    error_message = "the bucket can be made public"
  }
  assert {
    condition = one(one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default) == {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
    error_message = "the bucket is not encrypted with the key of the environment"
  }
  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled"
    error_message = "an overwritten object is lost"
  }
  assert {
    condition     = one(aws_s3_bucket_ownership_controls.this.rule).object_ownership == "BucketOwnerEnforced"
    error_message = "ACLs can open single objects"
  }
  assert {
    condition     = one(aws_s3_bucket_logging.this).target_bucket == "logs"
    error_message = "accesses are not logged"
  }
  assert {
    condition = anytrue([
      for statement in data.aws_iam_policy_document.this.statement :
      statement.effect == "Deny" && contains(statement.actions, "s3:*") && anytrue([
        for condition in statement.condition :
        condition.variable == "aws:SecureTransport" && contains(condition.values, "false")
      ])
    ])
    error_message = "plain http is not refused"
  }
  assert {
    condition     = !aws_s3_bucket.this.force_destroy
    error_message = "terraform destroy would delete what hospitals sent"
  }
}

run "drops_notify_a_queue_and_age_into_glacier" {
  command = plan
  module {
    source = "./modules/storage"
  }
  variables {
    bucket_name    = "drops"
    bucket_exists  = false
    input_prefix   = "in/"
    nhs_prefix     = "nhs/"
    archive_prefix = "archive/"
    disposable     = false
  }

  assert {
    condition = anytrue([
      for rule in aws_s3_bucket_lifecycle_configuration.drops[0].rule :
      rule.status == "Enabled" && anytrue([for to in rule.transition : to.storage_class == "GLACIER_IR"])
      && rule.filter[0].prefix == var.archive_prefix
    ])
    error_message = "the archive does not age into Glacier"
  }
  assert {
    condition = alltrue([
      for rule in aws_s3_bucket_lifecycle_configuration.drops[0].rule : length(rule.expiration) == 0
    ])
    error_message = "a rule expires what hospitals sent"
  }
  assert {
    condition     = toset(aws_s3_bucket_notification.drops[0].queue[*].filter_prefix) == toset([var.input_prefix, var.nhs_prefix])
    error_message = "the queue does not hear of drops"
  }
  assert {
    condition     = aws_sqs_queue.drops.kms_master_key_id == var.kms_key_arn && aws_sqs_queue.dead.kms_master_key_id == var.kms_key_arn
    error_message = "a queue is not encrypted"
  }
}

run "an_existing_bucket_is_left_as_it_is" {
  command = plan
  module {
    source = "./modules/storage"
  }
  variables {
    bucket_name    = "hospital-drops"
    bucket_exists  = true
    input_prefix   = "in/"
    nhs_prefix     = "nhs/"
    archive_prefix = "archive/"
    disposable     = false
  }

  assert {
    condition = alltrue([
      length(module.drops) == 0,
      length(aws_s3_bucket_lifecycle_configuration.drops) == 0,
      length(aws_s3_bucket_notification.drops) == 0,
    ])
    error_message = "something of somebody else's bucket would be changed"
  }
}

run "the_machine_may_do_what_its_work_needs" {
  command = plan
  module {
    source = "./modules/compute"
  }
  variables {
    vpc_id                     = "vpc-1"
    public_subnet_ids          = ["subnet-1", "subnet-2"]
    private_subnet_id          = "subnet-3"
    instance_type              = "m7i.xlarge"
    key_name                   = null
    user_data                  = "#!/bin/bash"
    domain_name                = "medilink.example.org"
    certificate_arn            = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
    allowed_cidr_blocks        = ["203.0.113.0/24"]
    log_bucket                 = "logs"
    deletion_protection        = true
    bucket_arn                 = "arn:aws:s3:::drops"
    input_prefix               = "in/"
    nhs_prefix                 = "nhs/"
    archive_prefix             = "archive/"
    queue_arn                  = "arn:aws:sqs:eu-west-1:123456789012:drops"
    repository_arns            = ["arn:aws:ecr:eu-west-1:123456789012:repository/airflow"]
    secret_arns                = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:API_SIGNING_KEYS"]
    master_secret_arn          = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:master"
    log_group_arn              = "arn:aws:logs:eu-west-1:123456789012:log-group:containers"
    metrics_namespace          = "Medilink"
    database_security_group_id = "sg-database"
  }

  assert {
    condition = alltrue(flatten([
      for statement in data.aws_iam_policy_document.instance.statement : [
        [for action in statement.actions : !strcontains(action, "*")],
        [for resource in statement.resources : !startswith(resource, "*") && !endswith(resource, ":::*")],
      ]
    ]))
    error_message = "a right of the machine has a wildcard for its action, or for all of a service"
  }
  assert {
    condition = alltrue(flatten([
      for statement in data.aws_iam_policy_document.instance.statement : [
        for resource in statement.resources : !strcontains(resource, var.archive_prefix)
      ] if anytrue([for action in statement.actions : startswith(action, "s3:Delete")])
    ]))
    error_message = "the machine may delete from the archive"
  }
  assert {
    condition = alltrue([
      for statement in data.aws_iam_policy_document.without_resource.statement :
      length(setsubtract(statement.actions, ["ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"])) == 0
    ])
    error_message = "more than the two calls that know no resource"
  }
  assert {
    condition     = aws_instance.this.metadata_options[0].http_tokens == "required" && aws_instance.this.subnet_id == "subnet-3"
    error_message = "IMDSv1, or outside the private subnet"
  }
  assert {
    condition     = aws_instance.this.root_block_device[0].encrypted
    error_message = "the machine's disk is not encrypted"
  }
  assert {
    condition = alltrue([
      for rule in aws_vpc_security_group_ingress_rule.from_load_balancer : rule.cidr_ipv4 == null
    ])
    error_message = "a port of the machine is open to addresses"
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.tls["203.0.113.0/24"].to_port == 443 && aws_vpc_security_group_ingress_rule.plain["203.0.113.0/24"].to_port == 80
    error_message = "the load balancer listens elsewhere"
  }
  assert {
    condition     = startswith(aws_lb_listener.tls.ssl_policy, "ELBSecurityPolicy-TLS13") && aws_lb_listener.plain.default_action[0].redirect[0].protocol == "HTTPS"
    error_message = "old TLS, or plain http that is answered"
  }
}

run "who_did_what_is_recorded" {
  command = plan
  module {
    source = "./modules/account"
  }
  variables {
    log_bucket = "logs"
  }

  assert {
    condition     = aws_cloudtrail.this.is_multi_region_trail && aws_cloudtrail.this.enable_log_file_validation && aws_cloudtrail.this.kms_key_id == var.kms_key_arn
    error_message = "the trail misses regions, can be forged, or is not encrypted"
  }
  assert {
    condition     = aws_guardduty_detector.this.enable && aws_ebs_encryption_by_default.this.enabled
    error_message = "GuardDuty or the encryption of volumes by default is off"
  }
}

run "images_cannot_be_moved" {
  command = plan
  module {
    source = "./modules/registry"
  }
  variables {
    disposable = false
  }

  assert {
    condition = alltrue([
      for repository in aws_ecr_repository.this :
      repository.image_tag_mutability == "IMMUTABLE" && repository.image_scanning_configuration[0].scan_on_push && !repository.force_delete
    ])
    error_message = "a tag can be moved, or images are not scanned"
  }
}
