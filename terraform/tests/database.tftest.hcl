# The database: private, encrypted, over TLS only, backed up.

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

run "the_database_is_private_encrypted_and_backed_up" {
  command = plan
  module {
    source = "./modules/database"
  }
  variables {
    vpc_id                   = "vpc-1"
    subnet_ids               = ["subnet-1", "subnet-2"]
    client_security_group_id = "sg-instance"
    engine_version           = "18"
    instance_class           = "db.t4g.medium"
    allocated_storage        = 50
    database                 = "medilink"
    master_username          = "medilink_admin"
    multi_az                 = true
    deletion_protection      = true
  }

  assert {
    condition     = aws_db_instance.this.storage_encrypted && aws_db_instance.this.kms_key_id == var.kms_key_arn
    error_message = "the database is not encrypted with the key of the environment"
  }
  assert {
    condition     = !aws_db_instance.this.publicly_accessible
    error_message = "the database has a public address"
  }
  assert {
    condition     = aws_db_instance.this.backup_retention_period == 35 && aws_db_instance.this.copy_tags_to_snapshot && !aws_db_instance.this.skip_final_snapshot
    error_message = "less than 35 days of point-in-time recovery, or no last snapshot"
  }
  assert {
    condition     = aws_db_instance.this.multi_az && aws_db_instance.this.deletion_protection
    error_message = "what production asks for does not reach the database"
  }
  assert {
    condition     = aws_db_instance.this.manage_master_user_password && aws_db_instance.this.password == null
    error_message = "the master password passes through Terraform"
  }
  assert {
    condition     = aws_db_instance.this.iam_database_authentication_enabled && aws_db_instance.this.performance_insights_enabled
    error_message = "no log-in by IAM, or no Performance Insights"
  }
  assert {
    condition = contains([
      for parameter in aws_db_parameter_group.this.parameter : "${parameter.name}=${parameter.value}"
    ], "rds.force_ssl=1")
    error_message = "plain connections are let in"
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.clients.referenced_security_group_id == "sg-instance" && aws_vpc_security_group_ingress_rule.clients.cidr_ipv4 == null
    error_message = "others than the instance reach the database"
  }
}
