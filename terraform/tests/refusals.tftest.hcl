# What cannot be used is refused before anything is planned.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}
mock_provider "aws" {
  alias = "backup_copy"
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  environment         = "dev"
  account_id          = "123456789012"
  domain_name         = "medilink.example.org"
  certificate_arn     = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
  deletion_protection = false
}

run "retired_variables" {
  command = plan
  variables {
    db_password    = "hunter2"
    aws_access_key = "a-key"
    aws_secret_key = "its-secret"
  }
  expect_failures = [var.db_password, var.aws_access_key, var.aws_secret_key]
}

run "what_does_not_exist" {
  command = plan
  variables {
    aws_region        = "eu-west-9"
    db_instance_class = "db.t4g.gigantic"
    ec2_instance_type = "t3.enormous"
    environment       = "prod"
    db_engine_version = "12"
  }
  expect_failures = [var.aws_region, var.db_instance_class, var.ec2_instance_type, var.environment, var.db_engine_version]
}

run "what_is_written_wrong" {
  command = plan
  variables {
    aws_region     = "eu-west-1a"
    vpc_cidr       = "10.40.0.0"
    account_id     = "1234-5678-9012"
    s3_bucket_name = "s3://drops"
    domain_name    = "https://medilink.example.org"
    alarm_emails   = ["on call"]
  }
  expect_failures = [var.aws_region, var.vpc_cidr, var.account_id, var.s3_bucket_name, var.domain_name, var.alarm_emails]
}

run "what_is_of_another_kind" {
  command = plan
  variables {
    aws_region           = "Ireland"
    vpc_cidr             = "10.400.0.0/16"
    db_instance_class    = "m7i.large"
    ec2_instance_type    = "t4g.large"
    db_allocated_storage = 5
  }
  expect_failures = [var.aws_region, var.vpc_cidr, var.db_instance_class, var.ec2_instance_type, var.db_allocated_storage]
}

run "what_is_of_another_place" {
  command = plan
  variables {
    availability_zones = ["eu-west-1a", "eu-central-1b"]
    certificate_arn    = "arn:aws:acm:us-east-1:123456789012:certificate/1"
    backup_copy_region = "eu-west-1"
    s3_bucket_exists   = true
    db_username        = "medilink"
  }
  expect_failures = [var.availability_zones, var.certificate_arn, var.backup_copy_region, var.s3_bucket_exists, var.db_username]
}

run "what_is_open" {
  command = plan
  variables {
    vpc_cidr            = "8.8.0.0/16"
    allowed_cidr_blocks = ["0.0.0.0/0"]
  }
  expect_failures = [var.vpc_cidr, var.allowed_cidr_blocks]
}

run "what_is_too_little" {
  command = plan
  variables {
    vpc_cidr           = "10.40.0.0/28"
    availability_zones = ["eu-west-1a", "eu-west-1a"]
  }
  expect_failures = [var.vpc_cidr, var.availability_zones]
}

run "production_without_what_it_promises" {
  command = plan
  variables {
    environment = "production"
    account_id  = null
  }
  expect_failures = [var.account_id, var.db_multi_az, var.deletion_protection, var.alarm_emails]
}
